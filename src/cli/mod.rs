//! The command line: one file a command.

mod gateway;

use std::{ffi::OsString, fmt, process::ExitCode};

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
        Self::new(2, format!("{message}\nTry: barnacle --help"))
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

  gateway [run]     run the gateway (barnacle gateway --help)

  -V, --version     print the version
  -h, --help        print this
";

/// Runs the command line `args`, without the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("barnacle: {message}");
            ExitCode::from(code)
        }
    }
}

fn dispatch(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
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
            Some("gateway") => gateway::run(args),
            Some("help") => {
                print!("{HELP}");
                Ok(())
            }
            _ => Err(Failure::usage(format!("no command {command:?}"))),
        },
        Some(other) => Err(other.unexpected().into()),
    }
}
