//! Checks of `openclaw.json` and of what else decides who gets in.

use super::{Facts, Finding, Weight};
use crate::config::{CA_UNUSED, Complaint, FileState, NOBODY_LET_IN, Settings, Source, lint::About};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// The settings, where there are some; else [`cannot_start`] says why not.
fn settings(facts: &Facts) -> Option<&Settings> {
    facts.settings.as_ref().ok()
}

/// The gateway would refuse to start.
pub fn cannot_start(facts: &Facts) -> Vec<Finding> {
    let why = "the gateway does not start with it (exit code 78), and no service starts it again";
    let finding =
        |e| Finding::fault(format!("{e}"), why, "barnacle gateway (it says the same until that is mended)");
    facts.settings.as_ref().err().map(finding).into_iter().collect()
}

/// The file cannot be read, or is no configuration.
pub fn broken(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let holds = match settings.last {
        true => {
            "a gateway goes on with what ran last, kept beside the store; edits count for nothing until then"
        }
        false => "a gateway serves paired devices only, on loopback; nobody new gets in until then",
    };
    let path = facts.paths.config_file.display();
    match &settings.found {
        FileState::Broken(fault) => {
            vec![Finding::fault(fault.to_string(), holds, format!("edit {path} there"))]
        }
        FileState::Missing if settings.last => {
            let copy = facts.paths.last_config();
            vec![Finding::fault(format!("{path} is gone"), holds, format!("cp {} {path}", copy.display()))]
        }
        _ => Vec::new(),
    }
}

/// The shared secret stands in more than one place, and they differ; or in a unit.
pub fn token_homes(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let credentials = &settings.credentials;
    let Some((active, winner)) = &credentials.active else { return Vec::new() };
    let word = credentials.kind.word();
    let finding = |(secret, place): &(crate::config::Secret, Source)| {
        let mend = credentials.mend(place);
        match (secret == active, place) {
            (false, place) => Some(Finding::fault(
                format!("{place} is another {word} than {winner}, which is the one in force"),
                "whoever reads it there is refused: AUTH_TOKEN_MISMATCH",
                mend,
            )),
            (true, Source::Unit(..)) => Some(Finding::note(
                format!("{place} holds the {word}"),
                "a unit outlives the next change of it, is copied into backups, and is readable to others",
                mend,
            )),
            (true, _) => None,
        }
    };
    credentials.others.iter().filter_map(finding).collect()
}

/// Listening for others was asked for, and nothing would keep strangers out.
pub fn open_to_strangers(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let closed = settings.bind.is_loopback() && !settings.config.bind.is_loopback();
    let path = facts.paths.config_file.display();
    let mend = format!("set gateway.auth.mode to \"token\", and gateway.auth.token, in {path}");
    let finding = || {
        let what = format!("gateway.bind is {}, and no credential is asked for there", settings.config.bind);
        Finding::fault(what, "the gateway listens on loopback instead: nobody else reaches it", mend)
    };
    closed.then(finding).into_iter().collect()
}

/// Keys whose values are none.
pub fn wrong_keys(facts: &Facts) -> Vec<Finding> {
    let faults = settings(facts).map(|s| s.faults.as_slice()).unwrap_or_default();
    let finding = |f: &crate::config::Fault| {
        let what = format!("{}:{}:{}: {} is {}", f.file.display(), f.line, f.column, f.path, f.found);
        Finding::fault(what, format!("until it is mended: {}", f.instead), format!("make it {}", f.expected))
    };
    faults.iter().map(finding).collect()
}

/// Keys that nobody knows, or that stand in the wrong place, and what else is odd about the file.
pub fn odd_keys(facts: &Facts) -> Vec<Finding> {
    let finding = |complaint: &Complaint| {
        let (why, mend) = match complaint.about {
            About::Unknown => {
                ("it counts for nothing, and was perhaps meant to", "correct the name, or remove it")
            }
            About::Doubled => ("only the last of them counts", "remove the others"),
            About::Moved => {
                ("newer releases of OpenClaw pass it over, or refuse to start", "move it as it says")
            }
            About::Unset => ("what needs it does without", "set the variable, or remove what names it"),
            About::Unlike => ("the words themselves are the value", "write ${NAME}, and set the variable"),
            About::Shrunk => ("whoever was on it is not let in", "put them back, unless that was meant"),
            About::Unused => ("this version does not do what they are for", "nothing needs to be done"),
        };
        Finding::note(complaint.to_string(), why, mend)
    };
    settings(facts).map(|s| s.complaints.iter().map(finding).collect()).unwrap_or_default()
}

/// Whose the file is, and what others may do with it.
pub fn file_permissions(facts: &Facts) -> Vec<Finding> {
    let path = &facts.paths.config_file;
    // A link is no matter of ours; what it leads to is.
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    let (mode, shown) = (meta.permissions().mode() & 0o777, path.display());
    let mut found = Vec::new();
    let own_dir = fs::metadata(&facts.paths.state_dir).map_or(meta.uid(), |m| m.uid());
    if meta.uid() != own_dir {
        found.push(Finding::fault(
            format!("{shown} belongs to uid {}, its directory to uid {own_dir}", meta.uid()),
            "as after sudo: the gateway cannot read it, or cannot change it",
            format!("sudo chown {own_dir}:{own_dir} {shown}"),
        ));
    }
    if mode & 0o200 == 0 {
        let what = format!("{shown} is read-only (mode {mode:04o})");
        found.push(Finding::note(what, "no command and no page can change it", format!("chmod u+w {shown}")));
    }
    if mode & 0o077 != 0 && settings(facts).is_some_and(|s| s.config.auth.token.given().is_some()) {
        let target = path.clone();
        let what = format!("{shown} holds the token, and others may read it (mode {mode:04o})");
        let fault = Finding::fault(
            what,
            "every account of this host can attach with it",
            format!("chmod go-rwx {shown}"),
        );
        found.push(fault.fixed_by(move || {
            fs::set_permissions(&target, fs::Permissions::from_mode(mode & !0o077))?;
            Ok(format!("{} is mode {:04o} now", target.display(), mode & !0o077))
        }));
    }
    found
}

/// Names of OpenClaw's past.
pub fn old_names(facts: &Facts) -> Vec<Finding> {
    let lines = facts.paths.old_names(&facts.env);
    let finding = |line: String| {
        let (what, mend) = line.split_once("; ").unwrap_or((&line, "remove it"));
        Finding::note(what, "what stands there counts for nothing", mend)
    };
    lines.into_iter().map(finding).collect()
}

/// What else the gateway says at its start, and no other check does.
pub fn notices(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let said: Vec<String> =
        settings.credentials.warnings().into_iter().chain(facts.paths.old_names(&facts.env)).collect();
    let told_better = |line: &str| {
        said.iter().any(|s| s == line)
            || line.starts_with("listening on loopback instead of")
            || line.ends_with(NOBODY_LET_IN)
            || line == CA_UNUSED
            || !settings.found.is_whole() && line.contains("until it is mended")
    };
    let finding = |line: &String| Finding {
        weight: if ["lets no one in", "another account can", "placeholder", " before"]
            .iter()
            .any(|w| line.contains(w))
        {
            Weight::Fault
        } else {
            Weight::Note
        },
        ..Finding::note(line, "the gateway runs otherwise than the file says", edit(facts))
    };
    settings.notices.iter().filter(|line| !told_better(line)).map(finding).collect()
}

fn edit(facts: &Facts) -> String {
    format!("edit {}", facts.paths.config_file.display())
}
