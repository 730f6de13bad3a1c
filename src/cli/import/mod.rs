//! `barnacle import`: brings paired devices and sessions over from OpenClaw.

mod sessions;

use super::{
    Command, Failure, Opt,
    args::Args,
    print,
    table::{Table, plain},
};
use crate::{
    client::{Client, Target, open_store},
    clock::wall_ms,
    import::{self, Fate, Listed, Rejected},
    protocol::{Fields, Scope},
    store::{ChangeError, OpenError, Registry, Store, codec},
};
use miniserde::json::Value;
use nanoserde::SerJson;
use std::{convert::Infallible, path::Path};

pub(super) static COMMAND: Command = Command {
    name: "import",
    summary: "import paired devices and sessions from OpenClaw",
    about: "Import paired devices from OpenClaw, so that none has to pair again, and sessions with what was said in them. \
            From its state directory with devices/paired.json (2026.2) come keys, roles, scopes and tokens; from a \
            running OpenClaw of any version keys, roles and scopes, which is enough.",
    notes: "Nothing of OpenClaw's is changed, and it can be done again at any time: what is new there comes too. A device \
            that was revoked or removed here stays so. A session that went on here stays as it is.",
    options: &[
        Opt::value(&["from"], "<directory | ws://...>", "OpenClaw's state directory, or its gateway"),
        Opt::flag(&["apply"], "import; without it, only show what would be done"),
    ],
    calls: true,
    run,
    ..Command::NONE
};

/// The outcome for one record.
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
    sessions: Vec<sessions::Entry>,
}

fn run(args: Args) -> Result<(), Failure> {
    let from = args.text("from");
    let from = from.ok_or_else(|| Failure::usage("import what? --from ~/.openclaw, or --from ws://…"))?;
    let apply = args.has("apply");
    let target = args.target_at(Some(from).filter(|from| from.contains("://")))?;
    let asked = from.contains("://");
    let directory = target.paths.expand(from);
    let store = apply.then(|| open(&target.dir)).transpose()?;
    let (listed, mut source) = if asked {
        let mut client = client(&target)?;
        (ask(&mut client, &target)?, sessions::Source::ask(client)?)
    } else {
        let source = sessions::Source::directory(&directory)?;
        match import::read(&directory, wall_ms()) {
            Ok(listed) => (listed, source),
            // There may be conversations where no device was ever paired.
            Err(e) if source.is_empty() => return Err(Failure::new(1, e)),
            Err(e) => (Listed { notice: Some(e.to_string()), ..Listed::default() }, source),
        }
    };
    for notice in listed.notice.iter().chain(source.notices()) {
        eprintln!("barnacle: {notice}");
    }
    let lines = match &store {
        Some(store) => commit(store, listed)?,
        None => merge_all(&mut registry(&target.dir)?, listed),
    };
    let brought = source.bring(&target, apply)?;
    if args.json {
        let devices = lines.into_iter().map(Line::entry).collect();
        let sessions = brought.into_iter().map(sessions::Line::entry).collect();
        return print(
            &(Report { from: from.into(), applied: apply, devices, sessions }.serialize_json() + "\n"),
        );
    }
    print(&(text(&lines, apply) + &sessions::text(&brought, apply)))?;
    match brought.iter().filter(|line| line.failed()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(
            1,
            format!("{failed} sessions were not imported; the rest is. Repeat the command"),
        )),
    }
}

/// Attaches to a running gateway.
fn client(target: &Target) -> Result<Client<'_>, Failure> {
    let scopes = [Scope::Pairing, Scope::Read].into_iter().collect();
    Client::connect(target, scopes).map_err(|e| Failure::of(e, target))
}

/// Reads the devices of a running gateway.
fn ask(client: &mut Client<'_>, target: &Target) -> Result<Listed, Failure> {
    let failed = |e| Failure::of(e, target);
    let mut paired = |method: &str| -> Result<Value, Failure> {
        let answer = client.call(method, "{}").map_err(failed)?;
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

/// Reads the registry from disk for a preview: takes no lock and creates nothing.
fn registry(dir: &Path) -> Result<Registry, Failure> {
    let path = dir.join("tokens.bin");
    match std::fs::read(&path) {
        Ok(bytes) => codec::decode(&bytes).map(|(registry, _)| registry).map_err(|e| {
            Failure::new(1, format!("{}: {e}; barnacle doctor says how to fix it", path.display()))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Registry::default()),
        Err(e) => Err(Failure::new(1, format!("{}: {e}", path.display()))),
    }
}

/// Merges all of it into `registry`.
fn merge_all(registry: &mut Registry, listed: Listed) -> Vec<Line> {
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

/// Opens the store, which no gateway may use meanwhile.
fn open(dir: &Path) -> Result<Store, Failure> {
    open_store(dir).map_err(|e| match e {
        OpenError::Locked(dir, pid) => {
            let stop = pid.map_or_else(|| "stop it".into(), |pid| format!("stop it (kill {pid})"));
            Failure::new(1, format!("a gateway runs on {}; {stop}, and import again", dir.display()))
        }
        e => Failure::new(1, e),
    })
}

/// Merges all of it into the store, in one commit.
fn commit(store: &Store, listed: Listed) -> Result<Vec<Line>, Failure> {
    smol::block_on(store.change(|registry| Ok::<_, Infallible>(merge_all(registry, listed)))).map_err(|e| {
        match e {
            ChangeError::Disk(e) => Failure::new(1, e),
            ChangeError::Refused(never) => match never {},
        }
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
        return "no paired devices to import\n".into();
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
        (0, _) => "nothing to do\n".into(),
        (n, true) => format!("{n} devices imported. They attach with the key or token they have.\n"),
        (_, false) => "Nothing was changed. To import: the same command with --apply\n".into(),
    };
    format!("{}\n{end}", table.text())
}
