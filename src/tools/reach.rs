//! Sessions that a tool sees: by `tools.sessions.visibility` and `tools.agentToAgent`.
//!
//! Source: OpenClaw's `docs/gateway/config-tools/sessions-and-subagents.md`.

use super::{Use, policy::fits, result::Problem};
use crate::{
    config::{
        keys::words::Reach,
        model::{
            agents::Agents,
            tools::{AgentToAgent, Tools},
        },
    },
    protocol::{Object, Readable},
    sessions::{SessionId, SessionKey},
};
use std::fmt;

/// Why a session is not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// It is out of what `tools.sessions.visibility` says.
    Scope(Reach),
    /// `tools.agentToAgent.enabled` is off.
    OtherAgent,
    /// `tools.agentToAgent.allow` does not have both agents.
    NotAllowed,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(reach) => {
                let which = match reach {
                    Reach::Own => "the session they run in",
                    Reach::Tree => "the session they run in and those that it began",
                    Reach::Agent | Reach::All => "the sessions of their own agent",
                };
                write!(f, "tools.sessions.visibility is \"{}\": tools see {which} alone", reach.as_str())
            }
            Self::OtherAgent => f.write_str("it is another agent's, and tools.agentToAgent.enabled is false"),
            Self::NotAllowed => {
                f.write_str("it is another agent's, and tools.agentToAgent.allow does not have both agents")
            }
        }
    }
}

/// Judges whether a tool that runs in `own` sees `other`, which `own` has begun or not.
///
/// # Errors
/// Why it does not.
pub fn judge(
    tools: &Tools,
    agents: &Agents,
    own: &SessionKey,
    other: &SessionKey,
    begun: bool,
) -> Result<(), Hidden> {
    let same_agent = own.agent() == other.agent();
    let sees = match tools.reach {
        _ if own == other => true,
        Reach::Own => false,
        Reach::Tree => begun || same_agent && own.is_main(agents),
        Reach::Agent => same_agent,
        Reach::All if begun || same_agent => true,
        Reach::All => return across(&tools.agent_to_agent, own, other),
    };
    if sees { Ok(()) } else { Err(Hidden::Scope(tools.reach)) }
}

fn across(rule: &AgentToAgent, own: &SessionKey, other: &SessionKey) -> Result<(), Hidden> {
    let listed = |agent: &str| {
        rule.allow.as_ref().is_none_or(|allow| {
            allow.iter().any(|entry| match entry.contains('*') {
                true => fits(&entry.to_lowercase(), &agent.to_lowercase()),
                false => entry == agent,
            })
        })
    };
    match rule.enabled {
        false => Err(Hidden::OtherAgent),
        true if listed(own.agent()) && listed(other.agent()) => Ok(()),
        true => Err(Hidden::NotAllowed),
    }
}

/// Adds the parameters that name a session: its key as `name`, and its agent where the key does not say.
pub fn naming(object: Object, name: &str, key: &SessionKey) -> Object {
    let object = object.put(name, key.wire());
    object.opt("agentId", (key.wire() != key.as_str()).then(|| key.agent()))
}

/// The key that a model means: `current` is the session that the tool runs in, `main` its agent's main one; a session's id
/// is taken as well.
///
/// # Errors
/// It is none.
pub async fn target(with: &Use, text: &str) -> Result<SessionKey, Problem> {
    let agents = &with.settings.config.agents;
    let text = text.trim();
    if text == "current" {
        return Ok(with.session.clone());
    }
    if SessionId::parse(text).is_some() {
        let asked = Object::new().put("sessionId", text).put("allowMissing", &true).json();
        let found = Readable::new("sessions.resolve", with.ask("sessions.resolve", asked).await?);
        if let Some(key) = found.params().opt_str("key")? {
            let agent = found.params().opt_str("agentId")?;
            let agent = agent.filter(|_| !key.starts_with("agent:"));
            return SessionKey::parse(key, agent, agents).map_err(|e| Problem::arguments(e.to_string()));
        }
    }
    let own = Some(with.session.agent()).filter(|id| agents.ids.iter().any(|known| known == id));
    let agent = own.filter(|_| !text.to_ascii_lowercase().starts_with("agent:"));
    SessionKey::parse(text, agent, agents).map_err(|e| Problem::arguments(format!("sessionKey: {e}")))
}

/// The row of a session that is there and seen, as `sessions.describe` has it.
///
/// # Errors
/// It is not there, or not seen. Of what is not seen it is not said whether it is there.
pub async fn seen(with: &Use, key: &SessionKey) -> Result<Readable, Problem> {
    let config = &with.settings.config;
    let before = judge(&config.tools, &config.agents, &with.session, key, false);
    let begun_counts = matches!(config.tools.reach, Reach::Tree | Reach::All);
    if let Err(why) = before
        && !begun_counts
    {
        return Err(hidden(key, why));
    }
    let asked = naming(Object::new(), "key", key).json();
    let answer = Readable::new("sessions.describe", with.ask("sessions.describe", asked).await?);
    let row = answer.params().value("session").map(|row| crate::protocol::Json(row.to_owned()));
    let row = row.map(|row| Readable::new("session", row));
    let parent = match &row {
        Some(row) => row.params().opt_str("parentSessionKey")?.map(str::to_owned),
        None => None,
    };
    let begun = parent.as_deref() == Some(with.session.wire());
    judge(&config.tools, &config.agents, &with.session, key, begun).map_err(|why| hidden(key, why))?;
    row.ok_or_else(|| {
        Problem::arguments(format!(
            "there is no session {}; sessions_list names those that there are",
            key.wire()
        ))
    })
}

fn hidden(key: &SessionKey, why: Hidden) -> Problem {
    Problem::arguments(format!("session {} is not to be seen: {why}", key.wire()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Agents {
        Agents {
            ids: vec!["main".into(), "work".into(), "home".into()],
            default: "main".into(),
            main_key: "main".into(),
            global: false,
            ..Agents::default()
        }
    }

    fn tools(reach: Reach, enabled: bool, allow: Option<&[&str]>) -> Tools {
        let allow = allow.map(|allow| allow.iter().map(|id| (*id).to_owned()).collect());
        Tools { reach, agent_to_agent: AgentToAgent { enabled, allow }, ..Tools::default() }
    }

    #[test]
    fn who_sees_what() {
        use Hidden::*;
        use Reach::*;
        let (main, one, two, theirs) =
            ("agent:main:main", "agent:main:one", "agent:main:two", "agent:work:main");
        type Row<'a> = (Reach, bool, Option<&'a [&'a str]>, &'a str, &'a str, bool, Result<(), Hidden>);
        let rows: &[Row<'_>] = &[
            (Own, true, None, one, one, false, Ok(())),
            (Own, true, None, one, two, true, Err(Scope(Own))),
            // Strict for the main session, too.
            (Own, true, None, main, one, false, Err(Scope(Own))),
            (Tree, true, None, one, two, false, Err(Scope(Tree))),
            (Tree, true, None, one, two, true, Ok(())),
            (Tree, true, None, main, two, false, Ok(())),
            (Tree, true, None, main, theirs, false, Err(Scope(Tree))),
            (Tree, false, None, one, theirs, true, Ok(())),
            (Agent, true, None, one, two, false, Ok(())),
            (Agent, true, None, one, theirs, true, Err(Scope(Agent))),
            (All, true, None, one, theirs, false, Ok(())),
            (All, false, None, one, theirs, false, Err(OtherAgent)),
            (All, false, None, one, two, false, Ok(())),
            (All, false, None, one, theirs, true, Ok(())),
            (All, true, Some(&["main", "work"]), one, theirs, false, Ok(())),
            (All, true, Some(&["main"]), one, theirs, false, Err(NotAllowed)),
            (All, true, Some(&["work"]), one, theirs, false, Err(NotAllowed)),
            (All, true, Some(&["MA*", "w*k"]), one, theirs, false, Ok(())),
            (All, true, Some(&["Main", "work"]), one, theirs, false, Err(NotAllowed)),
            (All, true, Some(&[""]), one, theirs, false, Err(NotAllowed)),
            (All, true, Some(&[]), one, theirs, false, Err(NotAllowed)),
        ];
        let agents = agents();
        for (reach, enabled, allow, own, other, begun, expected) in rows {
            let key = |text: &str| SessionKey::parse(text, None, &agents).unwrap();
            let tools = tools(*reach, *enabled, *allow);
            let judged = judge(&tools, &agents, &key(own), &key(other), *begun);
            assert_eq!(judged, *expected, "{reach:?} {enabled} {allow:?} {own} {other} {begun}");
        }
    }
}
