//! `barnacle gateway run`: runs the gateway in this process.

use super::{
    super::{Command, Failure, Opt, args::Args, print},
    stop,
};
use crate::{
    clock::Clock,
    config::{AuthMode, Env, Flags, Settings},
    gateway, handoff, host,
    journal::Journal,
    store::lock_holder,
};
use std::path::Path;

pub(super) const COMMAND: Command = Command {
    name: "run",
    summary: "run the gateway in this terminal",
    about: "Run the gateway. With no configuration it listens on loopback with a random token, stores that in \
            openclaw.json, and says so.",
    options: &[
        Opt::value(&["port"], "<port>", "port to listen on [OPENCLAW_GATEWAY_PORT, gateway.port, 18789]"),
        Opt::value(
            &["bind"],
            "<where>",
            "loopback, lan, tailnet, auto, custom, or an IP address; it always listens on loopback, too",
        ),
        Opt::value(&["auth"], "<mode>", "token, password or none"),
        Opt::value(
            &["token"],
            "<token>",
            "the shared token (visible in ps; better: --token-file, or gateway.auth.token)",
        ),
        Opt::value(&["token-file"], "<path>", "read the shared token from a file"),
        Opt::value(
            &["password"],
            "<password>",
            "the shared password (visible in ps; better: gateway.auth.password)",
        ),
        Opt::value(&["upstream"], "<url>", "stand in front of the OpenClaw gateway at this URL"),
        Opt::flag(
            &["force"],
            "stop the Barnacle gateway that runs on this state directory, and take its place",
        ),
        Opt::flag(&["allow-unconfigured"], "start although gateway.mode is not \"local\""),
        Opt::flag(&["verbose"], "log more"),
        // Asked by the gateway that runs, about the state on standard input.
        Opt::value(&["can-resume"], "<fd>", ""),
    ],
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let clock = Clock::start();
    let flags = flags(&args)?;
    let state_format = args.state_format;
    let can_resume = args.text("can-resume") == Some("0");
    let journal = Journal::install(flags.verbose);
    // Before any secret is read.
    if let Err(e) = host::forbid_core_dumps() {
        log::warn!("a crash may leave a core dump that holds keys: {e}");
    }
    let settings = Settings::resolve_for_start(&Env::of_process(), &flags)
        .map_err(|e| Failure::new(e.exit_code(), e))?;
    if can_resume {
        let version = handoff::can_resume(&settings, state_format).map_err(|e| Failure::new(1, e))?;
        return print(&format!("{version}\n"));
    }
    for (given, instead) in [
        (flags.token.is_some().then_some("--token"), "--token-file <path>, or gateway.auth.token"),
        (flags.password.is_some().then_some("--password"), "gateway.auth.password"),
    ] {
        if let Some(option) = given {
            log::warn!(
                "{option} on the command line is visible to every account of this host (ps); use {instead} in \
                 openclaw.json instead"
            );
        }
    }
    if flags.force && !handoff::is_successor() {
        stop_other(&settings.paths.barnacle_dir)?;
    }
    gateway::run(settings, clock, journal, state_format).map_err(|e| Failure::new(e.exit_code(), e))
}

fn flags(args: &Args) -> Result<Flags, Failure> {
    let auth = |text: &str| {
        let bad = || Failure::usage(format!("--auth {text}: must be token, password or none"));
        AuthMode::parse(text).ok_or_else(bad)
    };
    Ok(Flags {
        port: args.number("port", 1..=u16::MAX)?,
        bind: args.text("bind").map(String::from),
        auth: args.text("auth").map(auth).transpose()?,
        token: args.secret("token")?,
        password: args.secret("password")?,
        token_file: args.text("token-file").map(Into::into),
        force: args.has("force"),
        verbose: args.has("verbose"),
        allow_unconfigured: args.has("allow-unconfigured"),
        upstream: args.text("upstream").map(String::from),
    })
}

/// Stops the Barnacle gateway that holds the store in `dir`, and nothing else: whether to stop another process
/// that has the port is for the user to decide.
fn stop_other(dir: &Path) -> Result<(), Failure> {
    let Some(pid) = lock_holder(dir).filter(|pid| host::is_barnacle(*pid)) else { return Ok(()) };
    eprintln!("barnacle: --force: stopping process {pid}");
    let stopped = stop::stop_process(dir, pid);
    stopped.map_err(|e| Failure::new(1, format!("--force: {}", e.message)))
}
