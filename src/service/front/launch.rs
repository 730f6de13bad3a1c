//! The way in which OpenClaw's unit launches it: its command, its port and its variables, from the text of the unit's
//! files. Source: systemd.service(5), systemd.exec(5), systemd.syntax(7).

use std::{collections::BTreeMap, fmt, path::PathBuf};

/// How a unit launches OpenClaw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// The words of its command.
    words: Vec<Word>,
    /// The variables of its environment, but for those in files.
    pub variables: BTreeMap<String, String>,
    /// Files that hold further variables.
    pub files: Vec<PathBuf>,
}

/// A word of a command: as it is written, and as it is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Word {
    written: String,
    meant: String,
}

/// Why a unit's command cannot be given another port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadLaunch {
    /// The unit has no command.
    None,
    /// The unit has several commands.
    Several,
    /// The command is a script or a shell, which decides about the port itself.
    Script(String),
    /// A secret stands in the command, and would be copied.
    Secret(String),
}

impl fmt::Display for BadLaunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("has no ExecStart"),
            Self::Several => f.write_str("has more than one command in ExecStart"),
            Self::Script(program) => {
                write!(
                    f,
                    "starts {program}, and not `openclaw gateway` itself, so its port cannot be set there"
                )
            }
            Self::Secret(option) => {
                write!(f, "holds a secret ({option} in ExecStart), which others can read")
            }
        }
    }
}

impl Launch {
    /// Reads the texts of a unit's files, in the order in which systemd does.
    ///
    /// # Errors
    /// [`BadLaunch`].
    pub fn read<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, BadLaunch> {
        let (mut commands, mut variables, mut files) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (name, value) in texts.into_iter().flat_map(service_lines) {
            match (name.as_str(), value.as_str()) {
                ("ExecStart", "") => commands.clear(),
                ("ExecStart", _) => commands.push(words(&value)),
                ("Environment", "") => variables.clear(),
                ("Environment", _) => {
                    let words = words(&value).into_iter().map(|word| word.meant.replace("%%", "%"));
                    let pair = |word: String| word.split_once('=').map(|(n, v)| (n.into(), v.into()));
                    variables.extend(words.filter_map(pair));
                }
                ("EnvironmentFile", "") => files.clear(),
                ("EnvironmentFile", path) => {
                    files.push(path.trim_start_matches('-').replace("%%", "%").into())
                }
                _ => {}
            }
        }
        let words = match (commands.pop(), commands.is_empty()) {
            (None, _) => return Err(BadLaunch::None),
            (Some(words), true) if !words.iter().any(|word| word.written == ";") => words,
            _ => return Err(BadLaunch::Several),
        };
        let launch = Self { words, variables, files };
        if !launch.words.iter().skip(1).any(|word| word.meant == "gateway") {
            return Err(BadLaunch::Script(launch.program().into()));
        }
        match ["--token", "--password"].into_iter().find(|option| launch.option(option).is_some()) {
            Some(option) => Err(BadLaunch::Secret(option.into())),
            None => Ok(launch),
        }
    }

    /// The program.
    fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.meant.trim_start_matches(['-', '@', ':', '+', '!']))
    }

    /// The value of an option of the command: the last one, which counts.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut values =
            self.words.iter().enumerate().filter_map(|(at, word)| match word.meant.strip_prefix(name)? {
                "" => self.words.get(at + 1).map(|next| next.meant.as_str()),
                rest => rest.strip_prefix('='),
            });
        values.next_back()
    }

    /// The port that the unit names: that of the command, else that of the environment.
    pub fn port(&self) -> Option<u16> {
        let port = |text: &str| text.rsplit(':').next()?.parse().ok().filter(|port| *port != 0);
        self.option("--port").map_or_else(
            || self.variables.get("OPENCLAW_GATEWAY_PORT").and_then(|text| port(text)),
            |text| text.parse().ok(),
        )
    }

    /// The profile that the unit names.
    pub fn profile(&self) -> Option<&str> {
        let option = self
            .option("--profile")
            .or_else(|| self.words.iter().any(|word| word.meant == "--dev").then_some("dev"));
        option.or_else(|| Some(self.variables.get("OPENCLAW_PROFILE")?.as_str())).filter(|p| !p.is_empty())
    }

    /// The command that listens on `port` of loopback, as a unit holds it.
    pub fn moved_to(&self, port: u16) -> String {
        let mut kept = Vec::new();
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            match word.meant.as_str() {
                "--port" | "--bind" => _ = words.next(),
                meant if meant.starts_with("--port=") || meant.starts_with("--bind=") => {}
                _ => kept.push(word.written.as_str()),
            }
        }
        format!("{} --port {port} --bind loopback", kept.join(" "))
    }
}

/// The assignments in the section `[Service]`.
fn service_lines(text: &str) -> Vec<(String, String)> {
    let mut within = false;
    let mut found = Vec::new();
    for line in logical_lines(text) {
        let line = line.trim();
        if line.starts_with('[') {
            within = line == "[Service]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| within) {
            found.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// The lines without comments, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let line = open.take().unwrap_or_default() + line;
        match line.strip_suffix('\\') {
            Some(more) => open = Some(format!("{more} ")),
            None => lines.push(line),
        }
    }
    lines.extend(open);
    lines
}

/// The words of a line, with quotes and escapes.
fn words(line: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() && quote.is_none() {
            found.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { written: String::new(), meant: String::new() });
        word.written.push(c);
        match (c, quote) {
            ('\\', _) => {
                let next = chars.next();
                word.written.extend(next);
                word.meant.extend(next);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => word.meant.push(c),
        }
    }
    found.extend(word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(lines: &str) -> Result<Launch, BadLaunch> {
        Launch::read([format!("[Unit]\nExecStart=/no\n[Service]\n{lines}\n").as_str()])
    }

    #[test]
    fn commands_and_their_ports() {
        let port = "Environment=OPENCLAW_GATEWAY_PORT=18791";
        for (lines, port, moved) in [
            (
                "ExecStart=/usr/bin/node /o/index.js gateway --port 18789".into(),
                Some(18789),
                "/usr/bin/node /o/index.js gateway --port 7 --bind loopback",
            ),
            (
                format!("ExecStart=-\"/a b/openclaw\" gateway --port=1 --bind lan --x '%h/y'\n{port}"),
                Some(1),
                "-\"/a b/openclaw\" gateway --x '%h/y' --port 7 --bind loopback",
            ),
            (
                format!("{port}\nExecStart=/o gateway run"),
                Some(18791),
                "/o gateway run --port 7 --bind loopback",
            ),
            ("Environment=\"OPENCLAW_GATEWAY_PORT=0.0.0.0:5\"\nExecStart=/o gateway".into(), Some(5), ""),
            (
                "ExecStart=/o \\\n  # said\n gateway \\\n --port 3".into(),
                Some(3),
                "/o gateway --port 7 --bind loopback",
            ),
            ("ExecStart=/o gateway --port 1\nExecStart=\nExecStart=/p gateway --port 2".into(), Some(2), ""),
            ("ExecStart=/o gateway".into(), None, "/o gateway --port 7 --bind loopback"),
            ("ExecStart=/o gateway --bind=lan\n[Install]\nExecStart=/no".into(), None, ""),
        ] {
            let launch = launch(&lines).unwrap_or_else(|e| panic!("{lines}: {e}"));
            assert_eq!(launch.port(), port, "{lines}");
            assert!(moved.is_empty() || launch.moved_to(7) == moved, "{lines}: {}", launch.moved_to(7));
            let again = format!("ExecStart={}", launch.moved_to(7));
            assert_eq!(self::launch(&again).map(|l| l.moved_to(7)), Ok(launch.moved_to(7)), "{lines}");
        }
    }

    #[test]
    fn what_cannot_be_moved() {
        for (lines, error) in [
            ("Restart=always", BadLaunch::None),
            ("ExecStart=/o gateway ; /p", BadLaunch::Several),
            ("ExecStart=/o gateway\nExecStart=/p gateway", BadLaunch::Several),
            ("ExecStart=/home/pi/start.sh", BadLaunch::Script("/home/pi/start.sh".into())),
            ("ExecStart=-/bin/sh -c 'openclaw gateway --port 1'", BadLaunch::Script("/bin/sh".into())),
            ("ExecStart=/o gateway --token=T1", BadLaunch::Secret("--token".into())),
        ] {
            assert_eq!(launch(lines), Err(error), "{lines}");
        }
    }

    #[test]
    fn variables_files_and_options() {
        let found = launch(
            "Environment=A=1 \"B=two words\" 'C=50%%'\nEnvironment=B=3\nEnvironmentFile=-/x/%%y\n\
             ExecStart=/o --profile work gateway --bind lan --bind tailnet",
        );
        let found = found.unwrap();
        let variable = |name: &str| found.variables.get(name).map(String::as_str);
        assert_eq!((variable("A"), variable("B"), variable("C")), (Some("1"), Some("3"), Some("50%")));
        assert_eq!(found.files, [PathBuf::from("/x/%y")]);
        assert_eq!((found.profile(), found.option("--bind")), (Some("work"), Some("tailnet")));
        let reset =
            Launch::read(["[Service]\nEnvironment=A=1\nExecStart=/o gateway", "[Service]\nEnvironment="]);
        assert!(reset.unwrap().variables.is_empty());
    }
}
