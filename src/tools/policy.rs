//! Tool policy: which tools an agent has in a session. Every step may take tools away and none gives one back, so that what
//! is denied anywhere is denied.
//!
//! The order, and with it the step that a refusal names, is OpenClaw's: `docs/gateway/config-tools/tool-policy.md`,
//! `docs/tools/multi-agent-sandbox-tools.md` and `docs/tools/subagents/tool-policy.md`.

use crate::config::{
    keys::words::Profile,
    model::tools::{Rules, Scoped, Tools},
};
use std::fmt;

/// Groups of tools, as `group:<name>` names them; also of tools that other versions have.
#[rustfmt::skip]
const GROUPS: &[(&str, &[&str])] = &[
    ("runtime", &["exec", "process", "code_execution"]),
    ("fs", &["read", "write", "edit", "apply_patch"]),
    ("sessions", &[
        "sessions", "sessions_list", "sessions_history", "sessions_search", "conversations_list", "conversations_send",
        "conversations_turn", "sessions_send", "sessions_spawn", "sessions_yield", "subagents", "session_status",
        "suggest_task", "dismiss_task",
    ]),
    ("memory", &["memory_search", "memory_get"]),
    ("web", &["web_search", "x_search", "web_fetch"]),
    ("ui", &["browser", "screen", "theme", "dashboard", "terminal", "portal", "canvas", "show_widget"]),
    ("automation", &["heartbeat_respond", "cron", "gateway", "plugins", "openclaw"]),
    ("messaging", &["message"]),
    ("nodes", &["nodes", "computer"]),
    ("agents", &[
        "agents_list", "get_goal", "create_goal", "update_goal", "progress_card", "ask_user", "skill_workshop",
    ]),
    ("media", &["view_image", "image_generate", "music_generate", "video_generate", "tts", "pdf"]),
];
/// Tools of groups that `group:openclaw` leaves out.
const NOT_OPENCLAW: [&str; 7] = ["read", "write", "edit", "apply_patch", "exec", "process", "canvas"];
/// Other names of tools.
const ALIASES: [(&str, &str); 3] = [("bash", "exec"), ("automations", "cron"), ("image", "view_image")];

/// What the profile `minimal` has. OpenClaw's profiles have `gateway` for updates alone, which this version does not make.
const MINIMAL: &[&str] = &["session_status"];
const CODING: &[&str] = &[
    "group:fs",
    "group:runtime",
    "group:web",
    "group:sessions",
    "group:memory",
    "cron",
    "get_goal",
    "create_goal",
    "update_goal",
    "progress_card",
    "ask_user",
    "skill_workshop",
    "view_image",
    "image_generate",
    "music_generate",
    "video_generate",
    "theme",
    "bundle-mcp",
];
const MESSAGING: &[&str] = &[
    "group:messaging",
    "sessions",
    "sessions_list",
    "sessions_history",
    "sessions_search",
    "conversations_list",
    "conversations_send",
    "conversations_turn",
    "sessions_send",
    "sessions_spawn",
    "sessions_yield",
    "subagents",
    "session_status",
    "ask_user",
    "theme",
    "bundle-mcp",
];

/// Tools that no sub-agent has.
const NOT_OF_SUBAGENTS: &[&str] = &[
    "gateway",
    "agents_list",
    "session_status",
    "progress_card",
    "cron",
    "message",
    "sessions_send",
    "conversations_*",
];
/// Tools that a sub-agent which may begin no others has not either.
const NOT_OF_LEAVES: &[&str] = &["subagents", "sessions_list", "sessions_history", "sessions_spawn"];

/// Tools that only owners invoke, whatever else allows them.
const OWNERS: &[&str] = &["cron", "gateway", "nodes"];
/// Tools that HTTP has only where `gateway.tools.allow` says so.
const NOT_BY_HTTP: &[&str] = &[
    "exec",
    "spawn",
    "shell",
    "fs_write",
    "fs_delete",
    "fs_move",
    "apply_patch",
    "sessions_spawn",
    "sessions_send",
    "cron",
    "gateway",
    "nodes",
];

/// A tool as the policy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// The plugin that it is of; `bundle-mcp` for a configured MCP server's.
    pub plugin: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// A tool of the gateway itself.
    pub fn own(name: &'a str) -> Self {
        Self { name, plugin: None }
    }
}

/// Whether a session is a sub-agent's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nesting {
    /// It is not.
    None,
    /// It is, and may begin others.
    Subagent,
    /// It is, and may begin no others.
    #[allow(dead_code, reason = "a fact of sub-agents, which do not run yet")]
    Leaf,
}

/// All that decides which tools an agent has in a session.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The configuration.
    pub tools: &'a Tools,
    /// Id of the agent.
    pub agent: &'a str,
    /// Its model, as `provider/model`.
    pub model: Option<&'a str>,
    /// The rules of the group or channel that the session is of.
    pub group: Option<&'a Rules>,
    /// The rules of the sandbox that the session is in.
    pub sandbox: Option<&'a Rules>,
    /// Whether the session is a sub-agent's.
    pub nesting: Nesting,
    /// The rules of sub-agents.
    pub subagents: Option<&'a Rules>,
}

impl<'a> Facts<'a> {
    /// Of a session that is no group's, sandbox's or sub-agent's.
    pub fn plain(tools: &'a Tools, agent: &'a str, model: Option<&'a str>) -> Self {
        Self { tools, agent, model, group: None, sandbox: None, nesting: Nesting::None, subagents: None }
    }
}

/// The step that takes a tool away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `tools.profile`, or the agent's.
    Profile(Profile),
    /// The profile for the model's provider.
    ProviderProfile(Profile),
    /// `tools.allow` and `tools.deny`.
    Global,
    /// The agent's.
    Agent,
    /// Those for the model's provider.
    Provider,
    /// Those of the agent for the model's provider.
    AgentProvider,
    /// Those of the group or channel.
    Group,
    /// Those of the sandbox.
    Sandbox,
    /// What sub-agents have not.
    Subagent,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(profile) => write!(f, "the tool profile \"{}\" does not have it", profile.as_str()),
            Self::ProviderProfile(profile) => {
                write!(
                    f,
                    "the tool profile \"{}\" of the model's provider does not have it",
                    profile.as_str()
                )
            }
            Self::Global => f.write_str("tools.allow or tools.deny keeps it from every agent"),
            Self::Agent => f.write_str("the tools.allow or tools.deny of this agent keeps it from it"),
            Self::Provider => f.write_str("tools.byProvider keeps it from agents with this model"),
            Self::AgentProvider => f.write_str("the tools.byProvider of this agent keeps it from it"),
            Self::Group => f.write_str("the rules of this group keep it from it"),
            Self::Sandbox => f.write_str("the rules of the sandbox keep it from it"),
            Self::Subagent => f.write_str("sub-agents do not have it"),
        }
    }
}

/// The profile that is in force, if one is: the agent's, else that of all.
pub fn profile(facts: &Facts<'_>) -> Option<Profile> {
    let own = agent(facts).and_then(|own| own.rules.profile);
    own.or(facts.tools.all.rules.profile)
}

/// Judges whether an agent has a tool.
///
/// # Errors
/// The first step that takes it away.
pub fn judge(facts: &Facts<'_>, tool: Named<'_>) -> Result<(), Step> {
    let (all, own) = (&facts.tools.all, agent(facts));
    let for_model = of_model(all, facts.model);
    let own_for_model = own.and_then(|own| of_model(own, facts.model));
    let profile_of = |own: Option<&Rules>, all: Option<&Rules>| {
        let both = || own.into_iter().chain(all);
        let profile = both().find_map(|rules| rules.profile)?;
        let also = both().map(|rules| &rules.also_allow).find(|also| !also.is_empty());
        let has = profile_has(profile, tool) || also.is_some_and(|also| names(also, tool));
        (!has).then_some(profile)
    };
    let takes = |rules: Option<&Rules>| rules.is_some_and(|rules| !passes(rules, tool));
    let subagent = match facts.nesting {
        Nesting::None => false,
        Nesting::Subagent => names(NOT_OF_SUBAGENTS, tool),
        Nesting::Leaf => names(NOT_OF_SUBAGENTS, tool) || names(NOT_OF_LEAVES, tool),
    };
    if let Some(profile) = profile_of(own.map(|own| &own.rules), Some(&all.rules)) {
        return Err(Step::Profile(profile));
    }
    if let Some(profile) = profile_of(own_for_model, for_model) {
        return Err(Step::ProviderProfile(profile));
    }
    let steps = [
        (takes(Some(&all.rules)), Step::Global),
        (takes(own.map(|own| &own.rules)), Step::Agent),
        (takes(for_model), Step::Provider),
        (takes(own_for_model), Step::AgentProvider),
        (takes(facts.group), Step::Group),
        (takes(facts.sandbox), Step::Sandbox),
        (subagent || (facts.nesting != Nesting::None && takes(facts.subagents)), Step::Subagent),
    ];
    steps.into_iter().find(|(takes, _)| *takes).map_or(Ok(()), |(_, step)| Err(step))
}

/// Whether only owners invoke the tool.
pub fn is_owners(name: &str) -> bool {
    names(OWNERS, Named::own(name))
}

/// Whether `POST /tools/invoke` has a tool that the policy gives.
pub fn is_for_http(tools: &Tools, tool: Named<'_>, by_owner: bool) -> bool {
    let opened = by_owner && names(&tools.http_allow, tool);
    !names(&tools.http_deny, tool)
        && (by_owner || !is_owners(tool.name))
        && (opened || !names(NOT_BY_HTTP, tool))
}

/// The profiles that have a tool by themselves.
pub fn profiles_with(tool: Named<'_>) -> impl Iterator<Item = Profile> {
    Profile::ALL.into_iter().filter(move |profile| profile_has(*profile, tool))
}

fn profile_has(profile: Profile, tool: Named<'_>) -> bool {
    match profile {
        Profile::Minimal => names(MINIMAL, tool),
        Profile::Coding => names(CODING, tool),
        Profile::Messaging => names(MESSAGING, tool),
        Profile::Full => true,
    }
}

fn agent<'a>(facts: &Facts<'a>) -> Option<&'a Scoped> {
    facts.tools.agents.iter().find(|(id, _)| id == facts.agent).map(|(_, rules)| rules)
}

/// The rules for one `provider/model`, else those for its provider.
fn of_model<'a>(scoped: &'a Scoped, model: Option<&str>) -> Option<&'a Rules> {
    let model = model?.to_lowercase();
    let of = |name: &str| scoped.by_provider.iter().find(|(known, _)| known == name).map(|(_, rules)| rules);
    of(&model).or_else(|| of(model.split_once('/').map_or(&*model, |(provider, _)| provider)))
}

fn passes(rules: &Rules, tool: Named<'_>) -> bool {
    let allowed = |allow: &Vec<String>| {
        // Who may write files may also patch them.
        names(allow, tool) || canonical(tool.name) == "apply_patch" && names(allow, Named::own("write"))
    };
    !names(&rules.deny, tool) && rules.allow.as_ref().is_none_or(allowed)
}

/// Whether a list names the tool: by its name, a pattern, a group or its plugin.
fn names<S: AsRef<str>>(list: &[S], tool: Named<'_>) -> bool {
    let name = canonical(tool.name);
    list.iter().any(|entry| {
        let entry = entry.as_ref().trim().to_lowercase();
        if let Some(group) = entry.strip_prefix("group:") {
            return in_group(group, &name, tool.plugin.is_some());
        }
        let of_plugin = tool.plugin.is_some_and(|plugin| fits(&entry, &plugin.to_lowercase()));
        of_plugin || fits(&canonical(&entry), &name) || fits(&entry, &name)
    })
}

/// Whether the group has the tool.
#[cfg(test)]
pub(super) fn is_in(group: &str, name: &str) -> bool {
    in_group(group, name, false)
}

fn in_group(group: &str, name: &str, of_plugin: bool) -> bool {
    match group {
        "plugins" => of_plugin,
        _ if of_plugin => false,
        "openclaw" => !NOT_OPENCLAW.contains(&name) && GROUPS.iter().any(|(_, tools)| tools.contains(&name)),
        _ => GROUPS.iter().any(|(known, tools)| *known == group && tools.contains(&name)),
    }
}

/// The name in small letters, and one for each tool.
fn canonical(name: &str) -> String {
    let name = name.trim().to_lowercase();
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, tool)| (*tool).to_owned())
}

/// Whether `text` fits a pattern in which `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests;
