//! Checks of `openclaw.json`, of Barnacle's own file and of what else decides who is admitted.

use super::{Facts, Finding, Severity};
use crate::config::{
    CA_UNUSED, FileState, NOBODY_LET_IN, Settings, Source, Warning, lint::Rule, own::moved::move_key,
};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// The settings, where there are some; else [`cannot_start`] says why not.
fn settings(facts: &Facts) -> Option<&Settings> {
    facts.settings.as_ref().ok()
}

/// Reports settings that a gateway refuses to start with.
pub fn cannot_start(facts: &Facts) -> Vec<Finding> {
    let why = "the gateway does not start with it (exit code 78), and no service starts it again";
    let finding =
        |e| Finding::error(format!("{e}"), why, "barnacle gateway (it prints the same until that is fixed)");
    facts.settings.as_ref().err().map(finding).into_iter().collect()
}

/// Reports a file that cannot be read, or is no configuration.
pub fn broken(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let holds = match settings.last {
        true => {
            "a gateway runs with the last good configuration, kept beside the store; edits have no effect until then"
        }
        false => "a gateway serves paired devices only, on loopback; nobody new is admitted until then",
    };
    let path = facts.paths.config_file.display();
    match &settings.found {
        FileState::Broken(broken) => {
            vec![Finding::error(
                broken.to_string(),
                holds,
                format!("correct {path}: barnacle config validate says where it is wrong"),
            )]
        }
        FileState::Missing if settings.last => {
            let copy = facts.paths.last_config();
            vec![Finding::error(format!("{path} is gone"), holds, format!("cp {} {path}", copy.display()))]
        }
        _ => Vec::new(),
    }
}

/// Reports a file of Barnacle's own that cannot be read.
pub fn own_broken(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let path = facts.paths.own_file();
    let holds = "a gateway runs with what it held last, if anything ran; edits have no effect until then";
    match &settings.own.found {
        FileState::Broken(broken) => {
            vec![Finding::error(
                broken.to_string(),
                holds,
                format!("correct {}: barnacle config validate says where it is wrong", path.display()),
            )]
        }
        _ => Vec::new(),
    }
}

/// Reports places that hold another shared secret than the one in force, and units that hold it.
pub fn token_homes(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let credentials = &settings.credentials;
    let Some((active, winner)) = &credentials.active else { return Vec::new() };
    let word = credentials.kind.word();
    let finding = |(secret, place): &(crate::config::Secret, Source)| {
        let fix = credentials.fix(place);
        match (secret == active, place) {
            (false, place) => Some(Finding::error(
                format!("{place} differs from {winner}, which is the {word} in force"),
                "clients that read it there are refused: AUTH_TOKEN_MISMATCH",
                fix,
            )),
            (true, Source::Unit(..)) => Some(Finding::warning(
                format!("{place} holds the {word}"),
                "a unit outlives the next change of it, is copied into backups, and others can read it",
                fix,
            )),
            (true, _) => None,
        }
    };
    credentials.others.iter().filter_map(finding).collect()
}

/// Reports a configuration that would listen for others without a credential.
pub fn open_to_everyone(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let closed = settings.bind.is_loopback() && !settings.config.bind.is_loopback();
    let path = facts.paths.config_file.display();
    let fix = format!("set gateway.auth.mode to \"token\", and gateway.auth.token, in {path}");
    let finding = || {
        let what = format!("gateway.bind is {}, and no credential is required there", settings.config.bind);
        Finding::error(what, "the gateway listens on loopback instead, so no other host reaches it", fix)
    };
    closed.then(finding).into_iter().collect()
}

/// Reports keys whose values are invalid.
pub fn wrong_keys(facts: &Facts) -> Vec<Finding> {
    let invalid = settings(facts).map(|s| s.errors.as_slice()).unwrap_or_default();
    let finding = |f: &crate::config::ConfigError| {
        let what = format!("{}:{}:{}: {} is {}", f.file.display(), f.line, f.column, f.path, f.found);
        Finding::error(what, format!("until it is fixed: {}", f.instead), format!("make it {}", f.expected))
    };
    invalid.iter().map(finding).collect()
}

/// Reports the lint warnings of the file.
pub fn odd_keys(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let finding = |warning: &Warning| {
        let (why, fix) = match warning.rule {
            Rule::Unknown => ("it has no effect, and was perhaps meant to", "correct the name, or remove it"),
            Rule::Doubled => ("only the last of them has an effect", "remove the others"),
            Rule::Moved => ("newer releases of OpenClaw ignore it, or refuse to start", "move it as it says"),
            Rule::Own => ("OpenClaw does not start on it, and ignores it at best", "barnacle doctor --fix"),
            Rule::Unset => {
                ("the value is missing where it is needed", "set the variable, or remove the reference")
            }
            Rule::Unlike => ("the text itself is the value", "write ${NAME}, and set the variable"),
            Rule::Shrunk => ("whoever was on it is not admitted", "put them back, unless that was meant"),
            Rule::Unused => ("this version does not implement them", "nothing needs to be done"),
        };
        let finding = Finding::warning(warning.to_string(), why, fix);
        if warning.rule != Rule::Own || !settings.found.is_whole() {
            return finding;
        }
        let (paths, env, key) = (settings.paths.clone(), settings.env().clone(), warning.path.clone());
        finding.repaired_by(move || move_key(&paths, &env, &key).map_err(io::Error::other))
    };
    settings.lint.iter().map(finding).collect()
}

/// Reports the owner and the permissions of the file.
pub fn file_permissions(facts: &Facts) -> Vec<Finding> {
    let path = &facts.paths.config_file;
    // Of a link, the file that it leads to.
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    let (mode, shown) = (meta.permissions().mode() & 0o777, path.display());
    let mut found = Vec::new();
    let own_dir = fs::metadata(&facts.paths.state_dir).map_or(meta.uid(), |m| m.uid());
    if meta.uid() != own_dir {
        found.push(Finding::error(
            format!("{shown} belongs to uid {}, its directory to uid {own_dir}", meta.uid()),
            "as after sudo: the gateway cannot read or change it",
            format!("sudo chown {own_dir}:{own_dir} {shown}"),
        ));
    }
    if mode & 0o200 == 0 {
        let what = format!("{shown} is read-only (mode {mode:04o})");
        found.push(Finding::warning(
            what,
            "no command and no page can change it",
            format!("chmod u+w {shown}"),
        ));
    }
    if mode & 0o077 != 0 && settings(facts).is_some_and(|s| s.config.auth.token.given().is_some()) {
        let target = path.clone();
        let what = format!("{shown} holds the token, and other accounts can read it (mode {mode:04o})");
        let finding = Finding::error(
            what,
            "every account of this host can attach with it",
            format!("chmod go-rwx {shown}"),
        );
        found.push(finding.repaired_by(move || {
            fs::set_permissions(&target, fs::Permissions::from_mode(mode & !0o077))?;
            Ok(format!("{} is mode {:04o} now", target.display(), mode & !0o077))
        }));
    }
    found
}

/// Reports variables and directories under names that OpenClaw no longer uses.
pub fn old_names(facts: &Facts) -> Vec<Finding> {
    let lines = facts.paths.old_names(&facts.env);
    let finding = |line: String| {
        let (what, fix) = line.split_once("; ").unwrap_or((&line, "remove it"));
        Finding::warning(what, "it has no effect", fix)
    };
    lines.into_iter().map(finding).collect()
}

/// Reports the warnings of a start that no other check covers.
pub fn notices(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = settings(facts) else { return Vec::new() };
    let known: Vec<String> = settings
        .credentials
        .warnings()
        .into_iter()
        .chain(facts.paths.old_names(&facts.env))
        .chain(facts.paths.exposed())
        .collect();
    let broken = settings.state_notice();
    let reported_by_another = |line: &str| {
        known.iter().any(|s| s == line)
            || line.starts_with("listening on loopback instead of")
            || line.ends_with(NOBODY_LET_IN)
            || line == CA_UNUSED
            || broken.as_deref() == Some(line)
            || matches!(&settings.own.found, FileState::Broken(e) if line.starts_with(&e.to_string()))
    };
    let finding = |line: &String| Finding {
        severity: if ["lets no one in", "another account can", "placeholder", " before"]
            .iter()
            .any(|w| line.contains(w))
        {
            Severity::Error
        } else {
            Severity::Warning
        },
        ..Finding::warning(line, "the gateway does not run as the file says", edit(facts))
    };
    settings.notices.iter().filter(|line| !reported_by_another(line)).map(finding).collect()
}

fn edit(facts: &Facts) -> String {
    format!("edit {}", facts.paths.config_file.display())
}
