//! Words that values of keys are chosen from, and their meanings.

use crate::auth::refusal::SecretKind;
use log::LevelFilter;
use std::fmt;
use std::net::IpAddr;

/// A value that is written as one of several words.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Words and meanings; of several words for one meaning, the first is the usual one.
    const WORDS: &'static [(&'static str, Self)];

    /// Words, in order.
    fn words() -> Vec<&'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).collect()
    }

    /// Meaning of `word`.
    fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
    }

    /// Usual word of a meaning.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(word, _)| *word)
    }
}

/// Place of the gateway of this configuration: `gateway.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The gateway runs on this host.
    Local,
    /// The gateway runs elsewhere: this host is a client of it.
    Remote,
}

impl Choice for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("local", Self::Local), ("remote", Self::Remote)];
}

/// What becomes of a message while a run of its session is under way: `messages.queue.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum QueueMode {
    /// The run takes it in before it asks its model again.
    #[default]
    Steer,
    /// It has a run of its own, later.
    Followup,
    /// All that came meanwhile have one run together, later.
    Collect,
    /// The run is aborted, and this one begins.
    Interrupt,
}

impl Choice for QueueMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("steer", Self::Steer),
        ("followup", Self::Followup),
        ("collect", Self::Collect),
        ("interrupt", Self::Interrupt),
    ];
}

impl QueueMode {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }

    /// The mode of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::of(word)
    }
}

/// Credential that a client without a paired device needs: `gateway.auth.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// Admits without a credential.
    None,
    /// Asks for the shared token.
    Token,
    /// Asks for the shared password.
    Password,
    /// Trusts the identity that a proxy in front provides.
    TrustedProxy,
}

impl Choice for AuthMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("token", Self::Token),
        ("password", Self::Password),
        ("trusted-proxy", Self::TrustedProxy),
    ];
}

impl AuthMode {
    /// Parses a word of the file; `None` if it is no mode.
    pub fn parse(word: &str) -> Option<Self> {
        Self::of(word)
    }

    /// The word as written in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }

    /// The shared secret that the mode compares with. Behind a trusted proxy it is the password, with which
    /// OpenClaw lets this host in directly.
    pub(crate) fn secret_kind(self) -> SecretKind {
        match self {
            Self::Password | Self::TrustedProxy => SecretKind::Password,
            Self::Token | Self::None => SecretKind::Token,
        }
    }
}

/// Reaction to a change of the file: `gateway.reload.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReloadMode {
    /// The change is read and reported, and takes effect at the next restart.
    Off,
    /// The change is applied. OpenClaw's `hot` and `hybrid` differ in what needs a restart; here nothing does.
    Hot,
    /// The change is applied by a restart in place, which no client sees.
    Restart,
}

impl Choice for ReloadMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("hybrid", Self::Hot), ("hot", Self::Hot), ("restart", Self::Restart), ("off", Self::Off)];
}

/// Tools that an agent begins with: `tools.profile`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// What tells of the session, and nothing more.
    Minimal,
    /// Files, commands, sessions and the web.
    Coding,
    /// Sessions and messages.
    Messaging,
    /// Everything.
    Full,
}

impl Choice for Profile {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("minimal", Self::Minimal),
        ("coding", Self::Coding),
        ("messaging", Self::Messaging),
        ("full", Self::Full),
    ];
}

impl Profile {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Minimal, Self::Coding, Self::Messaging, Self::Full];

    /// The word as written in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

/// Sessions that an agent's tools see: `tools.sessions.visibility`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The session that the agent runs in.
    Own,
    /// That one and those that it began; from the main session, all of the agent.
    Tree,
    /// Those of the agent.
    Agent,
    /// Those of all agents, as far as `tools.agentToAgent` lets.
    All,
}

impl Choice for Reach {
    const WORDS: &'static [(&'static str, Self)] =
        &[("self", Self::Own), ("tree", Self::Tree), ("agent", Self::Agent), ("all", Self::All)];
}

impl Reach {
    /// The word as written in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

/// Device tokens that a change of the shared token revokes: `auth.revokeOnRotate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeOnRotate {
    /// Revokes no device token.
    Nothing,
    /// Revokes the tokens of browsers, as OpenClaw does.
    Browsers,
}

impl Choice for RevokeOnRotate {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::Nothing), ("browsers", Self::Browsers)];
}

/// Senders that share a session: `session.scope`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SessionScope {
    PerSender,
    Global,
}

impl Choice for SessionScope {
    const WORDS: &'static [(&'static str, Self)] =
        &[("per-sender", Self::PerSender), ("global", Self::Global)];
}

/// What is done by `session.maintenance.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Maintenance {
    Enforce,
    Warn,
}

impl Choice for Maintenance {
    const WORDS: &'static [(&'static str, Self)] = &[("enforce", Self::Enforce), ("warn", Self::Warn)];
}

impl Choice for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("silent", Self::Off),
        ("fatal", Self::Error),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// Addresses to listen on: `gateway.bind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bind {
    /// Both loopback addresses.
    Loopback,
    /// Every address of the host.
    Lan,
    /// The tailnet's address, and loopback.
    Tailnet,
    /// Every address in a container, else loopback.
    Auto,
    /// One address, and loopback; never an IPv4 address mapped into IPv6.
    Custom(IpAddr),
}

impl Bind {
    const WORDS: [(&'static str, Option<Self>); 5] = [
        ("loopback", Some(Self::Loopback)),
        ("lan", Some(Self::Lan)),
        ("tailnet", Some(Self::Tailnet)),
        ("auto", Some(Self::Auto)),
        // Means the address of gateway.customBindHost.
        ("custom", None),
    ];

    /// Words, in order.
    pub(crate) fn words() -> Vec<&'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).collect()
    }

    /// Accepted values, for a message.
    pub fn expected() -> String {
        let words = Self::WORDS.map(|(word, _)| format!("\"{word}\"")).join(", ");
        format!("{words} (with gateway.customBindHost) or an IP address")
    }

    /// Reads a word in any case, `localhost`, or an address; `custom` is the address of `gateway.customBindHost`.
    pub fn parse(word: &str, custom: Option<IpAddr>) -> Option<Self> {
        let known = Self::WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        let address = |ip: IpAddr| Self::Custom(ip.to_canonical());
        let bind = match known {
            Some((_, Some(bind))) => bind,
            Some((_, None)) => address(custom?),
            None if word.eq_ignore_ascii_case("localhost") => Self::Loopback,
            None => address(word.parse().ok()?),
        };
        Some(if bind.is_loopback() { Self::Loopback } else { bind })
    }

    /// Whether the bind excludes other hosts. `auto` may turn out to, and does not count.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Loopback => true,
            Self::Custom(ip) => ip.is_loopback(),
            _ => false,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, bind)| *bind == Some(*self)).map(|(word, _)| word);
        match (word, self) {
            (Some(word), _) => f.write_str(word),
            (None, Self::Custom(ip)) => ip.fmt(f),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        let custom = "::ffff:192.0.2.7".parse().ok();
        let rows = [
            ("loopback", "loopback"),
            ("LAN", "lan"),
            ("Tailnet", "tailnet"),
            ("auto", "auto"),
            ("Custom", "192.0.2.7"),
            ("localhost", "loopback"),
            ("LocalHost", "loopback"),
            ("::1", "loopback"),
            ("127.0.0.2", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:0.0.0.0", "0.0.0.0"),
            ("192.0.2.8", "192.0.2.8"),
        ];
        for (word, expected) in rows {
            assert_eq!(Bind::parse(word, custom).map(|b| b.to_string()).as_deref(), Some(expected), "{word}");
        }
        for word in ["", "tailscale", "all", "lan ", "localhost.localdomain"] {
            assert_eq!(Bind::parse(word, custom), None, "{word}");
        }
        assert_eq!(Bind::parse("custom", None), None);
    }
}
