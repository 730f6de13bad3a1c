//! `barnacle devices reject`: turns a pending request down.

use super::{
    super::{Command, Failure, args::Args},
    DEVICE, Registry, named, params,
};

pub(super) static COMMAND: Command = Command {
    name: "reject",
    arguments: &["<request|device>"],
    summary: "reject a pending request",
    about: "Reject a pending request.",
    options: &[DEVICE],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let (target, wanted) = (args.target()?, named(&args)?);
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let request = registry.listing.request(wanted)?.clone();
    let answer = registry.call("device.pair.reject", &params(&[("requestId", &request.id)]))?;
    registry.finish(&answer, format!("rejected {}\n", request.phrase()))
}
