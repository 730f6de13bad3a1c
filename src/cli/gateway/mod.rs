//! `barnacle gateway`: runs the gateway, or has the host run it.

mod install;
mod restart;
mod run;
mod start;
mod status;
mod stop;
mod uninstall;

pub(super) use restart::report as restart_report;

use super::{Command, Failure, Opt, args::Args, print};
use crate::{
    config::{Env, Paths},
    service::{self, Installed, Name, NoPlan, Scope, as_caller, front},
};
use std::time::Duration;

pub(super) static COMMAND: Command = Command {
    commands: &[
        &run::COMMAND,
        &restart::COMMAND,
        &stop::COMMAND,
        &install::COMMAND,
        &uninstall::COMMAND,
        &start::COMMAND,
        &status::COMMAND,
    ],
    summary: "run the gateway, restart or stop it, or install it as a service",
    notes: "Without a command it runs the gateway.",
    name: "gateway",
    ..run::COMMAND
};

impl From<service::Failed> for Failure {
    fn from(e: service::Failed) -> Self {
        Self::new(e.exit_code(), e)
    }
}

impl From<NoPlan> for Failure {
    fn from(e: NoPlan) -> Self {
        Self::new(e.exit_code(), e)
    }
}

impl From<front::Trouble> for Failure {
    fn from(e: front::Trouble) -> Self {
        Self::new(e.exit_code(), e)
    }
}

/// `--wait`, of the commands that restart OpenClaw.
const WAIT: Opt = Opt::value(
    &["wait"],
    "<seconds>",
    "how long OpenClaw may take to start where it gets another port [300]",
);

/// The time that OpenClaw may take to start.
fn patience(args: &Args) -> Result<Duration, Failure> {
    Ok(args.number("wait", 1..=86_400)?.map_or(front::PATIENCE, Duration::from_secs))
}

/// Prints what is being done, as it is done.
fn say(line: &str) {
    let _ = print(&format!("{line}\n"));
}

/// `--system` and `--user`, of every command that is about the service.
const SYSTEM: Opt = Opt::flag(&["system"], "the unit of the host");
const USER: Opt = Opt::flag(&["user"], "your own unit");

/// The systemd that was named, if one was.
fn scope(args: &Args) -> Option<Scope> {
    match (args.has("system"), args.has("user")) {
        (true, _) => Some(Scope::System),
        (false, true) => Some(Scope::User),
        (false, false) => None,
    }
}

/// The names that a service of this environment may have.
fn names() -> Result<[Name; 2], Failure> {
    let env = as_caller(Env::of_process());
    let paths = Paths::resolve(&env).map_err(|e| Failure::new(e.exit_code(), e))?;
    Ok(Name::both(&env, &paths))
}

/// Prints what the installer did, and its warnings.
fn report(done: Installed) -> Result<(), Failure> {
    let lines: String = done.lines.iter().map(|line| format!("{line}\n")).collect();
    print(&lines)?;
    done.warnings.iter().for_each(|line| eprintln!("barnacle: {line}"));
    Ok(())
}
