//! Keys of agents, sessions and channels. The default agent's model answers; of the others clients are given names and
//! defaults.

use super::{
    Effect::*,
    Key,
    Kind::*,
    Visibility::*,
    flag, key, number, one_of, section,
    words::{Maintenance, SessionScope},
};

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("session.mainKey", Text, NextAnswer, Public,
        "Session Main Key", "Name of an agent's main session; \"main\" without the key."),
    key("session.scope", one_of::<SessionScope>(Some("per-sender"), Some("per-sender")), NextAnswer, Public,
        "Session Scope", "Whether each sender has a session, or all share one."),
    key("session.maintenance.mode", one_of::<Maintenance>(Some("enforce"), Some("enforce")), Upkeep, Public,
        "Session Maintenance", "Whether old sessions are archived, or only counted in the log."),
    key("session.maintenance.pruneAfter", Text, Upkeep, Public,
        "Archive After", "How long a session may be left alone until it is archived; \"30d\" without the key."),
    key("session.maintenance.maxEntries", number(1, 1_000_000, Some(5000)), Upkeep, Public,
        "Most Sessions", "The most sessions that are not archived; the oldest are archived."),
    key("session.maintenance.maxDiskBytes", Any, Upkeep, Public,
        "Most Bytes", "Bytes of an agent's transcripts, \"10gb\" without the key, or false; then what was archived as one of \
         too many is removed."),
    key("agents.defaults.model", Any, NextAnswer, Unknown,
        "Default Model", "A model's name, or {primary, fallbacks}."),
    key("agents.defaults.contextTokens", number(1, 1_000_000_000, None), NextAnswer, Public,
        "Context Tokens", "As OpenClaw wrote it until 2026.8."),
    key("agents.defaults.heartbeat.every", Text, NextAnswer, Public,
        "Heartbeat Interval", "A duration such as \"30m\"; \"0m\" is never."),
    key("agents.defaults.systemAgent.agentId", Text, NextAnswer, Public,
        "Main Agent", "Which agent is the main one."),
    section("agents.entries", NextAnswer),
    key("agents.entries.*", Section, NextAnswer, Unknown,
        "Agent", "One agent, by its id."),
    key("agents.entries.*.default", flag(false, false), NextAnswer, Public,
        "Default Agent", "Whether this is the main one, where agents.defaults.systemAgent names none."),
    key("agents.list", Objects, NextAnswer, Unknown,
        "Agents", "The same as OpenClaw 2026.2 wrote it; read where agents.entries is absent."),
    key("agents.list.*.id", Text, NextAnswer, Public,
        "Agent Id", "Name of the agent in session keys."),
    key("agents.list.*.default", flag(false, false), NextAnswer, Public,
        "Default Agent", "Whether this is the main one."),
    key("channels.*.enabled", flag(true, false), NextAnswer, Public,
        "Channel Enabled", "Whether the channel is listed in health and status."),
];
