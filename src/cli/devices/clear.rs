//! `barnacle devices clear`: removes every device.

use super::{
    super::{Command, Failure, Opt, args::Args},
    Backend, Registry, params,
};
use nanoserde::SerJson;

pub(super) static COMMAND: Command = Command {
    name: "clear",
    summary: "remove every device",
    about: "Remove every device. Each has to be paired again.",
    options: &[
        Opt::flag(&["yes", "y"], "confirm it; required"),
        Opt::flag(&["pending"], "reject every pending request, too"),
    ],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    if !args.has("yes") {
        return Err(Failure::usage("devices clear removes every device; confirm it with --yes"));
    }
    let target = args.target()?;
    let mut registry = Registry::open(&target, &args, Some(""))?;
    let own = match &registry.backend {
        Backend::Gateway(client) => client.device().map(|id| id.to_string()).unwrap_or_default(),
        Backend::Store(_) => String::new(),
    };
    let mut devices: Vec<String> = registry.listing.paired.iter().map(|d| d.id.clone()).collect();
    // The device that this connection rests on goes last.
    devices.sort_by_key(|id| *id == own);
    let pending = registry.listing.pending.iter().filter(|_| args.has("pending"));
    let requests: Vec<String> = pending.map(|r| r.id.clone()).collect();
    for request in &requests {
        registry.call("device.pair.reject", &params(&[("requestId", request)]))?;
    }
    for id in &devices {
        registry.call("device.pair.remove", &params(&[("deviceId", id)]))?;
    }
    let text = format!("removed {} devices, rejected {} requests\n", devices.len(), requests.len());
    let answer =
        format!(r#"{{"removed":{},"rejected":{}}}"#, devices.serialize_json(), requests.serialize_json());
    registry.finish(&answer, text)
}
