//! A test program that is also another version of Barnacle: it has no test harness, and where its first argument is
//! a command of Barnacle's it is that version.

#![allow(dead_code)]

use barnacle::internals::handoff::{STATE_FORMAT, StateFormat};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The next version, which saves a state as this one does.
pub static NEXT: StateFormat = StateFormat { version: "9.9.9", ..STATE_FORMAT };

/// The program of this version.
pub fn this() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_barnacle"))
}

/// That of the next one.
pub fn next() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Whether the first word is one of `commands`.
pub fn is_called(commands: &[&str]) -> bool {
    std::env::args_os().nth(1).is_some_and(|word| commands.iter().any(|command| word == *command))
}

/// Is the version `state_format` for the words that this program was called with.
pub fn be(state_format: &'static StateFormat) -> ExitCode {
    barnacle::internals::cli::main_as(std::env::args_os().skip(1), state_format)
}

/// Passes the tests whose names hold one of those words, or all; `at_once` or one after the other.
pub fn pass(tests: &[(&str, fn())], at_once: bool) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    std::thread::scope(|scope| {
        for (name, test) in tests.iter().filter(|(name, _)| wants(name)) {
            let passed = scope.spawn(move || {
                test();
                println!("test {name} ... ok");
            });
            // One that fails ends the program, whatever the others do.
            assert!(at_once || passed.join().is_ok(), "{name} failed");
        }
    });
    ExitCode::SUCCESS
}
