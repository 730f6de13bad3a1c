//! `barnacle devices list`: pending requests and paired devices.

use super::{
    super::{Command, Failure, args::Args},
    Registry,
};

pub(super) static COMMAND: Command = Command {
    name: "list",
    summary: "list pending requests and paired devices",
    about: "List pending requests and paired devices.",
    calls: true,
    run,
    ..Command::NONE
};

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let target = args.target()?;
    let registry = Registry::open(&target, &args, None)?;
    let (answer, text) = (registry.listing.answer.clone(), registry.listing.text());
    registry.finish(&answer, text)
}
