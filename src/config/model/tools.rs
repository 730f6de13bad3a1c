//! `tools`, `agents.*.tools` and `gateway.tools`: which tools an agent has, and what they reach.
//!
//! What cannot be read closes: a list of allowed tools that is none allows nothing, one of denied ones denies all.

use super::{
    agents::agent_id,
    tree::{List, Section},
};
use crate::config::keys::words::{Profile, Reach};

/// The tools that one place of the file lets an agent have.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    /// `profile`.
    pub profile: Option<Profile>,
    /// `allow`: the only tools; `None` leaves all.
    pub allow: Option<Vec<String>>,
    /// `alsoAllow`: tools beside those of the profile.
    pub also_allow: Vec<String>,
    /// `deny`.
    pub deny: Vec<String>,
}

/// The rules of all agents, or of one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Scoped {
    /// Whatever the model.
    pub rules: Rules,
    /// `byProvider`: for models of a provider, or for one `provider/model`.
    pub by_provider: Vec<(String, Rules)>,
}

/// `tools.agentToAgent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentToAgent {
    /// Whether tools see sessions of other agents.
    pub enabled: bool,
    /// Agents that may take part; `None` is all.
    pub allow: Option<Vec<String>>,
}

/// Decoded keys of tools.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tools {
    /// `tools`.
    pub all: Scoped,
    /// `agents.entries.*.tools`, by the agent's id.
    pub agents: Vec<(String, Scoped)>,
    /// `tools.sessions.visibility`.
    pub reach: Reach,
    /// `tools.agentToAgent`.
    pub agent_to_agent: AgentToAgent,
    /// `gateway.tools.allow`: tools that HTTP has though it denies them otherwise.
    pub http_allow: Vec<String>,
    /// `gateway.tools.deny`.
    pub http_deny: Vec<String>,
}

impl Default for Tools {
    /// The values of a file that says nothing of tools.
    fn default() -> Self {
        Self {
            all: Scoped::default(),
            agents: Vec::new(),
            reach: Reach::All,
            agent_to_agent: AgentToAgent { enabled: true, allow: None },
            http_allow: Vec::new(),
            http_deny: Vec::new(),
        }
    }
}

impl Tools {
    /// Reads the keys out of `root`.
    pub(super) fn decode(root: &Section<'_>) -> Self {
        let tools = root.section("tools");
        let to_agents = tools.section("agentToAgent");
        let http = root.section("gateway").section("tools");
        let allow = to_agents.list("allow", "no agent is allowed");
        Self {
            all: scoped(&tools),
            agents: of_agents(&root.section("agents")),
            reach: tools.section("sessions").word("visibility").unwrap_or(Reach::Own),
            agent_to_agent: AgentToAgent {
                enabled: to_agents.flag("enabled"),
                allow: (!allow.items.is_empty() || !allow.whole).then_some(allow.items),
            },
            http_allow: http.list("allow", "nothing more is allowed").items,
            http_deny: denied(http.list("deny", "every tool is denied")),
        }
    }
}

/// `entries` is the newer form, and counts where both are there.
fn of_agents(agents: &Section<'_>) -> Vec<(String, Scoped)> {
    let entries = agents.section("entries");
    let named = entries.names().map(|name| (agent_id(name), scoped(&entries.section(name).section("tools"))));
    let named: Vec<_> = named.collect();
    if !named.is_empty() {
        return named;
    }
    let list = agents.sections("list", "as if it were not there");
    // All of it is read, so that what is wrong with an entry is said whatever else is.
    let read = |entry: &Section<'_>| {
        let (id, scoped) = (entry.text("id").map(|id| agent_id(&id)), scoped(&entry.section("tools")));
        Some((id?, scoped))
    };
    list.iter().filter_map(read).collect()
}

fn scoped(section: &Section<'_>) -> Scoped {
    let providers = section.section("byProvider");
    let of = |name: &str| (name.trim().to_lowercase(), rules(&providers.section(name)));
    Scoped { rules: rules(section), by_provider: providers.names().map(of).collect() }
}

fn rules(section: &Section<'_>) -> Rules {
    let allow = section.list("allow", "no tool is allowed");
    let allow = (!allow.items.is_empty() || !allow.whole).then_some(allow.items);
    let mut also_allow = section.list("alsoAllow", "no tool is added").items;
    if let (Some(_), Some(node)) = (&allow, section.value("alsoAllow").filter(|_| !also_allow.is_empty())) {
        let expected = "absent where allow is set: name the tools in allow, or take a profile and alsoAllow";
        section.error("alsoAllow", node, "a list beside allow".into(), expected, "as if it were not there");
        also_allow.clear();
    }
    Rules {
        profile: section.word("profile"),
        allow,
        also_allow,
        deny: denied(section.list("deny", "every tool is denied")),
    }
}

/// The tools of a list that denies; all where it cannot be read.
fn denied(list: List) -> Vec<String> {
    match list.whole {
        true => list.items,
        false => vec!["*".into()],
    }
}
