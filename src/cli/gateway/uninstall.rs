//! `barnacle gateway uninstall`: removes the service.

use super::{
    super::{Command, Failure, Opt, args::Args},
    SYSTEM, USER, names, report, scope,
};
use crate::service::{self, Manager, Scope};

pub(super) static COMMAND: Command = Command {
    name: "uninstall",
    summary: "stop the service and remove it",
    about: "Stop the gateway's service and remove its units. The gateway's state stays.",
    options: &[
        SYSTEM,
        USER,
        Opt::flag(&["restore-openclaw"], "enable and start OpenClaw's service again"),
        Opt::flag(&["json"], ""),
    ],
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let usual = if rustix::process::geteuid().is_root() { Scope::System } else { Scope::User };
    let scope = scope(&args).unwrap_or(usual);
    let Some(name) = names()?.into_iter().find(|n| n.scope == scope) else { return Ok(()) };
    let manager = Manager::find(name.scope);
    report(service::uninstall(&name, manager, args.has("restore-openclaw"))?)
}
