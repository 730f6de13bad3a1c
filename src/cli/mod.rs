//! The command line: one file a command.

mod args;
mod call;
mod config;
mod devices;
mod doctor;
mod gateway;
mod gateway_status;
mod import;
mod logs;
mod restart;
mod service;
mod table;

use crate::{
    client::{Fault, Target},
    handoff::{STATE_FORMAT, StateFormat},
};
use args::Args;
use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// Why a command ends badly: what to tell, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// What to tell the person at the terminal.
    pub message: String,
    /// 2 for a command line that makes no sense, 78 for a configuration that does not, 3 where the
    /// gateway could not be reached, 4 where it refused, 1 for the rest.
    pub code: u8,
}

impl Failure {
    /// A failure of `code`.
    pub fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(2, message)
    }

    /// A call that came to nothing. Where the gateway refused, what is odd about the configuration here
    /// may be why.
    fn of(fault: Fault, target: &Target) -> Self {
        let mut message = fault.to_string();
        if matches!(fault, Fault::Refused(_)) {
            if let Some(source) = &target.sent {
                message.push_str(&format!("\nsent from here: {source}"));
            }
            target
                .notices
                .iter()
                .for_each(|n| message.push_str(&format!("\na gateway started from here would say: {n}")));
        }
        Self::new(fault.exit_code(), message)
    }
}

/// Prints `text`. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.map_err(|e| Failure::new(1, format!("standard output: {e}"))),
    }
}

impl From<lexopt::Error> for Failure {
    fn from(e: lexopt::Error) -> Self {
        Self::usage(e)
    }
}

const HELP: &str = "\
Barnacle: a gateway that stays attached.

Usage: barnacle <command> [options]

  gateway [run]     run the gateway; or have the host run it: install, uninstall, start, status
  status            what it runs with
  health            whether it is well
  doctor [--fix]    what is wrong, and what mends it
  config            read and change openclaw.json
  devices           who is paired, who waits: list, approve, reject, rename, rotate, revoke, remove, clear
  import            bring paired devices over from OpenClaw
  logs [-f]         its journal
  call <method>     any method, answered as JSON

  barnacle <command> --help says more of each.

  -V, --version     print the version
  -h, --help        print this
";

/// Those that have a help text of their own.
const COMMANDS: [&str; 9] =
    ["gateway", "status", "health", "doctor", "config", "devices", "import", "logs", "call"];

/// Runs the command line `args`, without the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    main_as(args, &STATE_FORMAT)
}

/// Runs it as another version would, which writes a hand-over down in another way.
pub fn main_as(args: impl Iterator<Item = OsString>, state_format: &'static StateFormat) -> ExitCode {
    let args: Vec<_> = args.collect();
    let known = |word: &&OsString| COMMANDS.iter().any(|c| word.as_os_str() == *c);
    let command = args.first().filter(known).map(|c| format!(" {}", c.display())).unwrap_or_default();
    match dispatch(args.into_iter(), state_format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("barnacle: {message}");
            if code == 2 {
                eprintln!("Try: barnacle{command} --help");
            }
            ExitCode::from(code)
        }
    }
}

fn dispatch(args: impl Iterator<Item = OsString>, state_format: &'static StateFormat) -> Result<(), Failure> {
    let mut args = lexopt::Parser::from_args(args);
    use lexopt::Arg::{Long, Short, Value};
    match args.next()? {
        None | Some(Long("help") | Short('h')) => {
            print!("{HELP}");
            Ok(())
        }
        Some(Long("version") | Short('V')) => {
            println!("barnacle {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(Value(command)) => match command.to_str() {
            Some("gateway") => gateway::run(args, state_format),
            Some("status") => call::status(Args::new(args)),
            Some("health") => call::health(Args::new(args)),
            Some("doctor") => doctor::run(Args::new(args)),
            Some("config") => config::run(Args::new(args)),
            Some("devices") => devices::run(Args::new(args)),
            Some("import") => import::run(Args::new(args)),
            Some("logs") => logs::run(Args::new(args)),
            Some("call") => call::call(Args::new(args)),
            Some("help") => {
                print!("{HELP}");
                Ok(())
            }
            _ => Err(Failure::usage(format!("no command {command:?}"))),
        },
        // OpenClaw's own way to say it.
        Some(Long(name @ ("profile" | "dev"))) => {
            let profile = if name == "dev" { "dev" } else { "<name>" };
            Err(Failure::usage(format!(
                "no option --{name}: set OPENCLAW_PROFILE={profile} for the command instead"
            )))
        }
        Some(other) => Err(other.unexpected().into()),
    }
}
