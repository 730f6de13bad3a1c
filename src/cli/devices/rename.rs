//! `barnacle devices rename`: gives a device a label.

use super::{
    super::{Command, Failure, Opt, args::Args},
    DEVICE, Registry, named, params,
};

pub(super) static COMMAND: Command = Command {
    name: "rename",
    arguments: &["<device>", "<label>"],
    summary: "label a device",
    about: "Give a device a label of your own.",
    options: &[DEVICE, Opt::value(&["label", "name"], "<label>", "")],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let (target, wanted) = (args.target()?, named(&args)?);
    // Given as an option, the device leaves its place to the label.
    let at = if args.has("device") { 0 } else { 1 };
    let label = args.text("label").map_or_else(|| args.need(at), Ok)?;
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let device = registry.listing.device(wanted)?.clone();
    let answer =
        registry.call("device.pair.rename", &params(&[("deviceId", &device.id), ("label", label)]))?;
    registry.finish(&answer, format!("{} is now called {}\n", device.phrase(), label.trim()))
}
