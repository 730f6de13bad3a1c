//! `barnacle devices approve`: shows what a pending request asks for, and grants exactly that.

use super::{
    super::{Command, Failure, Opt, args::Args, print},
    DEVICE, Registry, named, params,
};
use std::io::{BufRead, IsTerminal};

pub(super) static COMMAND: Command = Command {
    name: "approve",
    arguments: &["<request|device>"],
    summary: "approve a pending request",
    about: "Approve a pending request. What it grants is shown first; on a terminal, it has to be confirmed. A request \
            that changed since it was shown is not approved.",
    options: &[
        Opt::flag(&["yes", "y"], "do not ask for confirmation"),
        Opt::flag(&["latest"], "show the newest request and how to approve it"),
        DEVICE,
    ],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let target = args.target()?;
    let Some(wanted) = named(&args).ok().filter(|_| !args.has("latest")) else {
        return latest(&Registry::open(&target, &args, None)?);
    };
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let request = registry.listing.request(wanted)?.clone();
    // With `--json`, standard output is for the answer.
    let shown = format!("Approving request {}:\n{}", request.id, registry.listing.details(&request));
    match args.json {
        true => eprint!("{shown}"),
        false => print(&shown)?,
    }
    if !args.has("yes") && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        // Whoever thinks it over holds up neither a connection nor the store.
        drop(registry);
        confirm()?;
        registry = Registry::open(&target, &args, Some(wanted))?;
        if !registry.listing.pending.contains(&request) {
            let id = &request.id;
            let why = format!("request {id} changed or is gone since it was shown; nothing was approved");
            return Err(Failure::new(1, format!("{why}. See: barnacle devices list")));
        }
    }
    let answer = registry.call("device.pair.approve", &params(&[("requestId", &request.id)]))?;
    registry.finish(&answer, format!("approved {}\n", request.phrase()))
}

/// Shows the newest request. Being the newest does not approve it: another may have come in between.
fn latest(registry: &Registry<'_>) -> Result<(), Failure> {
    let Some(newest) = registry.listing.pending.iter().max_by_key(|r| r.at_ms) else {
        return Err(Failure::new(1, "no pending requests"));
    };
    print(&registry.listing.pending_text())?;
    Err(Failure::new(1, format!("to approve the newest: barnacle devices approve {}", newest.id)))
}

fn confirm() -> Result<(), Failure> {
    eprint!("Approve? [y/N] ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| Failure::new(1, format!("standard input: {e}")))?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(1, "not confirmed; nothing was approved")),
    }
}
