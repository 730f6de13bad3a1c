//! `barnacle config set` and `unset`: one value, in the file itself, whether a gateway runs or not.

use super::{here, own};
use crate::{
    cli::{
        Failure,
        args::{Args, Word},
        print,
    },
    config::{
        ConfigError, Env, KeyPath, Loaded, Paths, Refused, ReloadMode,
        change::{
            diff::diff,
            merge,
            plan::{Plan, plan},
            write::{WriteOptions, WriteTarget, Written, write},
        },
        lint::{Rule, Warning},
        own::write::is_in_front,
        text::{file, node::Node},
        to_keep,
    },
    store::lock_holder,
};
use miniserde::json::Value;
use std::time::{Duration, Instant};

const SET: &str = "\
Set a value in openclaw.json, or in the file it includes for it; a key of Barnacle's own (upstream.*, …) in
barnacle.json. Everything else in the file stays as it is; the previous content is kept beside it as .bak.

Usage: barnacle config set <path> <value> [options]

  --strict-json      the value must be JSON; else it is JSON5 if it can be, and a text if not
  --string           the value is a text, whatever it looks like
  --force            write a key that nobody knows though it is much like a known one
  --merge            put an object's keys among those that are there, instead of replacing it
  --replace          the file may shrink by more than half
  --dry-run          say what it would change, and write nothing
  --json             as --strict-json
  -h, --help         print this

Exit codes: 0 done or nothing to do, 1 refused, 2 usage, 78 the file cannot be read as it is.
";

const UNSET: &str = "\
Take a value out of openclaw.json, or out of the file it includes for it; a key of Barnacle's own out of
barnacle.json.

Usage: barnacle config unset <path> [options]

  --dry-run          say what it would change, and write nothing
  -h, --help         print this
";

/// Parsed options of the command.
#[derive(Default)]
struct Options {
    words: Vec<String>,
    strict: bool,
    string: bool,
    force: bool,
    merge: bool,
    replace: bool,
    dry: bool,
}

impl Options {
    fn of(args: &mut Args) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(word) = args.next()? {
            match word {
                Word::Text(text) => options.words.push(text),
                Word::Flag(name) => match name.as_str() {
                    "strict-json" => options.strict = true,
                    "string" => options.string = true,
                    "force" => options.force = true,
                    "merge" => options.merge = true,
                    "replace" => options.replace = true,
                    "dry-run" => options.dry = true,
                    _ => {
                        let mut failure = Word::Flag(name).unexpected();
                        failure.message.push_str("; a value that begins with a dash goes last, behind --");
                        return Err(failure);
                    }
                },
            }
        }
        options.strict |= args.json;
        Ok(options)
    }
}

/// Runs `barnacle config set`.
pub fn set(mut args: Args) -> Result<(), Failure> {
    let options = Options::of(&mut args)?;
    if args.help {
        return print(SET);
    }
    let [path, value] = &options.words[..] else {
        return Err(Failure::usage("which value of which path? barnacle config set <path> <value>"));
    };
    let path = KeyPath::parse(path).map_err(Failure::usage)?;
    let typed = match options.string {
        true => Node::of_text(value),
        false => parse(value, options.strict)?,
    };
    let how = WriteOptions {
        may_shrink: options.replace,
        may_drop_mode: path == KeyPath::dotted("gateway.mode"),
        dry: options.dry,
        ..WriteOptions::default()
    };
    let here = here()?;
    let merged = |root: &Node, path: &KeyPath, new: &Node| {
        let value = match merge::at(root, path) {
            Some(old) if options.merge => merge::patched(old, new, &[])?,
            _ => new.clone(),
        };
        merge::with(root, path, Some(value))
    };
    if let Some(path) = own::path(&path) {
        let set = |value: &Node| {
            own::change(&here, options.dry, "Updated", &path, |root| merged(root, &path, value))
        };
        let done = match set(&typed) {
            Err(refused) if !options.strict && wants_text(&refused, &path) => set(&Node::of_text(value)),
            done => done,
        };
        return own::report(done.map_err(failure)?);
    }
    wait_for_what_runs(&here.0);
    let changed = |new: &Node, how: WriteOptions| {
        change(&here, how, "Updated", &path, |root| {
            let mut sum = merged(root, &path, new)?;
            // A value as `config get` shows it has no secrets in it.
            merge::restore(&mut sum, root)?;
            Ok(sum)
        })
    };
    let with = |how: WriteOptions| match changed(&typed, how) {
        // A token of digits is a text, and nobody types quotes within quotes.
        Err(refused) if !options.strict && wants_text(&refused, &path) => changed(&Node::of_text(value), how),
        done => done,
    };
    if !options.force {
        let preview = with(WriteOptions { dry: true, ..how }).map_err(failure)?;
        if let Some(unknown) = preview.misspelt(&path) {
            let message = format!("{unknown} Nothing was written; --force writes it all the same");
            return Err(Failure::new(1, message));
        }
    }
    report(with(how).map_err(failure)?, &here)
}

/// Whether nothing but a text may stand at `path`.
fn wants_text(refused: &Refused, path: &KeyPath) -> bool {
    let Refused::Invalid(errors) = refused else { return false };
    let is = |error: &ConfigError| error.path == path.to_string() && error.expected == ConfigError::TEXT;
    !errors.is_empty() && errors.iter().all(is)
}

pub(super) fn failure(refused: Refused) -> Failure {
    Failure::new(if matches!(refused, Refused::Broken(_)) { 78 } else { 1 }, refused)
}

/// Runs `barnacle config unset`.
pub fn unset(mut args: Args) -> Result<(), Failure> {
    let options = Options::of(&mut args)?;
    if args.help {
        return print(UNSET);
    }
    let [path] = &options.words[..] else {
        return Err(Failure::usage("which path? barnacle config unset <path>"));
    };
    let path = KeyPath::parse(path).map_err(Failure::usage)?;
    let how = WriteOptions {
        may_shrink: true,
        may_drop_mode: path == KeyPath::dotted("gateway.mode"),
        dry: options.dry,
        ..WriteOptions::default()
    };
    let here = here()?;
    let refused = |refused| match refused {
        Refused::Merge(merge::MergeError::NoSuchPlace(missing)) => {
            Failure::new(1, format!("Config path not found: {missing}. Nothing was changed."))
        }
        refused => failure(refused),
    };
    if let Some(path) = own::path(&path) {
        let done = own::change(&here, options.dry, "Removed", &path, |root| merge::with(root, &path, None));
        return own::report(done.map_err(refused)?);
    }
    wait_for_what_runs(&here.0);
    let done = change(&here, how, "Removed", &path, |root| merge::with(root, &path, None));
    report(done.map_err(refused)?, &here)
}

/// A value as it is typed: JSON5 where it is, else the text itself. What begins like a list or an object must
/// be one.
pub fn parse(text: &str, strict: bool) -> Result<Node, Failure> {
    if strict && miniserde::json::from_str::<Value>(text).is_err() {
        return Err(Failure::new(1, format!("{text:?} is not JSON (a text needs its double quotes)")));
    }
    match file::value(text) {
        Ok(node) => Ok(node),
        Err(invalid) if text.trim_start().starts_with(['[', '{']) => {
            let kind = if text.trim_start().starts_with('[') { "a list" } else { "an object" };
            Err(Failure::new(
                1,
                format!(
                    "the value begins like {kind} and is none: {} at column {} of line {}; --string if it is meant \
                     as a text. Nothing was written",
                    invalid.message, invalid.column, invalid.line
                ),
            ))
        }
        Err(_) => Ok(Node::of_text(text)),
    }
}

/// A change that was made, or would be.
struct Change {
    /// First line of the output: `Updated gateway.port`.
    done: String,
    plan: Plan,
    /// Whether the file was not there before.
    new: bool,
    written: Written,
}

impl Change {
    /// The line about a key within `path`, or that `path` is within, which nobody knows and which is much like
    /// another.
    fn misspelt(&self, path: &KeyPath) -> Option<String> {
        let path = path.to_string();
        let within =
            |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|r| r.starts_with(['.', '[']));
        let lint = self.written.now.lint.iter().filter(|c| c.rule == Rule::Unknown);
        let mut of_path = lint.filter(|c| within(&c.path, &path) || within(&path, &c.path));
        // Not one that is known elsewhere: a plugin may have a key of that name.
        let above = |path: &str| path.rfind('.').map_or(String::new(), |at| path[..at].to_owned());
        let meant = |c: &&Warning| {
            let meant = c.message.rsplit_once("did you mean ").and_then(|(_, m)| m.strip_suffix('?'));
            meant.is_some_and(|meant| above(meant) == above(&c.path))
        };
        of_path.find(meant).map(|c| c.message.clone())
    }
}

/// Applies the change to the file.
fn change(
    (paths, env): &(Paths, Env),
    how: WriteOptions,
    done: &str,
    path: &KeyPath,
    to: impl Fn(&Node) -> Result<Node, merge::MergeError>,
) -> Result<Change, Refused> {
    let (mut before, mut new) = (Node::empty(), false);
    let written = write(paths, env, how, |present| {
        (before, new) = (present.source.root.clone(), !present.exists);
        Ok::<_, Refused>(WriteTarget::Sum(to(&present.source.root)?))
    })?;
    let plan = plan(diff(&before, &written.now.source.root));
    let plan = if is_in_front(paths, env, &written.now.source) { plan.in_front() } else { plan };
    Ok(Change { done: format!("{done} {path}"), plan, new, written })
}

/// Time-out for the running gateway to apply a change.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Where there is neither a file nor what ran last, waits for a moment: a gateway whose directory was taken away writes
/// down what it runs with, for the change to begin with.
fn wait_for_what_runs(paths: &Paths) {
    /// A gateway sees it in less; only the very first change of a new home takes as long.
    const MOMENT: Duration = Duration::from_secs(1);
    let end = Instant::now() + MOMENT;
    while !paths.config_file.exists() && !paths.last_config().exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Prints what was done, once the gateway that runs on this state has applied it or clearly has not.
fn report(change: Change, (paths, env): &(Paths, Env)) -> Result<(), Failure> {
    let Change { done, plan, new, written: Written { file, backup, changed, now } } = change;
    let off = now.config.reload.mode == ReloadMode::Off;
    let running = lock_holder(&paths.barnacle_dir);
    let Some(file) = file else {
        if changed.is_empty() {
            return print("No change\n");
        }
        let hint = match running {
            _ if off => "Restart the gateway to apply.".into(),
            Some(_) => format!("Change will apply without restarting the gateway: {}.", plan.done()),
            None => "No gateway runs on it.".into(),
        };
        return print(&format!(
            "Dry run: {} would change. {hint}\n",
            done.split(' ').nth(1).unwrap_or_default()
        ));
    };
    let acts = plan.effects.iter().any(|effect| effect.acts());
    let hint = match running {
        None if new => "It is a new file; no gateway runs on it.".into(),
        None => "No gateway runs on it: it counts from the next start.".into(),
        Some(_) if off => "Restart the gateway to apply.".into(),
        Some(pid) if !is_applied(paths, env, &now) => {
            eprintln!(
                "barnacle: the gateway that runs (process {pid}) has not taken it within {} s: barnacle logs says \
                 why; kill -HUP {pid} has it read at once",
                PATIENCE.as_secs()
            );
            "The gateway has not taken it yet.".into()
        }
        Some(_) if acts => format!("Applied without restarting the gateway: {}.", plan.done()),
        Some(_) => "No gateway restart needed.".to_owned(),
    };
    let kept = backup.map(|b| format!(" What was before is in {}.", b.display())).unwrap_or_default();
    print(&format!("{done}. {hint}\nWritten to {}.{kept}\n", file.display()))
}

/// Whether the running gateway has applied `now`, waiting for it: it keeps beside its store what it runs with.
fn is_applied(paths: &Paths, env: &Env, now: &Loaded) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if to_keep(paths, env, &now.source, &now.errors).is_none() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
