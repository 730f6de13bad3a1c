//! `agents`, `session` and `channels`. The default agent's model answers; of the others clients are given names and
//! defaults.

use super::tree::Section;
use crate::config::keys::words::{QueueMode, SessionScope};
use std::borrow::Cow;
use std::time::Duration;

/// The agent that is there where none is named, and the main session of each.
const MAIN: &str = "main";

/// `agents`, and what of `session`, `messages` and `channels` goes with it.
#[derive(Clone, Default)]
pub struct Agents {
    /// Ids, in the order of the file; at least one.
    pub ids: Vec<String>,
    /// Id of the default agent.
    pub default: String,
    /// `agents.defaults.model`: the model, or the first of them.
    pub model: Option<String>,
    /// `agents.defaults.model.fallbacks`: those that stand in for it, in this order.
    pub fallbacks: Vec<String>,
    /// What single agents have of their own.
    pub own: Vec<Own>,
    /// `agents.defaults.workspace`.
    pub workspace: Option<String>,
    /// `agents.defaults.maxConcurrent`: runs that ask a model at once.
    pub at_once: u64,
    /// `agents.defaults.compaction`.
    pub compaction: Compaction,
    /// `messages.queue.mode`.
    pub queue: QueueMode,
    /// `agents.defaults.contextTokens` (a key of OpenClaw's until 2026.8).
    pub context_tokens: Option<u64>,
    /// `agents.defaults.heartbeat.every`, where it is set; zero is never.
    pub heartbeat: Option<Duration>,
    /// `session.mainKey`.
    pub main_key: String,
    /// `session.scope`: whether all senders share one session.
    pub global: bool,
    /// The channels that are configured and not switched off.
    pub channels: Vec<String>,
}

/// When and how a conversation is summed up.
#[derive(Clone, Default)]
pub struct Compaction {
    /// Whether that is done without being asked for.
    pub enabled: bool,
    /// Tokens that are kept word for word.
    pub keep: u64,
    /// Time for each question to the model.
    pub deadline: Duration,
}

/// What one agent has of its own.
#[derive(Clone)]
pub struct Own {
    /// Id of the agent.
    pub id: String,
    /// `model`, and those that stand in for it.
    pub model: Option<String>,
    /// `model.fallbacks`.
    pub fallbacks: Vec<String>,
    /// `workspace`.
    pub workspace: Option<String>,
}

impl Agents {
    /// Reads the keys out of `root`.
    pub(crate) fn decode(root: &Section<'_>) -> Self {
        let agents = root.section("agents");
        let defaults = agents.section("defaults");
        let (own, marked) = roster(&agents);
        let mut ids: Vec<String> = own.iter().map(|agent| agent.id.clone()).collect();
        if ids.is_empty() {
            ids.push(MAIN.into());
        }
        let owner = defaults.section("systemAgent").text("agentId").map(|id| agent_id(&id));
        let default = owner.filter(|id| ids.contains(id)).or(marked).unwrap_or_else(|| ids[0].clone());
        let session = root.section("session");
        let channels = root.section("channels");
        let on = |name: &&str| {
            let shared = matches!(*name, "defaults" | "modelByChannel");
            !shared && channels.object(name).is_some_and(|c| c.flag("enabled"))
        };
        Self {
            ids,
            default,
            model: model(&defaults),
            fallbacks: fallbacks(&defaults),
            own,
            workspace: defaults.text("workspace").map(Cow::into_owned),
            at_once: defaults.number_or_default("maxConcurrent"),
            compaction: compaction(&defaults.section("compaction")),
            queue: root.section("messages").section("queue").word("mode").unwrap_or(QueueMode::Steer),
            context_tokens: defaults.number("contextTokens"),
            heartbeat: heartbeat(&defaults.section("heartbeat")),
            main_key: session.text("mainKey").map_or(MAIN.into(), |key| key.to_lowercase()),
            global: session.word("scope") == Some(SessionScope::Global),
            channels: channels.names().filter(on).map(str::to_owned).collect(),
        }
    }

    /// Runs that ask a model at once.
    pub(crate) fn runs_at_once(&self) -> usize {
        usize::try_from(self.at_once).unwrap_or(1).max(1)
    }

    /// The model of an agent, and those that stand in for it.
    pub(crate) fn model_of(&self, agent: &str) -> (Option<&str>, &[String]) {
        match self.own.iter().find(|own| own.id == agent && own.model.is_some()) {
            Some(own) => (own.model.as_deref(), &own.fallbacks),
            None => (self.model.as_deref(), &self.fallbacks),
        }
    }

    /// The directory with the instructions of an agent, as the configuration writes it; `None` for that of OpenClaw.
    pub(crate) fn workspace_of(&self, agent: &str) -> Option<String> {
        let own = self.own.iter().find(|own| own.id == agent).and_then(|own| own.workspace.clone());
        own.or_else(|| match (&self.workspace, self.ids.len()) {
            (Some(root), 0 | 1) => Some(root.clone()),
            (Some(root), _) => Some(format!("{}/{agent}", root.trim_end_matches('/'))),
            (None, _) => None,
        })
    }

    /// The same, and `agent` among them.
    pub(crate) fn and(&self, agent: &str) -> Self {
        let mut all = self.clone();
        if !all.ids.iter().any(|id| id == agent) {
            all.ids.push(agent.to_owned());
        }
        all
    }

    /// The session of the default agent that direct messages go to.
    pub(crate) fn main_session(&self) -> String {
        if self.global { "global".into() } else { format!("agent:{}:{}", self.default, self.main_key) }
    }
}

fn compaction(section: &Section<'_>) -> Compaction {
    Compaction {
        enabled: section.flag("enabled"),
        keep: section.number_or_default("keepRecentTokens"),
        deadline: Duration::from_secs(section.number_or_default("timeoutSeconds")),
    }
}

/// The agents, and the one that is marked as the default. `entries` is the newer form, and counts where both
/// are there.
fn roster(agents: &Section<'_>) -> (Vec<Own>, Option<String>) {
    // All of it is read, so that what is wrong with an entry is said whatever else is.
    let read = |id: Option<&str>, entry: &Section<'_>| {
        let own = Own {
            id: id.map(agent_id).unwrap_or_default(),
            model: model(entry),
            fallbacks: fallbacks(entry),
            workspace: entry.text("workspace").map(Cow::into_owned),
        };
        let default = entry.flag("default");
        id.is_some().then_some((own, default))
    };
    let entries = agents.section("entries");
    let mut all: Vec<(Own, bool)> =
        entries.names().filter_map(|name| read(Some(name), &entries.section(name))).collect();
    if all.is_empty() {
        let list = agents.sections("list", "as if it were not there");
        all = list.iter().filter_map(|entry| read(entry.text("id").as_deref(), entry)).collect();
    }
    let marked = all.iter().find(|(_, default)| *default).map(|(own, _)| own.id.clone());
    (all.into_iter().map(|(own, _)| own).collect(), marked)
}

/// An id as OpenClaw has it in session keys.
pub(super) fn agent_id(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let id: String = text.trim().to_lowercase().chars().map(fits).take(64).collect();
    let id = id.trim_matches('-');
    if id.is_empty() { MAIN.into() } else { id.into() }
}

/// A model is named, or named with those that stand in for it: `{primary, fallbacks}`.
fn model(defaults: &Section<'_>) -> Option<String> {
    let name = match defaults.object("model") {
        Some(model) => model.text("primary").map(Cow::into_owned),
        None => defaults.text("model").map(Cow::into_owned),
    };
    name.filter(|name| !name.is_empty())
}

fn fallbacks(defaults: &Section<'_>) -> Vec<String> {
    let list = |model: Section<'_>| model.list("fallbacks", "no other model stands in").items;
    defaults.object("model").map_or(Vec::new(), list)
}

fn heartbeat(section: &Section<'_>) -> Option<Duration> {
    let (text, value) = (section.text("every")?, section.value("every")?);
    let parsed = duration(&text);
    if parsed.is_none() {
        let expected = "a duration like \"30m\" or \"1h30m\", or \"0m\" for never";
        section.error("every", value, format!("{text:?}"), expected, "its default");
    }
    parsed
}

/// `90s`, `30m`, `1h30m`; a bare number is of minutes.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (0_u64, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let ms = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" | "" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(ms)?)?;
        rest = after;
    }
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("30m", Some(1800)),
            ("1h30m", Some(5400)),
            ("0m", Some(0)),
            ("5", Some(300)),
            ("1d", Some(86400)),
        ];
        for (text, seconds) in rows {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["", "m", "soon", "1y", "-1m", "99999999999999999999h", "9999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
