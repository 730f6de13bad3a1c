//! `barnacle config set` and `unset`: one value, in the file itself, whether a gateway runs or not.

use super::here;
use crate::{
    cli::{
        Failure,
        args::{Args, Word},
        print,
    },
    config::{
        ConfigError, Env, KeyPath, Paths, Refused, ReloadMode,
        change::{
            diff::diff,
            merge,
            plan::plan,
            write::{Terms, Wanted, Written, write},
        },
        text::{file, node::Node},
    },
};
use miniserde::json::Value;

const SET: &str = "\
Set a value in openclaw.json, or in the file it includes for it. Everything else in the file stays as it is;
what it said before is kept beside it as .bak.

Usage: barnacle config set <path> <value> [options]

  --strict-json      the value must be JSON; else it is JSON5 if it can be, and a text if not
  --merge            put an object's keys among those that are there, instead of replacing it
  --replace          the file may shrink by more than half
  --dry-run          say what it would change, and write nothing
  --json             as --strict-json
  -h, --help         print this

Exit codes: 0 done or nothing to do, 1 refused, 2 usage, 78 the file cannot be read as it is.
";

const UNSET: &str = "\
Take a value out of openclaw.json, or out of the file it includes for it.

Usage: barnacle config unset <path> [options]

  --dry-run          say what it would change, and write nothing
  -h, --help         print this
";

/// What the options said.
#[derive(Default)]
struct Options {
    words: Vec<String>,
    strict: bool,
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
    let typed = parse(value, options.strict)?;
    let terms = Terms {
        may_shrink: options.replace,
        may_drop_mode: path == KeyPath::dotted("gateway.mode"),
        dry: options.dry,
        ..Terms::default()
    };
    let here = here()?;
    let with = |new: Node| {
        change(&here, terms, "Updated", &path, |root| {
            let value = match merge::at(root, &path) {
                Some(old) if options.merge => merge::patched(old, &new, &[])?,
                _ => new.clone(),
            };
            let mut sum = merge::with(root, &path, Some(value))?;
            // A value as `config get` shows it has no secrets in it.
            merge::restore(&mut sum, root)?;
            Ok(sum)
        })
    };
    let told = match with(typed) {
        // A token of digits is a text, and nobody types quotes within quotes.
        Err(refused) if !options.strict && wants_text(&refused, &path) => with(Node::of_text(value)),
        done => done,
    };
    print(&told.map_err(failure)?)
}

/// Whether nothing but a text may stand at `path`.
fn wants_text(refused: &Refused, path: &KeyPath) -> bool {
    let Refused::Invalid(errors) = refused else { return false };
    let is = |error: &ConfigError| error.path == path.to_string() && error.expected == ConfigError::TEXT;
    !errors.is_empty() && errors.iter().all(is)
}

fn failure(refused: Refused) -> Failure {
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
    let terms = Terms {
        may_shrink: true,
        may_drop_mode: path == KeyPath::dotted("gateway.mode"),
        dry: options.dry,
        ..Terms::default()
    };
    let gone = || format!("Config path not found: {path}. Nothing was changed.");
    let told = change(&here()?, terms, "Removed", &path, |root| merge::with(root, &path, None));
    print(&told.map_err(|refused| match refused {
        Refused::Unmade(merge::Unmade::NoSuchPlace(missing)) if missing == path => Failure::new(1, gone()),
        refused => failure(refused),
    })?)
}

/// A value as it is typed: JSON5 where it is, else the text itself.
pub fn parse(text: &str, strict: bool) -> Result<Node, Failure> {
    if strict && miniserde::json::from_str::<Value>(text).is_err() {
        return Err(Failure::new(1, format!("{text:?} is not JSON (a text needs its double quotes)")));
    }
    Ok(file::value(text).unwrap_or_else(|_| Node::of_text(text)))
}

/// Makes the change; what to tell of it.
fn change(
    (paths, env): &(Paths, Env),
    terms: Terms,
    done: &str,
    path: &KeyPath,
    to: impl Fn(&Node) -> Result<Node, merge::Unmade>,
) -> Result<String, Refused> {
    let mut before = Node::empty();
    let Written { file, backup, changed, now } = write(paths, env, terms, |present| {
        before = present.source.root.clone();
        Ok::<_, Refused>(Wanted::Sum(to(&present.source.root)?))
    })?;
    if changed.is_empty() {
        return Ok("No change\n".into());
    }
    let plan = plan(diff(&before, &now.source.root));
    let hint = match plan.effects.iter().any(|effect| effect.acts()) {
        _ if now.config.reload.mode == ReloadMode::Off => "Restart the gateway to apply.".into(),
        true => format!("Change will apply without restarting the gateway: {}.", plan.done()),
        false => "No gateway restart needed.".to_owned(),
    };
    let Some(file) = file else { return Ok(format!("Dry run: {path} would change. {hint}\n")) };
    let kept = backup.map(|b| format!(" What was before is in {}.", b.display())).unwrap_or_default();
    Ok(format!("{done} {path}. {hint}\nWritten to {}.{kept}\n", file.display()))
}
