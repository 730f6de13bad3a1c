//! `barnacle devices revoke`: ends a role of a device.

use super::{
    super::{Command, Failure, Opt, args::Args},
    DEVICE, Registry,
    listing::Paired,
    named,
    rotate::{ROLE, role},
};

pub(super) static COMMAND: Command = Command {
    name: "revoke",
    arguments: &["[<device>]"],
    summary: "end a role of a device, or of every browser, at once",
    about: "End a role of a device. Its connections in that role close at once; an operator's approval brings it back.",
    options: &[
        ROLE,
        Opt::flag(&["all-browsers"], "end the role operator of every browser, as after a leaked token"),
        DEVICE,
    ],
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let target = args.target()?;
    if args.has("all-browsers") {
        return browsers(Registry::open(&target, &args, Some(""))?);
    }
    let (wanted, role) = (named(&args)?, role(&args)?);
    let mut registry = Registry::open(&target, &args, Some(wanted))?;
    let device = registry.listing.device(wanted)?.clone();
    let answer = registry.token("device.token.revoke", &device, role, None)?;
    registry.finish(&answer, format!("revoked the role {role} of {}\n", device.phrase()))
}

fn browsers(mut registry: Registry<'_>) -> Result<(), Failure> {
    let paired = registry.listing.paired.iter();
    let browsers: Vec<Paired> =
        paired.filter(|d| d.is_browser() && d.has_role("operator")).cloned().collect();
    let mut answers = Vec::new();
    for device in &browsers {
        answers.push(registry.token("device.token.revoke", device, "operator", None)?);
    }
    let names: String = browsers.iter().map(|d| format!("revoked {}\n", d.phrase())).collect();
    let text = if names.is_empty() { "no browser has the role operator\n".into() } else { names };
    registry.finish(&format!("[{}]", answers.join(",")), text)
}
