//! `barnacle logs`: the gateway's log, kept in its memory.

use super::{Command, Failure, Opt, args::Args, print, table::plain};
use crate::{
    client::Client,
    protocol::{Fields, Scope},
};
use miniserde::json::Value;
use std::time::Duration;

pub(super) static COMMAND: Command = Command {
    name: "logs",
    summary: "show the gateway's log",
    about: "Show the last lines of the gateway's log.",
    options: &[
        Opt::flag(&["follow", "f"], "keep printing new lines, through restarts of the gateway"),
        Opt::value(&["limit", "n"], "<lines>", "number of lines to begin with [200]"),
    ],
    calls: true,
    run,
    ..Command::NONE
};

/// Most lines of one answer.
const MOST: u32 = 5000;
/// Between two requests of `--follow`.
const PAUSE: Duration = Duration::from_secs(1);

fn run(args: Args) -> Result<(), Failure> {
    let follow = args.has("follow");
    let mut limit = args.number("limit", 1..=MOST)?.unwrap_or(200);
    let target = args.target()?;
    let scopes = [Scope::Read].into_iter().collect();
    let mut began = false;
    loop {
        // A gateway that was restarted begins its journal anew.
        let mut cursor = None;
        let done = Client::connect(&target, scopes).and_then(|mut client| {
            loop {
                client.renew_deadline();
                let from = cursor.map(|c| format!(r#","cursor":{c}"#)).unwrap_or_default();
                let answer = client.call("logs.tail", &format!(r#"{{"limit":{limit}{from}}}"#))?;
                let (text, next) = lines(&answer, args.json);
                if let Err(e) = print(&text) {
                    return Ok(Err(e));
                }
                if !follow {
                    return Ok(Ok(()));
                }
                cursor = next.or(cursor);
                began = true;
                // It limits what to begin with; of what comes after nothing is left out.
                limit = MOST;
                std::thread::sleep(PAUSE);
            }
        });
        match done {
            Ok(end) => return end,
            Err(e) if follow && began && e.is_passing() => std::thread::sleep(PAUSE),
            Err(e) => return Err(Failure::of(e, &target)),
        }
    }
}

/// Formats an answer of `logs.tail`; also returns the cursor for the next request.
fn lines(answer: &str, json: bool) -> (String, Option<u64>) {
    let value: Value = miniserde::json::from_str(answer).unwrap_or_default();
    let Some(tail) = Fields::of(&value) else { return (String::new(), None) };
    let cursor = tail.u64("cursor");
    let lines = tail.strs("lines");
    let text = match json {
        true if lines.is_empty() => String::new(),
        true => format!("{answer}\n"),
        false => lines.iter().map(|line| plain(&text(line)) + "\n").collect(),
    };
    (text, cursor)
}

/// A line as a person reads it. One that is no JSON object is what an older gateway says.
fn text(line: &str) -> String {
    let value: Value = miniserde::json::from_str(line).unwrap_or_default();
    let Some(line_of) = Fields::of(&value) else { return line.into() };
    let part = |name: &str| line_of.str(name).unwrap_or_default();
    format!("{} {} {}", part("time"), part("level").to_ascii_uppercase(), part("message"))
}
