//! `barnacle sessions`: conversations, listed, read, reset and deleted, by the gateway that has them.

use super::{
    agent::AGENT,
    turn::{Place, shown, text_of},
};
use crate::{
    cli::{
        Command, Failure, Opt,
        args::Args,
        call, print,
        table::{Table, plain},
    },
    client::Target,
    clock::timestamp,
    protocol::Fields,
};
use miniserde::json::Value;
use nanoserde::SerJson;

pub(in crate::cli) static COMMAND: Command = Command {
    name: "sessions",
    summary: "list, show, reset and delete sessions",
    about: "List sessions, the one that changed last first; show, reset and delete them.",
    notes: "Without a command it lists them. A session is named by its key, whole or within its agent: main.",
    options: LIST,
    calls: true,
    commands: &[&LISTING, &SHOW, &RESET, &DELETE],
    run: list,
    ..Command::NONE
};

const LIST: &[Opt] = &[
    Opt::value(&["agent"], "<id>", "only sessions of this agent"),
    Opt::value(&["limit", "n"], "<sessions>", "the most that are listed [100]"),
    Opt::value(&["search"], "<text>", "only those with this in their key or name"),
    Opt::flag(&["archived"], "only archived ones"),
];
const YES: Opt = Opt::flag(&["yes", "y"], "confirm it; required");

static LISTING: Command = Command {
    name: "list",
    summary: "list sessions",
    about: "List sessions, the one that changed last first.",
    options: LIST,
    calls: true,
    run: list,
    ..Command::NONE
};

static SHOW: Command = Command {
    name: "show",
    arguments: &["<session>"],
    summary: "print the last messages of a session",
    about: "Print the last messages of a session.",
    options: &[AGENT, Opt::value(&["limit", "n"], "<messages>", "number of messages [50]")],
    calls: true,
    run: show,
    ..Command::NONE
};

static RESET: Command = Command {
    name: "reset",
    arguments: &["<session>"],
    summary: "begin a session's conversation anew",
    about: "Begin a session's conversation anew. What was said stays in the transcript, and is told to no model any more.",
    options: &[AGENT, YES],
    calls: true,
    run: reset,
    ..Command::NONE
};

static DELETE: Command = Command {
    name: "delete",
    arguments: &["<session>"],
    summary: "delete a session and its transcript",
    about: "Delete a session and its transcript. A run that is under way is aborted.",
    options: &[AGENT, YES],
    calls: true,
    run: delete,
    ..Command::NONE
};

/// Most entries of one answer.
const MOST: u32 = 1000;

/// The session that the first argument names.
fn place(args: &Args) -> Result<Place, Failure> {
    Ok(Place { session: args.need(0)?.to_owned(), agent: args.text("agent").map(String::from) })
}

/// Calls `method`; `None` where `--json` had the answer printed as it came.
fn ask(args: &Args, target: &Target, method: &str, params: &str) -> Result<Option<Value>, Failure> {
    let (answer, _) = call::ask(target, method, params).map_err(|e| Failure::of(e, target))?;
    if args.json {
        return print(&format!("{answer}\n")).map(|()| None);
    }
    Ok(Some(miniserde::json::from_str(&answer).unwrap_or_default()))
}

fn list(args: Args) -> Result<(), Failure> {
    let limit = args.number("limit", 1..=MOST)?.unwrap_or(100);
    let mut params = format!(r#"{{"limit":{limit},"includeGlobal":true,"includeDerivedTitles":true"#);
    for (name, option) in [("agentId", "agent"), ("search", "search")] {
        if let Some(text) = args.text(option) {
            params.push_str(&format!(r#","{name}":{}"#, text.to_owned().serialize_json()));
        }
    }
    if args.has("archived") {
        params.push_str(r#","archived":true"#);
    }
    params.push('}');
    let target = args.target()?;
    let Some(value) = ask(&args, &target, "sessions.list", &params)? else { return Ok(()) };
    print(&Fields::of(&value).map_or_else(String::new, table))
}

/// The answer of `sessions.list` as a table.
fn table(answer: Fields<'_>) -> String {
    let mut table = Table::new(&["SESSION", "TITLE", "CHANGED", "STATUS"]);
    let mut count = 0;
    for row in answer.objects("sessions") {
        count += 1;
        let title = ["label", "displayName", "derivedTitle"].into_iter().find_map(|name| row.str(name));
        let status = if row.is("hasActiveRun") { "running" } else { row.str("status").unwrap_or("-") };
        let key = row.text("key");
        // The two that every agent has are told apart by whose they are.
        let key =
            if key.starts_with("agent:") { key.into() } else { format!("{key} ({})", row.text("agentId")) };
        table.row([
            key,
            title.unwrap_or("-").chars().take(60).collect(),
            row.u64("updatedAt").map_or("-".into(), timestamp),
            status.into(),
        ]);
    }
    if count == 0 {
        return "no sessions; to begin one: barnacle chat\n".into();
    }
    let total = answer.u64("totalCount").unwrap_or(count);
    let more =
        if total > count { format!("\n{count} of {total}; for more: --limit\n") } else { String::new() };
    table.text() + &more
}

fn show(args: Args) -> Result<(), Failure> {
    let (place, limit) = (place(&args)?, args.number("limit", 1..=MOST)?.unwrap_or(50));
    let target = args.target()?;
    let params = place.params("sessionKey", &[]);
    let params = format!(r#"{},"limit":{limit}}}"#, params.trim_end_matches('}'));
    let Some(value) = ask(&args, &target, "chat.history", &params)? else { return Ok(()) };
    let Some(page) = Fields::of(&value) else { return Ok(()) };
    if page.str("sessionId").is_none() {
        return Err(unknown(&place));
    }
    let messages: String = page.objects("messages").map(message).collect();
    print(if messages.is_empty() { "nothing was said in it yet\n" } else { &messages })
}

/// A message of a history: when it was said, by whom, and what.
fn message(message: Fields<'_>) -> String {
    let at = message.u64("timestamp").map(|ms| format!("{} ", timestamp(ms))).unwrap_or_default();
    let text = match (text_of(message), message.str("errorMessage")) {
        (text, None) => text,
        (text, Some(why)) if text.is_empty() => format!("[{why}]"),
        (text, Some(why)) => format!("{text}\n[{why}]"),
    };
    format!("{at}{}: {}\n", plain(message.text("role")), shown(&text))
}

fn confirmed(args: &Args, what: &str) -> Result<(), Failure> {
    match args.has("yes") {
        true => Ok(()),
        false => Err(Failure::usage(format!("{what}; confirm it with --yes"))),
    }
}

fn reset(args: Args) -> Result<(), Failure> {
    let place = place(&args)?;
    confirmed(&args, "sessions reset has a conversation forgotten by its agent")?;
    let target = args.target()?;
    // Resetting what is not there would make it.
    let known = call::ask(&target, "sessions.describe", &place.params("key", &[]));
    let (known, _) = known.map_err(|e| Failure::of(e, &target))?;
    if crate::protocol::raw_member(&known, "session").is_none_or(|session| session == "null") {
        return Err(unknown(&place));
    }
    let answer = ask(&args, &target, "sessions.reset", &place.params("key", &[]))?;
    answer.map_or(Ok(()), |answer| {
        let key = Fields::of(&answer).map_or("", |answer| answer.text("key"));
        print(&format!("reset {}\n", plain(key)))
    })
}

fn delete(args: Args) -> Result<(), Failure> {
    let place = place(&args)?;
    confirmed(&args, "sessions delete removes a session and what was said in it")?;
    let target = args.target()?;
    let Some(value) = ask(&args, &target, "sessions.delete", &place.params("key", &[]))? else {
        return Ok(());
    };
    match Fields::of(&value) {
        Some(answer) if answer.is("deleted") => print(&format!("deleted {}\n", plain(answer.text("key")))),
        _ => Err(unknown(&place)),
    }
}

fn unknown(place: &Place) -> Failure {
    Failure::new(1, format!("no session {}; see: barnacle sessions", place.session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_each_session_and_says_when_there_are_more() {
        let answer = r#"{"totalCount":3,"sessions":[
            {"key":"agent:main:main","agentId":"main","derivedTitle":"Hello","updatedAt":0,"status":"done"},
            {"key":"global","agentId":"work","label":"L\u001b","hasActiveRun":true}]}"#;
        let value: Value = miniserde::json::from_str(answer).unwrap();
        let text = table(Fields::of(&value).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "agent:main:main  Hello  1970-01-01T00:00:00.000Z  done");
        assert_eq!(lines[2], "global (work)    L      -                         running");
        assert_eq!(lines[4], "2 of 3; for more: --limit");
    }

    #[test]
    fn a_message_is_shown_with_why_it_failed() {
        let rows = [
            (
                r#"{"role":"user","content":" a\n b","timestamp":0}"#,
                "1970-01-01T00:00:00.000Z user:  a\n b\n",
            ),
            (r#"{"role":"assistant","content":[],"errorMessage":"why"}"#, "assistant: [why]\n"),
        ];
        for (json, expected) in rows {
            let value: Value = miniserde::json::from_str(json).unwrap();
            assert_eq!(message(Fields::of(&value).unwrap()), expected);
        }
    }
}
