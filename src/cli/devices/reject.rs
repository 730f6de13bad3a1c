//! `barnacle devices reject`: turns a pending request down.

use super::{
    super::{Command, Failure, args::Args},
    DEVICE, change, params,
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
    change(&args, "device.pair.reject", |listing, wanted| {
        let request = listing.request(wanted)?;
        Ok((params(&[("requestId", &request.id)]), format!("rejected {}\n", request.phrase())))
    })
}
