//! `barnacle gateway`: runs the gateway.

use super::{
    Failure,
    args::{Args, port},
    gateway_status, restart, service,
};
use crate::{
    clock::Clock,
    config::{AuthMode, Env, Flags, Secret, Settings},
    gateway, handoff,
    handoff::StateFormat,
    journal::Journal,
    store::lock_holder,
};
use lexopt::{Parser, ValueExt};
use std::path::Path;

const HELP: &str = "\
Run the gateway.

Usage: barnacle gateway [run] [options]

  --port <port>          listen there [OPENCLAW_GATEWAY_PORT, gateway.port, 18789]
  --bind <where>         loopback, lan, tailnet, auto, custom, or an IP address; loopback always listens too
  --auth <mode>          token, password or none
  --token <token>        the shared token (visible in ps; better: --token-file, or the config)
  --token-file <path>    read the shared token from a file
  --password <password>  the shared password
  --force                stop the Barnacle gateway that runs on this state directory, and take its place
  --allow-unconfigured   start although gateway.mode is not \"local\"
  --verbose              log more
  -h, --help             print this

  barnacle gateway restart, stop: the one that runs; no connection is closed by a restart.
  barnacle gateway install, uninstall, start, status: as a service of this host. Each has a --help of its own.

With no configuration it listens on loopback with a random token, stores that in openclaw.json, and says so.
";

/// Runs `barnacle gateway` with the arguments that are left; `state_format` is how it writes a hand-over down.
pub fn run(mut args: Parser, state_format: &'static StateFormat) -> Result<(), Failure> {
    let clock = Clock::start();
    let mut rest = args.clone();
    if let Some(lexopt::Arg::Value(word)) = rest.next()? {
        match word.to_str() {
            Some("install") => return service::install(rest),
            Some("uninstall") => return service::uninstall(rest),
            Some("start") => return service::start(rest),
            Some("restart") => return restart::restart(Args::new(rest)),
            Some("stop") => return restart::stop(Args::new(rest)),
            Some("status") => return gateway_status::run(Args::new(rest)),
            _ => {}
        }
    }
    let Some((flags, can_resume)) = parse(&mut args)? else {
        print!("{HELP}");
        return Ok(());
    };
    let journal = Journal::install(flags.verbose);
    let settings =
        Settings::resolve(&Env::of_process(), &flags).map_err(|e| Failure::new(e.exit_code(), e))?;
    if can_resume {
        let said = handoff::can_resume(&settings, state_format);
        return said.map_err(|e| Failure::new(1, e)).and_then(|said| super::print(&format!("{said}\n")));
    }
    if flags.force && !handoff::goes_on() {
        stop_other(&settings.paths.barnacle_dir)?;
    }
    gateway::run(settings, clock, journal, state_format).map_err(|e| Failure::new(e.exit_code(), e))
}

/// Reads the flags; `None` when only help is wanted.
fn parse(args: &mut Parser) -> Result<Option<(Flags, bool)>, Failure> {
    use lexopt::Arg::{Long, Short, Value};
    let (mut flags, mut can_resume) = (Flags::default(), false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("port") => flags.port = Some(port(&args.value()?.string()?)?),
            Long("bind") => flags.bind = Some(args.value()?.string()?),
            Long("auth") => {
                let text = args.value()?.string()?;
                let mode = AuthMode::parse(&text).ok_or_else(|| {
                    Failure::usage(format!("--auth {text}: must be token, password or none"))
                })?;
                flags.auth = Some(mode);
            }
            Long("token") => flags.token = secret(args, "--token")?,
            Long("password") => flags.password = secret(args, "--password")?,
            Long("token-file") => flags.token_file = Some(args.value()?.into()),
            Long("force") => flags.force = true,
            Long("verbose") => flags.verbose = true,
            Long("allow-unconfigured") => flags.allow_unconfigured = true,
            // Asked by the gateway that runs, about the state on standard input.
            Long("can-resume") => can_resume = args.value()? == "0",
            Long("help") | Short('h') => return Ok(None),
            Value(word) if word == "run" => {}
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some((flags, can_resume)))
}

fn secret(args: &mut Parser, flag: &str) -> Result<Option<Secret>, Failure> {
    let text = args.value()?.string()?;
    Secret::literal(&text)
        .map(Some)
        .ok_or_else(|| Failure::usage(format!("{flag}: must be a secret, neither empty nor a placeholder")))
}

/// Stops the Barnacle gateway that holds the store in `dir`, and nothing else: whoever else has the port
/// is for the user to judge.
fn stop_other(dir: &Path) -> Result<(), Failure> {
    let Some(pid) = lock_holder(dir) else { return Ok(()) };
    if !std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "barnacle") {
        return Ok(());
    }
    eprintln!("barnacle: --force: stopping process {pid}");
    let stopped = restart::stop_process(dir, pid);
    stopped.map_err(|e| Failure::new(1, format!("--force: {}", e.message)))
}
