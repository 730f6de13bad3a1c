//! `barnacle devices remove`: forgets a device.

use super::{
    super::{Command, Failure, args::Args},
    DEVICE, Registry, named, params,
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
    let (target, wanted) = (args.target()?, named(&args)?);
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let device = registry.listing.device(wanted)?.clone();
    let answer = registry.call("device.pair.remove", &params(&[("deviceId", &device.id)]))?;
    registry.finish(&answer, format!("removed {}\n", device.phrase()))
}
