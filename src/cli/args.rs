//! The arguments of the commands that call a gateway, with the options they share.

use super::Failure;
use crate::{
    client::{Options, Target},
    config::{Env, Secret},
    tls::Trust,
};
use lexopt::{Arg, Parser, ValueExt};
use std::time::Duration;

/// The shared options, as every help text lists them.
pub const OPTIONS: &str = "
  --url <url>            the gateway [OPENCLAW_GATEWAY_URL, gateway.remote.url if gateway.mode is remote, else the
                         one of this host and state directory, wherever it listens]
  --token <token>        its shared token [OPENCLAW_GATEWAY_TOKEN, gateway.remote.token, gateway.auth.token]
  --password <password>  its shared password [OPENCLAW_GATEWAY_PASSWORD, gateway.auth.password]
  --tls-fingerprint <sha256>  the certificate to trust [gateway.remote.tlsFingerprint, this host's own]
  --timeout <ms>         how long everything may take [10000]
  --json                 print the answer as it came
  -h, --help             print this

Exit codes: 0 done, 1 failed, 2 usage, 3 no gateway reached, 4 refused, 78 configuration.
";

/// A command's own word or option.
pub enum Word {
    /// `--name` or `-n`, without its dashes.
    Flag(String),
    /// Anything else.
    Text(String),
}

/// The arguments that are left, and what the shared options said.
pub struct Args {
    parser: Parser,
    options: Options,
    /// `--json`.
    pub json: bool,
    /// `--help`: nothing else is wanted.
    pub help: bool,
}

impl Args {
    /// The arguments of `parser`.
    pub fn new(parser: Parser) -> Self {
        Self { parser, options: Options::default(), json: false, help: false }
    }

    /// The next word or option that is not a shared one.
    pub fn next(&mut self) -> Result<Option<Word>, Failure> {
        loop {
            let name = match self.parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(text)) => return Ok(Some(Word::Text(text.string()?))),
                Some(Arg::Long(name)) => name.to_owned(),
                Some(Arg::Short(letter)) => letter.to_string(),
            };
            match name.as_str() {
                "url" => self.options.url = Some(self.value()?),
                "token" => self.options.token = self.secret("--token")?,
                "password" => self.options.password = self.secret("--password")?,
                "tls-fingerprint" => self.options.trust = Some(self.trust()?),
                "timeout" => self.options.timeout = Some(self.timeout()?),
                "json" => self.json = true,
                "help" | "h" => {
                    self.help = true;
                    return Ok(None);
                }
                _ => return Ok(Some(Word::Flag(name))),
            }
        }
    }

    /// The value of the option just read.
    pub fn value(&mut self) -> Result<String, Failure> {
        Ok(self.parser.value()?.string()?)
    }

    fn secret(&mut self, flag: &str) -> Result<Option<Secret>, Failure> {
        let text = self.value()?;
        Secret::literal(&text).map(Some).ok_or_else(|| {
            Failure::usage(format!("{flag}: must be a secret, neither empty nor a placeholder"))
        })
    }

    fn trust(&mut self) -> Result<Trust, Failure> {
        let text = self.value()?;
        let bad = || {
            Failure::usage(format!(
                "--tls-fingerprint {text}: must be the 64 hexadecimal digits of a SHA-256"
            ))
        };
        Trust::only(&text).ok_or_else(bad)
    }

    fn timeout(&mut self) -> Result<Duration, Failure> {
        let text = self.value()?;
        let ms = text.parse().ok().filter(|ms: &u64| *ms > 0);
        let bad = || Failure::usage(format!("--timeout {text}: must be a number of milliseconds"));
        ms.map(Duration::from_millis).ok_or_else(bad)
    }

    /// Takes `url` as `--url`.
    pub fn set_url(&mut self, url: &str) {
        self.options.url = Some(url.into());
    }

    /// What the shared options said, for a command that finds the gateway itself.
    pub fn options(&mut self) -> Options {
        std::mem::take(&mut self.options)
    }

    /// The gateway that is meant.
    pub fn target(&mut self) -> Result<Target, Failure> {
        let found = Target::find(&Env::of_process(), std::mem::take(&mut self.options));
        found.map_err(|e| Failure::new(e.exit_code(), e))
    }
}

impl Word {
    /// A word that the command has no use for.
    pub fn unexpected(self) -> Failure {
        match self {
            Self::Flag(name) if name.chars().count() == 1 => Failure::usage(format!("no option -{name}")),
            Self::Flag(name) if name == "profile" => {
                Failure::usage("no option --profile: set OPENCLAW_PROFILE=<name> for the command instead")
            }
            Self::Flag(name) => Failure::usage(format!("no option --{name}")),
            Self::Text(text) => Failure::usage(format!("{text:?}: one word too many")),
        }
    }
}

/// The value of `--port`.
///
/// # Errors
/// It is no port.
pub fn port(text: &str) -> Result<u16, Failure> {
    let bad = || Failure::usage(format!("--port {text}: must be a number from 1 to 65535"));
    text.parse().ok().filter(|p: &u16| *p > 0).ok_or_else(bad)
}
