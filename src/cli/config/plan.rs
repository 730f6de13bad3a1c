//! `barnacle config plan`: shows the effects of an edit before it is saved.

use super::{here, set};
use crate::{
    cli::{
        Failure,
        args::{Args, Word},
        call::ask,
        command::call_options,
        print,
    },
    client::CallError,
    config::{
        FileState, KeyPath, Refused,
        change::{diff::diff, merge, plan, write},
        keys,
        settings::load::load,
        text::node::Node,
    },
    protocol::Fields,
};
use nanoserde::SerJson;

const PLAN: &str = "\
Say what an edit of openclaw.json would do to the gateway that runs, and whom it would close. Nothing is saved.

Usage: barnacle config plan                   the file as it stands, against what the gateway runs with
       barnacle config plan <path> <value>    with this value set
       barnacle config plan --unset <path>    with this value taken out
       barnacle config plan --file <path>     with this file in its place
       barnacle config plan --table           the reference of all keys, in Markdown
";

/// The edit to plan.
enum Edit {
    None,
    Set(KeyPath, Node),
    Unset(KeyPath),
    File(String),
}

/// Runs `barnacle config plan`.
pub fn plan(mut args: Args) -> Result<(), Failure> {
    let (mut words, mut unset, mut file) = (Vec::new(), None, None);
    while let Some(word) = args.next()? {
        match word {
            Word::Text(text) => words.push(text),
            Word::Flag(name) => match name.as_str() {
                "table" => return print(&keys::reference::page()),
                "unset" => unset = Some(args.value()?),
                "file" => file = Some(args.value()?),
                _ => return Err(Word::Flag(name).unexpected()),
            },
        }
    }
    if args.help {
        return print(&format!("{PLAN}\n{}", call_options()));
    }
    let path = |text: &str| KeyPath::parse(text).map_err(Failure::usage);
    let edit = match (&words[..], unset, file) {
        ([], None, None) => Edit::None,
        ([at, value], None, None) => Edit::Set(path(at)?, set::parse(value, false)?),
        ([], Some(at), None) => Edit::Unset(path(&at)?),
        ([], None, Some(file)) => Edit::File(file),
        _ => return Err(Failure::usage("one edit: <path> <value>, --unset <path>, or --file <path>")),
    };
    let (text, alone) = candidate(edit)?;
    let params = text.map_or("{}".into(), |text| format!(r#"{{"raw":{}}}"#, text.serialize_json()));
    let target = args.target()?;
    match ask(&target, "config.plan", &params) {
        Ok((answer, _)) if args.json => print(&format!("{answer}\n")),
        Ok((answer, _)) => print(&plan_text(&answer)),
        Err(CallError::Unreachable(..)) => {
            print(&format!("{alone}No gateway runs at {}: nobody is closed.\n", target.url))
        }
        Err(e) => Err(Failure::of(e, &target)),
    }
}

/// The text that an edit would make of the configuration, in one file (`None` for the file as it stands), and
/// what it comes to when no gateway runs.
fn candidate(edit: Edit) -> Result<(Option<String>, String), Failure> {
    let (paths, env) = here()?;
    let whole = |refused: Refused| Failure::new(1, refused);
    let options = write::WriteOptions {
        may_shrink: true,
        may_drop_mode: true,
        dry: true,
        ..write::WriteOptions::default()
    };
    let mut before = Node::empty();
    let edited = |to: &dyn Fn(&Node) -> Result<Node, merge::MergeError>, before: &mut Node| {
        write::write(&paths, &env, options, |present| {
            *before = present.source.root.clone();
            Ok::<_, Refused>(write::WriteTarget::Sum(to(&present.source.root)?))
        })
        .map(|written| written.now.source)
        .map_err(whole)
    };
    let now = match edit {
        Edit::None => return Ok((None, String::new())),
        Edit::Set(path, value) => edited(&|root| merge::with(root, &path, Some(value.clone())), &mut before)?,
        Edit::Unset(path) => edited(&|root| merge::with(root, &path, None), &mut before)?,
        Edit::File(name) => {
            let text = std::fs::read_to_string(&name).map_err(|e| Failure::new(1, format!("{name}: {e}")))?;
            let candidate = load(&paths, &env, Some(text.trim_start_matches('\u{feff}')));
            if let FileState::Broken(broken) = candidate.found {
                return Err(Failure::new(1, format!("{name}, in the place of {broken}")));
            }
            before = load(&paths, &env, None).source.root.clone();
            candidate.source
        }
    };
    let plan = plan::plan(diff(&before, &now.root));
    let changes: String =
        plan.changes.iter().map(|(change, effect)| format!("{change}: {}\n", effect.says())).collect();
    Ok((Some(now.in_one_file()), changes))
}

/// Formats the gateway's answer for a terminal.
fn plan_text(answer: &str) -> String {
    let value = miniserde::json::from_str(answer).unwrap_or_default();
    let Some(answer) = Fields::of(&value) else { return String::new() };
    let mut text = String::new();
    for change in answer.objects("changes") {
        let sign = match (change.is("added"), change.is("removed")) {
            (true, _) => "+",
            (_, true) => "-",
            _ => "",
        };
        text.push_str(&format!("{sign}{}: {}\n", change.text("path"), change.text("does")));
    }
    if text.is_empty() {
        text.push_str("Nothing changes.\n");
    }
    answer.strs("warnings").iter().for_each(|line| text.push_str(&format!("it would say: {line}\n")));
    let closes: Vec<_> = answer.objects("closes").collect();
    for conn in &closes {
        let who = conn.str("client").unwrap_or("a client");
        text.push_str(&format!("closes {} ({who})\n", conn.text("connId")));
    }
    answer.strs("revokes").iter().for_each(|id| text.push_str(&format!("revokes the browser {id}\n")));
    match closes.len() {
        0 => text.push_str("No connection is closed.\n"),
        1 => text.push_str("1 connection is closed; everyone else stays.\n"),
        n => text.push_str(&format!("{n} connections are closed; everyone else stays.\n")),
    }
    text
}
