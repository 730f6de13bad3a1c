//! `barnacle agent`: one message, one answer.

use super::turn::{self, End, Place, Turn, run_id, shown};
use crate::cli::{Command, Failure, Opt, args::Args, print};
use nanoserde::SerJson;
use std::time::{Duration, Instant};

pub(in crate::cli) static COMMAND: Command = Command {
    name: "agent",
    summary: "send a message to an agent, print its answer",
    about: "Send a message to an agent, wait for its answer and print it. A gateway that is restarted meanwhile goes on \
            with it.",
    notes: "The run itself has no time limit here: one that is not waited for any more goes on.",
    options: &[
        Opt::value(&["message", "m"], "<text>", "the message; - reads it from standard input"),
        SESSION,
        AGENT,
        Opt::value(&["timeout"], "<seconds>", "how long to wait for the answer; 0 waits for good [600]"),
    ],
    calls: true,
    run,
    ..Command::NONE
};

/// `--session`, or OpenClaw's `--session-key`.
pub(super) const SESSION: Opt = Opt::value(&["session", "session-key"], "<key>", "the session [main]");
/// `--agent`.
pub(super) const AGENT: Opt =
    Opt::value(&["agent"], "<id>", "the agent whose session it is [the default agent]");

/// The session that the options name.
pub(super) fn place(args: &Args) -> Place {
    Place {
        session: args.text("session").unwrap_or("main").to_owned(),
        agent: args.text("agent").map(String::from),
    }
}

/// The most of a message, bytes: what the gateway takes.
const LONGEST: u64 = 1 << 20;
const SECONDS: u64 = 600;
/// Time limit of a call of which the answer is not what is waited for.
const CALL: Duration = Duration::from_secs(10);

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Report {
    runId: String,
    status: &'static str,
    summary: String,
    result: Answer,
}

#[derive(SerJson)]
struct Answer {
    payloads: Vec<Payload>,
}

#[derive(SerJson)]
struct Payload {
    text: String,
}

fn run(args: Args) -> Result<(), Failure> {
    let text = message(&args)?;
    let seconds = args.number("timeout", 0..=u64::from(u32::MAX))?.unwrap_or(SECONDS);
    let mut target = args.target()?;
    let limit = (seconds > 0).then(|| Duration::from_secs(seconds));
    target.timeout = limit.map_or(CALL, |limit| limit.min(CALL));
    // Whether a gateway is there shows at once; what becomes of it later is another matter.
    let client = turn::attach(&target).map_err(|e| Failure::of(e, &target))?;
    let place = place(&args);
    let turn =
        Turn { place: &place, text: &text, id: run_id()?, until: limit.map(|limit| Instant::now() + limit) };
    let (end, said) = turn.run(&target, &mut Some(client), |_| {})?;
    let status = match &end {
        End::Answered => "ok",
        End::Aborted => "aborted",
        End::Failed(_) => "error",
    };
    if args.json {
        let summary = if let End::Failed(why) = &end { why.clone() } else { "completed".into() };
        let payloads = Some(said).filter(|text| !text.is_empty()).map(|text| Payload { text });
        let result = Answer { payloads: payloads.into_iter().collect() };
        print(&(Report { runId: turn.id, status, summary, result }.serialize_json() + "\n"))?;
    } else if !said.is_empty() {
        print(&(shown(&said) + "\n"))?;
    }
    match end {
        End::Answered => Ok(()),
        End::Aborted => Err(Failure::new(1, "the run was aborted")),
        End::Failed(why) => Err(Failure::new(1, shown(&why))),
    }
}

fn message(args: &Args) -> Result<String, Failure> {
    use std::io::Read;
    let given = args.text("message").ok_or_else(|| Failure::usage("say what? --message <text>"))?;
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let read = std::io::stdin().take(LONGEST + 1).read_to_string(&mut text);
        read.map_err(|e| Failure::new(1, format!("standard input: {e}")))?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    match text.trim().is_empty() {
        true => Err(Failure::usage("the message is empty")),
        false if text.len() as u64 > LONGEST => {
            Err(Failure::usage(format!("the message is longer than {LONGEST} bytes")))
        }
        false => Ok(text),
    }
}
