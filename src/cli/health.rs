//! `barnacle health`: whether the gateway responds, and how well.

use super::{Command, Failure, args::Args, call, print};
use crate::protocol::Fields;

pub(super) static COMMAND: Command = Command {
    name: "health",
    summary: "check that the gateway responds",
    about: "Check that the gateway responds. It prints ok and the time of the answer, or degraded and the cause.",
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let Some(call::Answer { target, value, took }) = call::answer(&args, "health")? else { return Ok(()) };
    let health = Fields::of(&value);
    if !health.is_some_and(|f| f.is("ok")) {
        return Err(Failure::new(1, format!("{} is not ok; see: barnacle status", target.url)));
    }
    let took = took.as_secs_f64() * 1000.0;
    match health.and_then(|f| f.str("degraded")) {
        Some(cause) => print(&format!("degraded: {} ({took:.1} ms): {cause}\n", target.url)),
        None => print(&format!("ok: {} ({took:.1} ms)\n", target.url)),
    }
}
