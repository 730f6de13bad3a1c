//! `barnacle call`: one request, one answer.

use super::{Command, Failure, Opt, args::Args, print};
use crate::{
    client::{CallError, Client, Target},
    methods::{self, Access},
    protocol::{Scope, Scopes, openclaw_scope},
};
use miniserde::json::Value;
use std::time::{Duration, Instant};

pub(super) static COMMAND: Command = Command {
    name: "call",
    arguments: &["<method>", "[<params>]"],
    summary: "call any method, print its answer as JSON",
    about: "Call a method of the gateway and print its answer as JSON. The parameters are a JSON object.",
    options: &[Opt::value(&["params"], "<json>", "the parameters, as OpenClaw's command takes them")],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let method = args.need(0)?;
    let params = args.text("params").or(args.word(1)).unwrap_or("{}");
    if !matches!(miniserde::json::from_str(params), Ok(Value::Object(_))) {
        return Err(Failure::usage(format!("the parameters must be a JSON object, not {params:?}")));
    }
    let target = args.target()?;
    let (answer, _) = ask(&target, method, params).map_err(|e| Failure::of(e, &target))?;
    print(&format!("{answer}\n"))
}

/// Returns the scope that calling `method` takes.
fn scope(method: &str) -> Scopes {
    let scope = match methods::find(method).map(|method| method.access) {
        Some(Access::Operator(scope) | Access::Dynamic(scope)) => Some(scope),
        Some(Access::Node) => return Scopes::NONE,
        None => openclaw_scope(method).and_then(Scope::parse),
    };
    [scope.unwrap_or(Scope::Admin)].into_iter().collect()
}

/// Calls `method`; returns the answer and how long it took.
pub(super) fn ask(target: &Target, method: &str, params: &str) -> Result<(String, Duration), CallError> {
    let mut client = Client::connect(target, scope(method))?;
    let began = Instant::now();
    let answer = client.call(method, params)?;
    Ok((answer, began.elapsed()))
}

/// The answer to a method without parameters, and what it is printed with.
pub(super) struct Answer {
    pub target: Target,
    pub value: Value,
    pub took: Duration,
}

/// Calls `method` without parameters. `None` where `--json` had the answer printed as it came.
pub(super) fn answer(args: &Args, method: &str) -> Result<Option<Answer>, Failure> {
    let target = args.target()?;
    let (answer, took) = ask(&target, method, "{}").map_err(|e| Failure::of(e, &target))?;
    if args.json {
        return print(&format!("{answer}\n")).map(|()| None);
    }
    let value = miniserde::json::from_str(&answer).unwrap_or_default();
    Ok(Some(Answer { target, value, took }))
}
