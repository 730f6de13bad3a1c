//! `barnacle config get`, `file` and `schema`: show values, the file's path, and the accepted keys.

use super::here;
use crate::{
    cli::{
        Failure,
        args::{Args, Word},
        print,
    },
    config::{
        KeyPath,
        change::merge,
        redact::{self, REDACTED, Viewer},
        schema,
        settings::load::load,
        text::{
            node::{Node, Value},
            source::Source,
        },
    },
};
use nanoserde::SerJson;

const GET: &str = "\
Print a value of openclaw.json, with what it includes. Secrets are not shown.

Usage: barnacle config get <path> [options]

  --reveal           show secrets
  --json             print a text in quotes too
  -h, --help         print this

Exit codes: 0 printed, 1 nothing there, 2 usage, 78 the file cannot be read as it is.
";

const FILE: &str = "\
Print where openclaw.json is.

Usage: barnacle config file [options]

  --all              and what it includes, its .env, what was written before, and what ran last
  -h, --help         print this
";

const SCHEMA: &str = "\
Print the JSON schema of what Barnacle acts on. Other keys may stand in the file, and are ignored.

Usage: barnacle config schema
";

/// Runs `barnacle config get`.
pub fn get(mut args: Args) -> Result<(), Failure> {
    let (mut path, mut reveal) = (None, false);
    while let Some(word) = args.next()? {
        match word {
            Word::Text(text) if path.is_none() => path = Some(text),
            Word::Flag(name) if name == "reveal" => reveal = true,
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(GET);
    }
    let text = path.ok_or_else(|| Failure::usage("which path? barnacle config get <path>"))?;
    let path = KeyPath::parse(&text).map_err(Failure::usage)?;
    let (paths, env) = here()?;
    let source = Source::read(&paths, &env).source.map_err(|broken| Failure::new(78, broken))?;
    let source = source.unwrap_or_else(|| Source::empty(&paths.config_file));
    let root = match reveal {
        true => source.root.clone(),
        false => redact::tree(&source.root, Viewer::Admin),
    };
    let Some(node) = merge::at(&root, &path) else {
        let file = paths.config_file.display();
        return Err(Failure::new(
            1,
            format!("{file} has no {text}; barnacle config schema lists what may stand in it"),
        ));
    };
    let mut out = String::new();
    match node.text() {
        Some(own) if !args.json => out.push_str(own),
        _ => pretty(node, 0, &mut out),
    }
    if out.contains(REDACTED) && !reveal {
        eprintln!("barnacle: secrets are hidden as {}; --reveal shows them", REDACTED);
    }
    print(&format!("{out}\n"))
}

/// The value as JSON that a person can read.
fn pretty(node: &Node, depth: usize, out: &mut String) {
    let line = |out: &mut String, n: usize, depth: usize| {
        out.push_str(if n > 0 { ",\n" } else { "\n" });
        out.push_str(&"  ".repeat(depth));
    };
    let close = |out: &mut String, end: char| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
        out.push(end);
    };
    match &node.value {
        Value::Object(entries) if !entries.is_empty() => {
            out.push('{');
            for (n, entry) in entries.iter().enumerate() {
                line(out, n, depth + 1);
                out.push_str(&format!("{}: ", entry.name.to_string().serialize_json()));
                pretty(&entry.node, depth + 1, out);
            }
            close(out, '}');
        }
        Value::List(items) if !items.is_empty() => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                line(out, n, depth + 1);
                pretty(item, depth + 1, out);
            }
            close(out, ']');
        }
        _ => out.push_str(&node.to_json()),
    }
}

/// Runs `barnacle config file`.
pub fn file(mut args: Args) -> Result<(), Failure> {
    let mut all = false;
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(name) if name == "all" => all = true,
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(FILE);
    }
    let (paths, env) = here()?;
    if !all {
        return print(&format!("{}\n", paths.config_file.display()));
    }
    let mut lines = vec![("config", paths.config_file.clone())];
    let read = load(&paths, &env, None).files;
    lines.extend(read.into_iter().filter(|path| *path != paths.config_file).map(|path| ("includes", path)));
    lines.push((".env", paths.dotenv()));
    lines.push(("own", paths.own_file()));
    let mut backup = paths.config_file.clone().into_os_string();
    backup.push(".bak");
    lines.push(("before", backup.into()));
    lines.push(("ran last", paths.last_config()));
    let text = lines.iter().map(|(what, path)| {
        let there = if path.exists() { "" } else { " (not there)" };
        format!("{what:10}{}{there}\n", path.display())
    });
    print(&text.collect::<String>())
}

/// Runs `barnacle config schema`.
pub fn schema(mut args: Args) -> Result<(), Failure> {
    match args.next()? {
        Some(other) => Err(other.unexpected()),
        None if args.help => print(SCHEMA),
        None => print(&format!("{}\n", schema::root().document(true))),
    }
}
