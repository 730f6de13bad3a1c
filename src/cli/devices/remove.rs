//! `barnacle devices remove`: forgets a device.

use super::{
    super::{Command, Failure, args::Args},
    DEVICE, change, params,
};

pub(super) static COMMAND: Command = Command {
    name: "remove",
    arguments: &["<device>"],
    summary: "forget a device; it has to be paired again",
    about: "Forget a device. Its connections close at once, and it has to be paired again.",
    options: &[DEVICE],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    change(&args, "device.pair.remove", |listing, wanted| {
        let device = listing.device(wanted)?;
        Ok((params(&[("deviceId", &device.id)]), format!("removed {}\n", device.phrase())))
    })
}
