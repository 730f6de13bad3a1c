//! `barnacle import`: brings paired devices over from OpenClaw.

use super::{
    Failure,
    args::{Args, OPTIONS, Word},
    print,
    table::{Table, plain},
};
use crate::{
    client::{Client, Target, open_store},
    clock::wall_ms,
    import::{self, Fate, Listed, Rejected},
    protocol::{Fields, Scope},
    store::{ChangeError, OpenError, Registry, codec},
};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::{convert::Infallible, path::Path};

const HELP: &str = "\
Bring paired devices over from OpenClaw, so that none has to pair again.

Usage: barnacle import --from <directory | ws://...> [--apply] [options]

  --from <directory>     OpenClaw's state directory, with devices/paired.json (2026.2): keys, roles, scopes, tokens
  --from <ws://...>      a running OpenClaw of any version: keys, roles, scopes (tokens are not needed)
  --apply                do it; without, only show what would be done

Nothing of OpenClaw's is changed. What was revoked or removed here stays so.
";

/// What becomes of one record.
struct Line {
    id: String,
    name: String,
    roles: String,
    fate: Fate,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Entry {
    deviceId: String,
    displayName: String,
    action: &'static str,
    detail: Option<String>,
}

#[derive(SerJson)]
struct Report {
    from: String,
    applied: bool,
    devices: Vec<Entry>,
}

/// Runs `barnacle import`.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let (mut from, mut apply) = (None, false);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(name) if name == "from" => from = Some(args.value()?),
            Word::Flag(name) if name == "apply" => apply = true,
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(&format!("{HELP}{OPTIONS}"));
    }
    let from = from.ok_or_else(|| Failure::usage("import what? --from ~/.openclaw, or --from ws://…"))?;
    if from.contains("://") {
        args.set_url(&from);
    }
    let target = args.target()?;
    let listed = if from.contains("://") {
        ask(&target)?
    } else {
        import::read(&target.paths.expand(&from), wall_ms()).map_err(|e| Failure::new(1, e))?
    };
    if let Some(notice) = &listed.notice {
        eprintln!("barnacle: {notice}");
    }
    let lines = if apply { commit(&target.dir, listed)? } else { bring(&mut registry(&target.dir)?, listed) };
    if args.json {
        let devices = lines.into_iter().map(Line::entry).collect();
        return print(&(Report { from, applied: apply, devices }.serialize_json() + "\n"));
    }
    print(&text(&lines, apply))
}

/// Asks a running gateway.
fn ask(target: &Target) -> Result<Listed, Failure> {
    let told = |e| Failure::of(e, target);
    let mut client = Client::connect(target, [Scope::Pairing].into_iter().collect()).map_err(told)?;
    let mut paired = |method: &str| -> Result<Value, Failure> {
        let answer = client.call(method, "{}").map_err(told)?;
        Ok(miniserde::json::from_str(&answer).unwrap_or_default())
    };
    let (devices, nodes) = (paired("device.pair.list")?, paired("node.pair.list")?);
    let list = |answer: &Value, read: &mut dyn FnMut(&Value)| {
        Fields::of(answer).and_then(|f| f.0.get("paired")).map(read);
    };
    let mut listed = Listed::default();
    list(&devices, &mut |v| listed.devices = import::devices(v, wall_ms()));
    list(&nodes, &mut |v| listed.surfaces = import::surfaces(v));
    Ok(listed)
}

/// The book as it is on disk, for a look: without the lock, and without making anything.
fn registry(dir: &Path) -> Result<Registry, Failure> {
    let path = dir.join("tokens.bin");
    match std::fs::read(&path) {
        Ok(bytes) => codec::decode(&bytes).map(|(registry, _)| registry).map_err(|e| {
            Failure::new(1, format!("{}: {e}; barnacle gateway says how to go on", path.display()))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Registry::default()),
        Err(e) => Err(Failure::new(1, format!("{}: {e}", path.display()))),
    }
}

/// Brings everything into `registry`.
fn bring(registry: &mut Registry, listed: Listed) -> Vec<Line> {
    let Listed { devices, surfaces, .. } = listed;
    let one = |record| match record {
        Ok(device) => {
            let device: crate::store::Device = device;
            let live = device.grants.iter().filter(|g| g.revoked_ms.is_none()).map(|g| g.role.to_string());
            Line {
                id: device.id().to_string(),
                name: device.name().or(device.display.client_id.as_deref()).unwrap_or("-").into(),
                roles: live.collect::<Vec<_>>().join("+"),
                fate: import::merge(registry, device, &surfaces),
            }
        }
        Err(Rejected { id, name, why }) => Line { id, name, roles: "-".into(), fate: Fate::Rejected(why) },
    };
    devices.into_iter().map(one).collect()
}

/// Brings everything in for good, in one change.
fn commit(dir: &Path, listed: Listed) -> Result<Vec<Line>, Failure> {
    let store = open_store(dir).map_err(|e| match e {
        OpenError::Locked(dir, pid) => {
            let stop = pid.map_or_else(|| "stop it".into(), |pid| format!("stop it (kill {pid})"));
            Failure::new(1, format!("a gateway runs on {}; {stop}, and import again", dir.display()))
        }
        e => Failure::new(1, e),
    })?;
    smol::block_on(store.change(|registry| Ok::<_, Infallible>(bring(registry, listed)))).map_err(|e| match e
    {
        ChangeError::Disk(e) => Failure::new(1, e),
        ChangeError::Refused(never) => match never {},
    })
}

impl Line {
    fn words(&self) -> (&'static str, Option<&str>) {
        match &self.fate {
            Fate::Added => ("add", None),
            Fate::Updated(gains) => ("update", Some(gains)),
            Fate::Unchanged => ("keep", None),
            Fate::Rejected(why) => ("reject", Some(why)),
        }
    }

    fn entry(self) -> Entry {
        let (action, detail) = self.words();
        let detail = detail.map(String::from);
        Entry { deviceId: self.id, displayName: self.name, action, detail }
    }
}

fn text(lines: &[Line], applied: bool) -> String {
    if lines.is_empty() {
        return "There is no paired device to bring over.\n".into();
    }
    let mut table = Table::new(&["", "DEVICE", "NAME", "ROLES", ""]);
    for line in lines {
        let (action, detail) = line.words();
        let id = line.id.chars().take(12).collect();
        table.row([
            action.into(),
            id,
            line.name.clone(),
            line.roles.clone(),
            plain(detail.unwrap_or_default()),
        ]);
    }
    let gained = lines.iter().filter(|l| matches!(l.fate, Fate::Added | Fate::Updated(_))).count();
    let end = match (gained, applied) {
        (0, _) => "Nothing to do.\n".into(),
        (n, true) => format!("{n} devices came over. They attach with the key or token they have.\n"),
        (_, false) => "Nothing was changed. Do it: the same command with --apply\n".into(),
    };
    format!("{}\n{end}", table.text())
}
