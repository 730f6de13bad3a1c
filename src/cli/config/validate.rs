//! `barnacle config validate` and `diff`: what a gateway would make of the file, and what of it does not run
//! yet.

use super::here;
use crate::{
    cli::{Failure, args::Args, print},
    config::{
        ConfigError, Env, FileState, Flags, Settings, Warning,
        change::{diff::diff, merge},
        last_run,
        redact::{self, Viewer},
        text::{node::Node, source::Source},
    },
};
use nanoserde::SerJson;
use std::fmt::Write;

const VALIDATE: &str = "\
Check openclaw.json, what it includes and Barnacle's own file as a gateway that starts would: everything that
is wrong or odd, at once, each with its place.

Usage: barnacle config validate [options]

  --json             print it as JSON
  -h, --help         print this

Exit codes: 0 nothing is wrong (what is odd costs nothing), 1 something is.
";

const DIFF: &str = "\
Say in which keys openclaw.json differs from what ran last. Secrets are not shown.

Usage: barnacle config diff
";

#[derive(SerJson)]
struct Issue {
    path: String,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

impl Issue {
    fn of_file(message: String) -> Self {
        Self { path: String::new(), message, file: None, line: None, column: None }
    }
}

impl From<&ConfigError> for Issue {
    fn from(error: &ConfigError) -> Self {
        let ConfigError { file, path, line, column, .. } = error;
        let file = Some(file.to_string_lossy().into_owned());
        Self {
            path: path.clone(),
            message: error.to_string(),
            file,
            line: Some(*line),
            column: Some(*column),
        }
    }
}

impl From<&Warning> for Issue {
    fn from(warning: &Warning) -> Self {
        let place = warning.place.as_ref();
        Self {
            path: warning.path.clone(),
            message: warning.to_string(),
            file: place.map(|(file, ..)| file.to_string_lossy().into_owned()),
            line: place.map(|(_, line, _)| *line),
            column: place.map(|(.., column)| *column),
        }
    }
}

#[derive(SerJson)]
struct Verdict {
    valid: bool,
    path: String,
    issues: Vec<Issue>,
    warnings: Vec<Issue>,
}

/// Runs `barnacle config validate`.
pub fn validate(mut args: Args) -> Result<(), Failure> {
    if let Some(word) = args.next()? {
        return Err(word.unexpected());
    }
    if args.help {
        return print(VALIDATE);
    }
    let (paths, _) = here()?;
    let path = paths.config_file.to_string_lossy().into_owned();
    let (mut issues, mut warnings) = (Vec::new(), Vec::new());
    let own = paths.own_file();
    match Settings::resolve(&Env::of_process(), &Flags::default()) {
        Err(e) => issues.push(Issue::of_file(e.to_string())),
        Ok(settings) => {
            let broken = match &settings.found {
                FileState::Broken(broken) => Some(broken.to_string()),
                _ => None,
            };
            // Warnings of a broken file are those of the one that ran last.
            let of_file = |error: &&ConfigError| broken.is_none() || error.file == own;
            issues.extend(settings.errors.iter().filter(of_file).map(Issue::from));
            if broken.is_none() {
                warnings.extend(settings.lint.iter().map(Issue::from));
                warnings.extend(settings.notices.iter().cloned().map(Issue::of_file));
            }
            issues.extend(broken.map(Issue::of_file));
            if let FileState::Broken(broken) = &settings.own.found {
                let said = broken.to_string();
                warnings.retain(|line: &Issue| !line.message.starts_with(&said));
                issues.push(Issue::of_file(said));
            }
        }
    }
    let prefix = format!("{}:", own.display());
    let wrong = match issues.iter().all(|issue| issue.message.starts_with(&prefix)) {
        true => own.to_string_lossy().into_owned(),
        false => path.clone(),
    };
    let verdict = Verdict { valid: issues.is_empty(), path, issues, warnings };
    let mut text = String::new();
    if args.json {
        let _ = writeln!(text, "{}", verdict.serialize_json());
    } else {
        let lines = verdict.issues.iter().chain(&verdict.warnings);
        lines.for_each(|issue| _ = writeln!(text, "{}", issue.message));
        if verdict.valid {
            let _ = writeln!(text, "valid: {}", verdict.path);
        }
    }
    print(&text)?;
    match verdict.valid {
        true => Ok(()),
        false => Err(Failure::new(1, format!("{wrong} is not valid"))),
    }
}

/// Runs `barnacle config diff`.
pub fn diff_of(mut args: Args) -> Result<(), Failure> {
    match args.next()? {
        Some(other) => return Err(other.unexpected()),
        None if args.help => return print(DIFF),
        None => {}
    }
    let (paths, env) = here()?;
    let (file, last) = (paths.config_file.display(), paths.last_config());
    let now = Source::read(&paths, &env).source.map_err(|broken| Failure::new(78, broken))?;
    let now = now.unwrap_or_else(|| Source::empty(&paths.config_file));
    let Some(ran) = last_run(&paths, &env) else {
        return print(&format!("nothing ran yet with {file} ({} is not there)\n", last.display()));
    };
    let changes = diff(&ran.root, &now.root);
    if changes.is_empty() {
        return print(&format!("{file} says what ran last\n"));
    }
    let mut text = String::new();
    let (ran, now) = (redact::tree(&ran.root, Viewer::Admin), redact::tree(&now.root, Viewer::Admin));
    for change in &changes {
        let value = |root| merge::at(root, &change.path).map(shown);
        let _ = match (value(&ran), value(&now)) {
            (Some(was), Some(is)) => writeln!(text, "~ {}: {was} → {is}", change.path),
            (Some(was), None) => writeln!(text, "- {}: {was}", change.path),
            (None, Some(is)) => writeln!(text, "+ {}: {is}", change.path),
            (None, None) => Ok(()),
        };
    }
    print(&text)
}

/// The value as JSON, no longer than a line.
fn shown(node: &Node) -> String {
    const LONGEST: usize = 120;
    let json = node.to_json();
    match json.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &json[..end]),
        None => json,
    }
}
