//! Keys of tools: which of them an agent has, and what they reach.

use super::{
    Effect::*,
    Key,
    Kind::Texts,
    Visibility::*,
    flag, key, one_of, section,
    words::{Profile, Reach},
};

/// The rows of one place that says which tools there are: `$at`, for `$whose`.
macro_rules! rules {
    ($name:ident, $at:literal, $whose:literal) => {
        #[rustfmt::skip]
        pub(super) static $name: &[Key] = &[
            key(concat!($at, ".profile"), one_of::<Profile>(None, Some("minimal")), NextTool, Public,
                "Tool Profile", concat!("Profile of tools of ", $whose, "; without the key, all tools.")),
            key(concat!($at, ".allow"), Texts, NextTool, Public,
                "Tools Allowed", concat!("The only tools of ", $whose, ", by name, group:<name> or with *; empty leaves all.")),
            key(concat!($at, ".alsoAllow"), Texts, NextTool, Public,
                "Tools Added", concat!("Tools of ", $whose, " beside those of the profile.")),
            key(concat!($at, ".deny"), Texts, NextTool, Public,
                "Tools Denied", concat!("Tools kept from ", $whose, ", whatever allows them.")),
        ];
    };
}

rules!(OF_ALL, "tools", "all agents");
rules!(
    OF_ALL_WITH,
    "tools.byProvider.*",
    "agents whose model is of this provider, or is this provider/model,"
);
rules!(OF_ONE, "agents.entries.*.tools", "this agent");
rules!(OF_ONE_WITH, "agents.entries.*.tools.byProvider.*", "this agent with a model of this provider");
rules!(OF_LISTED, "agents.list.*.tools", "this agent (2026.2)");
rules!(
    OF_LISTED_WITH,
    "agents.list.*.tools.byProvider.*",
    "this agent with a model of this provider (2026.2)"
);

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    section("tools", Unused),
    key("tools.sessions.visibility", one_of::<Reach>(Some("all"), Some("self")), NextTool, Public,
        "Session Visibility", "Sessions that an agent's tools see: its own one, with those that it began (\"tree\"), its agent's, or all."),
    key("tools.agentToAgent.enabled", flag(true, false), NextTool, Public,
        "Agent to Agent", "Whether tools see sessions of other agents where all are visible."),
    key("tools.agentToAgent.allow", Texts, NextTool, Public,
        "Agents Allowed", "Agents that may see each other, by id or with *; empty is all. Both ends must be listed."),
    key("gateway.tools.allow", Texts, NextTool, Public,
        "HTTP Tools Allowed", "Tools that POST /tools/invoke has for owners though it denies them otherwise, such as \"gateway\"."),
    key("gateway.tools.deny", Texts, NextTool, Public,
        "HTTP Tools Denied", "Tools that POST /tools/invoke never has."),
];
