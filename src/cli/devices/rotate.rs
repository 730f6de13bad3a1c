//! `barnacle devices rotate`: replaces a device's token.

use super::{
    super::{Command, Failure, Opt, args::Args},
    DEVICE, Registry, named,
};

/// `--role`, which both commands about tokens need.
pub(super) const ROLE: Opt = Opt::value(&["role"], "<role>", "operator or node");

pub(super) static COMMAND: Command = Command {
    name: "rotate",
    arguments: &["<device>"],
    summary: "replace a device's token",
    about: "Replace the token of a device. It receives the new one when it next attaches.",
    options: &[
        ROLE,
        Opt::value(&["scope"], "<scope>", "narrow the role to this scope; may be repeated"),
        Opt::flag(&["no-scopes"], "narrow the role to no scope"),
        DEVICE,
    ],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let (target, wanted, role) = (args.target()?, named(&args)?, role(&args)?);
    let given = args.has("no-scopes") || args.has("scope");
    let scopes = given.then(|| args.texts("scope").map(String::from).collect());
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let device = registry.listing.device(wanted)?.clone();
    let answer = registry.token("device.token.rotate", &device, role, scopes)?;
    registry.finish(&answer, format!("rotated the {role} token of {}\n", device.phrase()))
}

/// Reads `--role`.
pub(super) fn role(args: &Args) -> Result<&str, Failure> {
    args.text("role").ok_or_else(|| Failure::usage("which role? --role operator or --role node"))
}
