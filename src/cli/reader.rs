//! The reader of the command line: it finds the command that is meant, and takes what that command declares.

use super::{
    Failure,
    args::{Args, Word, unexpected_option},
    command::Command,
    print,
};
use crate::handoff::StateFormat;
use lexopt::{Arg, ValueExt};
use std::ffi::OsString;

/// A command line that is read.
pub(super) struct Reader {
    command: &'static Command,
    path: String,
    args: Args,
}

impl Reader {
    /// The words `args`, of which none is read yet.
    pub(super) fn new(
        root: &'static Command,
        args: impl Iterator<Item = OsString>,
        state_format: &'static StateFormat,
    ) -> Self {
        Self { command: root, path: root.name.into(), args: Args::new(args, state_format) }
    }

    /// How the command that is meant is called: `barnacle devices approve`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reads everything, against the rows of the command that is meant.
    pub(super) fn read(&mut self) -> Result<(), Failure> {
        while let Some(arg) = self.args.parser.next()? {
            let name = match arg {
                Arg::Value(text) => {
                    self.take_word(text.string()?)?;
                    if self.command.raw {
                        return Ok(());
                    }
                    continue;
                }
                Arg::Long(name) => name.to_owned(),
                Arg::Short(letter) => letter.to_string(),
            };
            if matches!(name.as_str(), "help" | "h") {
                self.args.help = true;
                return Ok(());
            }
            // Of a group, an option may come before the command whose it is.
            let below = self.command.commands.iter().find_map(|command| command.option(&name));
            let opt = self.command.option(&name).or(below).ok_or_else(|| unexpected_option(&name))?;
            let value = opt.value.map(|_| self.args.value()).transpose()?;
            self.args.given.push((opt, value));
        }
        let foreign = self.args.given.iter().find(|(opt, _)| self.command.option(opt.names[0]).is_none());
        if let Some((opt, _)) = foreign {
            return Err(unexpected_option(opt.names[0]));
        }
        self.args.json = self.args.has("json");
        Ok(())
    }

    fn take_word(&mut self, text: String) -> Result<(), Failure> {
        if let Some(command) = self.command.command(&text).filter(|_| self.args.words.is_empty()) {
            self.command = command;
            self.args.arguments = command.arguments;
            self.path.push_str(&format!(" {text}"));
            return Ok(());
        }
        if !self.command.commands.is_empty() {
            let (_, group) = self.path.split_once(' ').unwrap_or_default();
            return Err(Failure::usage(format!("no command '{}'", format!("{group} {text}").trim())));
        }
        if self.args.words.len() == self.command.arguments.len() {
            return Err(Word::Text(text).unexpected());
        }
        self.args.words.push(text);
        Ok(())
    }

    /// Runs the command that is meant, or prints its help.
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.args.help && !self.command.raw {
            return print(&self.command.help(&self.path));
        }
        (self.command.run)(self.args)
    }
}
