//! `barnacle gateway uninstall`: removes the service.

use super::{
    super::{Command, Failure, Opt, args::Args},
    SYSTEM, USER, WAIT, names, patience, report, say, scope,
};
use crate::{
    config::Env,
    service::{self, Manager, Scope, as_caller, front},
};

pub(super) static COMMAND: Command = Command {
    name: "uninstall",
    summary: "stop the service and remove it",
    about: "Stop the gateway's service and remove its units. The gateway's state stays.",
    options: &[
        SYSTEM,
        USER,
        Opt::flag(
            &["restore-openclaw"],
            "give OpenClaw's service back what it had: its port, or that it is enabled and runs",
        ),
        WAIT,
        Opt::flag(&["json"], ""),
    ],
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let usual = if rustix::process::geteuid().is_root() { Scope::System } else { Scope::User };
    let scope = scope(&args).unwrap_or(usual);
    let names = names()?;
    let stands = names
        .iter()
        .find(|n| self::scope(&args).is_none_or(|s| s == n.scope) && front::is_in_front(n).is_some());
    let Some(name) = stands.or(names.iter().find(|n| n.scope == scope)).cloned() else { return Ok(()) };
    if args.has("restore-openclaw") && front::is_in_front(&name).is_some() {
        let behind = front::Behind::of(&as_caller(Env::of_process()), name)?;
        return report(front::restore(&behind, patience(&args)?, &mut say)?);
    }
    let manager = Manager::find(name.scope);
    report(service::uninstall(&name, manager, args.has("restore-openclaw"))?)
}
