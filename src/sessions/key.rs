//! Session keys: which conversation a name means, and whose it is.
//!
//! Source: OpenClaw's `docs/reference/session-management-compaction/schema.md` and `docs/concepts/session.md`.

use crate::config::model::agents::Agents;
use std::fmt;

/// The longest key, bytes.
pub const LONGEST: usize = 512;
/// Keys that no agent's id stands in; each agent has one of each.
const SHARED: [&str; 2] = ["global", "unknown"];
/// Parts after which a name is somebody else's, and is kept as it is.
const PEERS: [&str; 5] = [":group:", ":channel:", ":room:", ":direct:", ":thread:"];

/// The key of a session, in its one form.
///
/// Two agents' `global` sessions differ though their keys are the same on the wire: within, a shared key is followed by
/// its agent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionKey(Box<str>);

/// The text of a key as it is stored.
#[derive(Clone, Copy)]
pub(super) struct KeyText<'a>(pub &'a str);

impl<'a> KeyText<'a> {
    /// See [`SessionKey::wire`].
    pub fn wire(self) -> &'a str {
        self.0.split_once('\n').map_or(self.0, |(shared, _)| shared)
    }

    /// See [`SessionKey::agent`].
    pub fn agent(self) -> &'a str {
        match self.0.split_once('\n') {
            Some((_, agent)) => agent,
            None => self.0.split(':').nth(1).unwrap_or_default(),
        }
    }
}

/// Why a text is no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadKey {
    /// It is empty, too long, or holds control characters.
    NoKey,
    /// The agent that was named with it.
    NoSuchAgent(String),
    /// The key belongs to the first agent, and the second was named with it.
    OtherAgent(String, String),
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "a session key has 1 to {LONGEST} bytes and no control characters"),
            Self::NoSuchAgent(id) => write!(f, "Unknown agent id \"{id}\""),
            Self::OtherAgent(of, named) => {
                write!(f, "the session key belongs to agent \"{of}\", and agentId names \"{named}\"")
            }
        }
    }
}

impl SessionKey {
    /// Reads a key as a client writes it: whole, or a name within `agent`, else within the default agent. `main` is the
    /// main session.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str, agent: Option<&str>, agents: &Agents) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(BadKey::NoKey);
        }
        let named = agent.map(str::trim).filter(|id| !id.is_empty()).map(str::to_lowercase);
        if let Some(id) = named.as_ref().filter(|id| !agents.ids.contains(id)) {
            return Err(BadKey::NoSuchAgent(id.clone()));
        }
        let text = lower(text);
        let owner = || named.as_deref().unwrap_or(&agents.default);
        if let Some((id, rest)) = text.strip_prefix("agent:").and_then(|rest| rest.split_once(':')) {
            if id.is_empty() || rest.is_empty() {
                return Err(BadKey::NoKey);
            }
            return match named.as_deref() {
                Some(named) if named != id => Err(BadKey::OtherAgent(id.into(), named.into())),
                _ => Ok(Self(text.into())),
            };
        }
        let name = if text == "main" || text == agents.main_key { agents.main_key.as_str() } else { &text };
        if SHARED.contains(&name) || (agents.global && name == agents.main_key) {
            let name = if SHARED.contains(&name) { name } else { SHARED[0] };
            return Ok(Self(format!("{name}\n{}", owner()).into()));
        }
        Ok(Self(format!("agent:{}:{name}", owner()).into()))
    }

    /// The key `name` of `agent`.
    pub fn of(agent: &str, name: &str) -> Self {
        Self(format!("agent:{agent}:{name}").into())
    }

    /// The key as [`as_str`](Self::as_str) gave it.
    pub(super) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The key as it is stored: one text a session.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key on the wire.
    pub fn wire(&self) -> &str {
        KeyText(&self.0).wire()
    }

    /// Id of the agent that it belongs to.
    pub fn agent(&self) -> &str {
        KeyText(&self.0).agent()
    }

    /// What stands after the agent.
    fn name(&self) -> &str {
        match self.is_shared() {
            true => self.wire(),
            false => self.0.splitn(3, ':').nth(2).unwrap_or_default(),
        }
    }

    fn is_shared(&self) -> bool {
        self.0.contains('\n')
    }

    /// Whether it is the main session of its agent.
    pub fn is_main(&self, agents: &Agents) -> bool {
        match agents.global {
            true => self.wire() == SHARED[0],
            false => !self.is_shared() && self.name() == agents.main_key,
        }
    }

    /// `kind` of a session's row.
    pub fn kind(&self) -> &'static str {
        match self.wire() {
            "global" => "global",
            "unknown" => "unknown",
            key if [":group:", ":channel:", ":room:"].iter().any(|part| key.contains(part)) => "group",
            _ => "direct",
        }
    }

    /// `classification` of a session's row.
    pub fn classification(&self, agents: &Agents) -> &'static str {
        if self.is_main(agents) {
            return "main";
        }
        let name = self.name();
        let begins = |what: &str| name.split(':').next() == Some(what);
        let within = |part: &str| self.0.contains(part);
        match () {
            () if self.is_shared() => self.kind(),
            () if begins("cron") => "cron",
            () if begins("hook") => "hook",
            () if begins("subagent") || within(":subagent:") => "subagent",
            () if begins("acp") => "acp",
            () if begins("dashboard") => "dashboard",
            () if within(":group:") => "group",
            () if within(":channel:") || within(":room:") => "channel",
            () if within(":direct:") => "direct",
            () => "custom",
        }
    }

    /// Whether it runs without a person: cron jobs, hooks, and what they or agents begin.
    pub fn is_background(&self, agents: &Agents) -> bool {
        matches!(self.classification(agents), "cron" | "hook" | "subagent")
    }
}

/// The text in lower case, but for the names of peers.
fn lower(text: &str) -> String {
    let folded = text.to_ascii_lowercase();
    let peer = PEERS.iter().filter_map(|part| folded.find(part).map(|at| at + part.len())).min();
    peer.map_or(folded.clone(), |at| format!("{}{}", &folded[..at], &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(global: bool) -> Agents {
        Agents {
            ids: vec!["main".into(), "work".into()],
            default: "main".into(),
            main_key: "main".into(),
            global,
            ..Agents::default()
        }
    }

    #[test]
    fn one_conversation_has_one_key() {
        let rows = [
            ("main", None, Ok("agent:main:main")),
            ("MAIN", Some("work"), Ok("agent:work:main")),
            ("agent:main:main", None, Ok("agent:main:main")),
            ("Agent:Main:One", None, Ok("agent:main:one")),
            ("one", None, Ok("agent:main:one")),
            ("one", Some("Work"), Ok("agent:work:one")),
            ("cron:j1", None, Ok("agent:main:cron:j1")),
            ("agent:main:signal:group:AbC=", None, Ok("agent:main:signal:group:AbC=")),
            // An agent that is configured no longer keeps its sessions.
            ("agent:gone:main", None, Ok("agent:gone:main")),
            ("global", None, Ok("global\nmain")),
            ("global", Some("work"), Ok("global\nwork")),
            ("one", Some("gone"), Err(BadKey::NoSuchAgent("gone".into()))),
            ("agent:main:x", Some("work"), Err(BadKey::OtherAgent("main".into(), "work".into()))),
            ("", None, Err(BadKey::NoKey)),
            ("a\nb", None, Err(BadKey::NoKey)),
            ("agent:main:", None, Err(BadKey::NoKey)),
            ("agent::x", None, Err(BadKey::NoKey)),
        ];
        for (text, agent, expected) in rows {
            let key = SessionKey::parse(text, agent, &agents(false));
            assert_eq!(key.as_ref().map(SessionKey::as_str), expected.as_ref().copied(), "{text}");
        }
        assert_eq!(SessionKey::parse(&"x".repeat(513), None, &agents(false)), Err(BadKey::NoKey));
        let main = SessionKey::parse("main", Some("work"), &agents(true)).unwrap();
        assert_eq!((main.wire(), main.agent(), main.is_main(&agents(true))), ("global", "work", true));
    }

    #[test]
    fn what_a_key_says_of_its_session() {
        let rows = [
            ("main", "direct", "main"),
            ("one", "direct", "custom"),
            ("dashboard:1", "direct", "dashboard"),
            ("whatsapp:group:1@g.us", "group", "group"),
            ("discord:channel:7", "group", "channel"),
            ("whatsapp:direct:+1", "direct", "direct"),
            ("cron:j1", "direct", "cron"),
            ("hook:u", "direct", "hook"),
            ("subagent:u", "direct", "subagent"),
            ("global", "global", "global"),
            ("unknown", "unknown", "unknown"),
        ];
        for (text, kind, classification) in rows {
            let key = SessionKey::parse(text, None, &agents(false)).unwrap();
            assert_eq!((key.kind(), key.classification(&agents(false))), (kind, classification), "{text}");
            assert_eq!(key.agent(), "main");
        }
    }
}
