//! The arguments and options of a command, as they were given.

use super::{
    Failure,
    option::{CALL, Opt},
};
use crate::{
    client::{Options, Target},
    config::{Env, Secret},
    handoff::StateFormat,
    tls::Trust,
};
use lexopt::{Arg, Parser, ValueExt};
use std::{ffi::OsString, time::Duration};

/// A command's own word or option.
pub enum Word {
    /// `--name` or `-n`, without its dashes.
    Flag(String),
    Text(String),
}

pub struct Args {
    pub(super) parser: Parser,
    /// Its command's arguments, as the usage line shows them.
    pub(super) arguments: &'static [&'static str],
    pub(super) words: Vec<String>,
    pub(super) given: Vec<(&'static Opt, Option<String>)>,
    /// The format in which a gateway started here hands its state over.
    pub(crate) state_format: &'static StateFormat,
    /// `--json`.
    pub json: bool,
    /// `--help`: nothing else is wanted.
    pub help: bool,
}

impl Args {
    /// The words `args`, of which none is read yet.
    pub(super) fn new(args: impl Iterator<Item = OsString>, state_format: &'static StateFormat) -> Self {
        Self {
            parser: Parser::from_args(args),
            arguments: &[],
            words: Vec::new(),
            given: Vec::new(),
            state_format,
            json: false,
            help: false,
        }
    }

    /// Whether the option `name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of the option `name`, the last one where it was repeated.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next_back()
    }

    /// Every value of the option `name`.
    pub(crate) fn texts(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.values(name).filter_map(|(_, value)| value.as_deref())
    }

    fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &(&'static Opt, Option<String>)> {
        self.given.iter().filter(move |(opt, _)| opt.names[0] == name)
    }

    /// The value of `name` as a number within `range`.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn number<T>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<Option<T>, Failure>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let read = |text: &str| {
            let (least, most) = (range.start(), range.end());
            let bad = || Failure::usage(format!("--{name} {text}: must be a number from {least} to {most}"));
            text.parse().ok().filter(|n| range.contains(n)).ok_or_else(bad)
        };
        self.text(name).map(read).transpose()
    }

    /// The value of `name` as a secret.
    ///
    /// # Errors
    /// It is empty.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Secret>, Failure> {
        let read = |text| {
            Secret::literal(text).ok_or_else(|| {
                Failure::usage(format!("--{name}: must be a secret, neither empty nor a placeholder"))
            })
        };
        self.text(name).map(read).transpose()
    }

    /// The argument at `at`, if it was given.
    pub(crate) fn word(&self, at: usize) -> Option<&str> {
        self.words.get(at).map(String::as_str)
    }

    /// The argument at `at`.
    ///
    /// # Errors
    /// It is missing.
    pub(crate) fn need(&self, at: usize) -> Result<&str, Failure> {
        let name = || self.arguments.get(at).map_or("", |name| name.trim_matches(['[', ']']));
        self.word(at).ok_or_else(|| Failure::usage(format!("missing argument {}", name())))
    }

    /// Reads the options of a call to a gateway.
    ///
    /// # Errors
    /// One of them is no such value.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let trust = |text: &str| {
            let bad = || {
                Failure::usage(format!(
                    "--tls-fingerprint {text}: must be the 64 hexadecimal digits of a SHA-256"
                ))
            };
            Trust::only(text).ok_or_else(bad)
        };
        let timeout = |text: &str| {
            let ms = text.parse().ok().filter(|ms: &u64| *ms > 0);
            let bad = || Failure::usage(format!("--timeout {text}: must be a number of milliseconds"));
            ms.map(Duration::from_millis).ok_or_else(bad)
        };
        Ok(Options {
            url: self.text("url").map(String::from),
            token: self.secret("token")?,
            password: self.secret("password")?,
            trust: self.text("tls-fingerprint").map(trust).transpose()?,
            timeout: self.call_timeout().map(timeout).transpose()?,
        })
    }

    /// `--timeout` of a call; a command's own, of another unit, is for the command to read.
    fn call_timeout(&self) -> Option<&str> {
        let of_call = |opt: &&'static Opt| CALL.iter().any(|call| std::ptr::eq(call, *opt));
        self.values("timeout").rfind(|(opt, _)| of_call(opt)).and_then(|(_, value)| value.as_deref())
    }

    /// The gateway that is meant.
    ///
    /// # Errors
    /// The options or the configuration name none.
    pub fn target(&self) -> Result<Target, Failure> {
        self.target_at(None)
    }

    /// The gateway at `url`, or else the one that is meant.
    ///
    /// # Errors
    /// The options or the configuration name none.
    pub(crate) fn target_at(&self, url: Option<&str>) -> Result<Target, Failure> {
        let mut options = self.options()?;
        options.url = url.map(String::from).or(options.url);
        Target::find(&Env::of_process(), options).map_err(|e| Failure::new(e.exit_code(), e))
    }
}

/// For a command that reads its words itself.
impl Args {
    /// The next word or option that is not one of a call.
    pub fn next(&mut self) -> Result<Option<Word>, Failure> {
        loop {
            let name = match self.parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(text)) => return Ok(Some(Word::Text(text.string()?))),
                Some(Arg::Long(name)) => name.to_owned(),
                Some(Arg::Short(letter)) => letter.to_string(),
            };
            match CALL.iter().find(|opt| opt.names.contains(&name.as_str())) {
                Some(opt) => {
                    let value = opt.value.map(|_| self.value()).transpose()?;
                    self.given.push((opt, value));
                    self.json = self.has("json");
                }
                None if matches!(name.as_str(), "help" | "h") => {
                    self.help = true;
                    return Ok(None);
                }
                None => return Ok(Some(Word::Flag(name))),
            }
        }
    }

    /// The value of the option just read.
    pub fn value(&mut self) -> Result<String, Failure> {
        Ok(self.parser.value()?.string()?)
    }
}

impl Word {
    /// A word that the command has no use for.
    pub fn unexpected(self) -> Failure {
        match self {
            Self::Flag(name) => unexpected_option(&name),
            Self::Text(text) => Failure::usage(format!("unexpected argument '{text}'")),
        }
    }
}

pub(super) fn unexpected_option(name: &str) -> Failure {
    match name {
        // OpenClaw's own way to say it.
        "profile" | "dev" => {
            let profile = if name == "dev" { "dev" } else { "<name>" };
            Failure::usage(format!(
                "unexpected argument '--{name}': set OPENCLAW_PROFILE={profile} for the command instead"
            ))
        }
        name if name.chars().count() == 1 => Failure::usage(format!("unexpected argument '-{name}'")),
        name => Failure::usage(format!("unexpected argument '--{name}'")),
    }
}
