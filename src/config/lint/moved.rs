//! Keys that OpenClaw moved from one place to another between its releases, from 2026.1 to 2026.9.
//!
//! Source: what its own `doctor --fix` does with them. Barnacle reads those that it acts on in every form
//! ([`crate::config::model`]); for all of them it says where the newest release looks.

use crate::config::keys::begins;

/// Moved keys: the old path (`*` for any one step), and the replacement in the newest release.
#[rustfmt::skip]
const MOVED: &[(&str, &str)] = &[
    ("agent", "agents.defaults"),
    ("agents.list", "agents.entries.<id>"),
    ("agents.defaults.memorySearch", "memory.search"),
    ("agents.defaults.sandbox.perSession", "agents.defaults.sandbox.scope"),
    ("agents.entries.*.memorySearch", "agents.entries.<id>.memory.search"),
    ("audio.transcription", "tools.media.models"),
    ("audit", "logging.audit"),
    ("canvasHost.enabled", "plugins.entries.canvas.config.host.enabled"),
    ("channels.*.dm.policy", "dmPolicy of the channel"),
    ("channels.*.dm.allowFrom", "allowFrom of the channel"),
    ("channels.*.streamMode", "streaming.mode of the channel"),
    ("channels.whatsapp.ackReaction", "messages.ackReaction and messages.ackReactionScope"),
    ("channels.whatsapp.accounts.*.ackReaction", "messages.ackReaction and messages.ackReactionScope"),
    ("channels.whatsapp.messagePrefix", "channels.whatsapp.responsePrefix"),
    ("compaction", "agents.defaults.compaction"),
    ("defaultModel", "agents.defaults.model"),
    ("gateway.nodes.allowCommands", "gateway.nodes.commands.allow"),
    ("gateway.nodes.denyCommands", "gateway.nodes.commands.deny"),
    ("gateway.nodes.skills.enabled", "gateway.nodes.allowSkills"),
    ("gateway.token", "gateway.auth.token"),
    ("heartbeat", "agents.defaults.heartbeat"),
    ("identity", "identity of an entry of agents.entries"),
    ("memorySearch", "memory.search"),
    ("messages.messagePrefix", "channels.whatsapp.responsePrefix"),
    ("messages.tts", "tts"),
    ("routing.agents", "agents.entries.<id>"),
    ("routing.allowFrom", "channels.whatsapp.allowFrom"),
    ("routing.bindings", "bindings"),
    ("routing.groupChat.mentionPatterns", "messages.groupChat.mentionPatterns"),
    ("routing.groupChat.requireMention", "groups.\"*\".requireMention of each channel"),
    ("routing.queue", "messages.queue"),
    ("session.idleMinutes", "session.reset.idleMinutes (with session.reset.mode \"idle\")"),
    ("session.maintenance.pruneDays", "session.maintenance.pruneAfter"),
    ("session.resetByType.dm", "session.resetByType.direct"),
    ("session.threadBindings.ttlHours", "session.threadBindings.idleHours"),
    ("session.typingMode", "agents.defaults.typingMode"),
    ("talk.apiKey", "talk.providers.elevenlabs.apiKey"),
    ("talk.modelId", "talk.providers.elevenlabs.modelId"),
    ("talk.outputFormat", "talk.providers.elevenlabs.outputFormat"),
    ("talk.voiceAliases", "talk.providers.elevenlabs.voiceAliases"),
    ("talk.voiceId", "talk.providers.elevenlabs.voiceId"),
    ("tools.exec.timeoutSec", "tools.exec.timeoutSeconds"),
    ("tools.message.allowCrossContextSend", "tools.message.crossContext"),
    ("tools.web.search.apiKey", "plugins.entries.brave.config.webSearch.apiKey"),
    ("web.enabled", "channels.whatsapp.enabled"),
];

/// Replacement of the key at `path` in the newest release; `None` if it did not move.
pub(crate) fn newest(path: &[&str]) -> Option<&'static str> {
    let is = |row: &&(&str, &str)| begins(row.0, path) && row.0.split('.').count() == path.len();
    MOVED.iter().find(is).map(|(_, new)| *new)
}

/// Whether a key that moved stood somewhere below `path`.
pub(crate) fn above(path: &[&str]) -> bool {
    MOVED.iter().any(|(old, _)| begins(old, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lint::known::Known;

    #[test]
    fn what_is_named_as_the_newest_is_known_and_not_gone() {
        for (old, new) in MOVED.iter().filter(|(_, new)| !new.contains(" of ")) {
            let path = new.split(' ').next().unwrap_or_default().replace("<id>", "*");
            // Below a key that anything may stand in, nothing is listed.
            let open = path.starts_with("plugins.entries.") || path.starts_with("talk.providers.");
            let known = Known::find(path.split('.'));
            assert!(open || known.is_some_and(|k| !k.gone), "{old} → {new}");
        }
    }
}
