//! The rows of the command line: a [`Command`] declares its arguments and options once, and from that row come
//! the reader ([`Reader`](super::reader::Reader)), `--help` and the table of commands in Markdown.

use super::{
    Failure,
    args::Args,
    option::{CALL, EXIT_CODES, HELP, Opt},
};

/// A command, or a group of them.
pub(crate) struct Command {
    pub name: &'static str,
    /// Its arguments as the usage line shows them, one word each; one in brackets may be left out.
    pub arguments: &'static [&'static str],
    /// Summary for the list of commands.
    pub summary: &'static str,
    /// Description in the command's own help text: sentences.
    pub about: &'static str,
    /// Text of the help after the options.
    pub notes: &'static str,
    /// The options that are its own.
    pub options: &'static [Opt],
    /// Whether it takes the options of a call, too.
    pub calls: bool,
    /// The commands of a group.
    pub commands: &'static [&'static Command],
    /// Whether `run` reads the words that follow itself.
    pub raw: bool,
    pub run: fn(Args) -> Result<(), Failure>,
}

impl Command {
    /// A row with everything that most commands leave out.
    pub(super) const NONE: Self = Self {
        name: "",
        arguments: &[],
        summary: "",
        about: "",
        notes: "",
        options: &[],
        calls: false,
        commands: &[],
        raw: false,
        run: |_| Ok(()),
    };

    pub(super) fn option(&self, name: &str) -> Option<&'static Opt> {
        self.all_options().find(|opt| opt.names.contains(&name))
    }

    /// Its own options, and those of a call that it does not declare otherwise.
    fn all_options(&self) -> impl Iterator<Item = &'static Opt> {
        let (own, call) = (self.options, if self.calls { CALL } else { &[] });
        own.iter().chain(call.iter().filter(|opt| own.iter().all(|own| own.names[0] != opt.names[0])))
    }

    /// The command of this group called `name`.
    pub(super) fn command(&self, name: &str) -> Option<&'static Command> {
        self.commands.iter().copied().find(|command| command.name == name)
    }

    /// The help text; `path` is how the command is called.
    pub(super) fn help(&self, path: &str) -> String {
        let mut text = format!("{}\n\nUsage: {path}", wrap(self.about, 0, 0));
        if !self.commands.is_empty() {
            text.push_str(" <command>");
        }
        for word in self.arguments {
            text.push_str(&format!(" {word}"));
        }
        text.push_str(" [options]\n\n");
        let rows = self.commands.iter().map(|c| (c.usage(), c.summary));
        if !self.commands.is_empty() {
            text.push_str(&columns(rows.collect()));
            text.push('\n');
        }
        let shown = self.all_options().chain([&HELP]).filter(|opt| !opt.help.is_empty());
        text.push_str(&columns(shown.map(|opt| (opt.usage(), opt.help)).collect()));
        if !self.commands.is_empty() {
            text.push_str(&format!("\n{path} <command> --help says more of each.\n"));
        }
        for notes in [self.notes, if self.calls { EXIT_CODES } else { "" }] {
            if !notes.is_empty() {
                text.push_str(&format!("\n{}\n", wrap(notes, 0, 0)));
            }
        }
        text
    }

    fn usage(&self) -> String {
        [&[self.name], self.arguments].concat().join(" ")
    }

    /// The commands below this one, a row of a Markdown table each.
    pub(super) fn table(&self, path: &str) -> String {
        let row = |command: &&Command| {
            let path = format!("{path} {}", command.name);
            let arguments: String = command.arguments.iter().map(|word| format!(" {word}")).collect();
            let call = format!("{path}{arguments}").replace('|', "\\|");
            format!("| `{call}` | {} |\n{}", command.summary, command.table(&path))
        };
        self.commands.iter().map(row).collect()
    }
}

/// The options of a call, for the help text of a command that reads its words itself.
pub(super) fn call_options() -> String {
    let rows = CALL.iter().chain([&HELP]).map(|opt| (opt.usage(), opt.help)).collect();
    format!("{}\n{EXIT_CODES}\n", columns(rows))
}

/// Two columns, the second wrapped.
fn columns(rows: Vec<(String, &str)>) -> String {
    const WIDEST: usize = 28;
    let width = rows.iter().map(|(left, _)| left.len()).filter(|n| *n <= WIDEST).max().unwrap_or(0);
    let mut text = String::new();
    for (left, right) in rows {
        text.push_str(&format!("  {left:width$}"));
        let indent = width + 4;
        let mut at = left.len().max(width) + 2;
        if at > indent {
            text.push_str(&format!("\n{:indent$}", ""));
            at = indent;
        } else {
            text.push_str("  ");
            at += 2;
        }
        text.push_str(&wrap(right, at, indent));
        text.push('\n');
    }
    text
}

/// `text` in lines, of which the first begins at column `at` and the others at `indent`.
fn wrap(text: &str, mut at: usize, indent: usize) -> String {
    const LINE: usize = 100;
    let mut lines = String::new();
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 && at + 1 + word.len() > LINE {
            lines.push_str(&format!("\n{:indent$}", ""));
            at = indent;
        } else if n > 0 {
            lines.push(' ');
            at += 1;
        }
        lines.push_str(word);
        at += word.len();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &Command, path: &str, check: &mut impl FnMut(&Command, &str)) {
        let path = format!("{path}{} ", command.name);
        check(command, &path);
        command.commands.iter().for_each(|below| each(below, &path, check));
    }

    #[test]
    fn every_row_is_whole_and_no_name_is_declared_twice() {
        each(&super::super::ROOT, "", &mut |command, path| {
            assert!(!command.about.is_empty() || command.raw, "{path}");
            assert!(!command.summary.is_empty() || path == "barnacle ", "{path}");
            let mut names: Vec<_> = command.all_options().chain([&HELP]).flat_map(|opt| opt.names).collect();
            let declared = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), declared, "{path}");
            assert!(command.commands.is_empty() || command.arguments.is_empty(), "{path}");
        });
    }
}
