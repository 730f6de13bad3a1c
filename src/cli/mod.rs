//! The command line: one file a command, each with the row that declares it.

mod agents;
mod args;
mod call;
mod command;
mod config;
mod devices;
mod doctor;
mod finding;
mod gateway;
mod health;
mod import;
mod logs;
mod option;
mod reader;
mod status;
mod table;

use crate::{
    client::{CallError, Target},
    handoff::{STATE_FORMAT, StateFormat},
    store::lock_holder,
};
use command::Command;
use option::Opt;
use reader::Reader;
use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// Why a command ends badly.
#[derive(Debug)]
pub struct Failure {
    /// Message for the person at the terminal.
    pub message: String,
    /// The exit code: 2 for a command line that makes no sense, 78 for a configuration that does not, 3 where the
    /// gateway could not be reached, 4 where it refused, 1 for the rest.
    pub code: u8,
}

impl Failure {
    /// Makes a failure with exit code `code`.
    pub fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(2, message)
    }

    /// A call that failed. Where the gateway refused, what is odd about the configuration here may be why.
    fn of(error: CallError, target: &Target) -> Self {
        let mut message = error.to_string();
        if matches!(error, CallError::Refused(_)) {
            if let Some(source) = &target.sent {
                message.push_str(&format!("\nsent from here: {source}"));
            }
            target
                .notices
                .iter()
                .for_each(|n| message.push_str(&format!("\na gateway started from here would say: {n}")));
        }
        if let (CallError::TimedOut(..), true, Some(pid)) = (&error, target.own, lock_holder(&target.dir)) {
            message.push_str(&format!("\nprocess {pid} runs it and does not answer: barnacle doctor"));
        }
        Self::new(error.exit_code(), message)
    }
}

/// Prints `text`. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    // The start of a line, too, is to be seen at once.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.map_err(|e| Failure::new(1, format!("standard output: {e}"))),
    }
}

impl From<lexopt::Error> for Failure {
    fn from(e: lexopt::Error) -> Self {
        Self::usage(e)
    }
}

static ROOT: Command = Command {
    name: "barnacle",
    about: "Barnacle: a gateway that stays attached.",
    options: &[Opt::flag(&["version", "V"], "print the version"), Opt::flag(&["markdown"], "")],
    commands: &[
        &gateway::COMMAND,
        &status::COMMAND,
        &health::COMMAND,
        &doctor::COMMAND,
        &CONFIG,
        &devices::COMMAND,
        &agents::chat::COMMAND,
        &agents::agent::COMMAND,
        &agents::sessions::COMMAND,
        &agents::models::COMMAND,
        &import::COMMAND,
        &logs::COMMAND,
        &call::COMMAND,
    ],
    run: |args| match (args.has("version"), args.has("markdown")) {
        (true, _) => print(&format!("barnacle {}\n", env!("CARGO_PKG_VERSION"))),
        // For docs/commands.md, which a test compares with it.
        (_, true) => print(&ROOT.table(ROOT.name)),
        _ => print(&ROOT.help(ROOT.name)),
    },
    ..Command::NONE
};

/// `config` reads its words itself.
static CONFIG: Command = Command {
    name: "config",
    summary: "read and change openclaw.json: get, set, unset, plan, validate, diff, file, schema",
    raw: true,
    run: config::run,
    ..Command::NONE
};

/// Runs the command line `args`, without the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    main_as(args, &STATE_FORMAT)
}

/// Runs it as another version would, which hands its state over in another format.
pub fn main_as(args: impl Iterator<Item = OsString>, state_format: &'static StateFormat) -> ExitCode {
    let mut args: Vec<_> = args.collect();
    if args.first().is_some_and(|word| word == "help") {
        args[0] = "--help".into();
    }
    let mut reader = Reader::new(&ROOT, args.into_iter(), state_format);
    let read = reader.read();
    let path = reader.path().to_owned();
    match read.and_then(|()| reader.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("barnacle: {message}");
            if code == 2 {
                eprintln!("Try: {path} --help");
            }
            ExitCode::from(code)
        }
    }
}
