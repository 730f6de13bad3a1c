//! The schema: every key that Barnacle acts on, with what may stand there and what it is for.
//!
//! One table; `config.schema` gives all of it as a JSON schema (draft 7) with hints for a form, as OpenClaw's
//! Control UI draws it, and `config.schema.lookup` one node of it. It describes, it does not judge: what
//! is wrong with a file the decoder says. Keys of OpenClaw's that are not used here are let be by it.

use super::change::{diff::KeyPath, plan};
use nanoserde::SerJson;
use std::fmt::Write;

/// What may stand at a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is shown to nobody, or where it is to be had from.
    Secret,
    /// True or false.
    Flag,
    /// A whole number, from and up to.
    Number(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// What OpenClaw's documentation says; too much to tell here.
    Any,
}

use Kind::*;

/// A row of the table: the key (`*` for any name), what may stand there, its title, what it is for.
type Row = (&'static str, Kind, &'static str, &'static str);

const DAY_MS: u64 = 86_400_000;
const LEVELS: Kind = Words(&["silent", "fatal", "error", "warn", "info", "debug", "trace"]);

/// Every key that Barnacle acts on.
pub const TABLE: &[Row] = &[
    ("gateway.mode", Words(&["local", "remote"]), "Gateway Mode", "Whether the gateway runs on this host."),
    ("gateway.port", Number(1, 65_535), "Gateway Port", "The TCP port for everything."),
    (
        "gateway.bind",
        Words(&["loopback", "lan", "tailnet", "auto", "custom"]),
        "Gateway Bind",
        "Where to listen: this host alone, every address, or the tailnet's.",
    ),
    ("gateway.customBindHost", Text, "Custom Bind Host", "The address that \"custom\" listens on."),
    ("gateway.tls.enabled", Flag, "TLS", "Whether new connections speak TLS."),
    (
        "gateway.tls.autoGenerate",
        Flag,
        "TLS Auto-Generate",
        "Whether a self-signed certificate is made where there is none.",
    ),
    ("gateway.tls.certPath", Text, "TLS Certificate Path", "The certificate, PEM."),
    ("gateway.tls.keyPath", Text, "TLS Key Path", "Its private key, PEM."),
    (
        "gateway.auth.mode",
        Words(&["none", "token", "password", "trusted-proxy"]),
        "Gateway Auth Mode",
        "What a client without a paired device has to show.",
    ),
    ("gateway.auth.token", Secret, "Gateway Token", "The shared token. It pairs new devices."),
    ("gateway.auth.password", Secret, "Gateway Password", "The shared password."),
    ("gateway.auth.rateLimit.maxAttempts", Number(1, 1_000_000), "Wrong Guesses", "How many are let go by."),
    ("gateway.auth.rateLimit.windowMs", Number(1, DAY_MS), "Window (ms)", "How long a wrong guess counts."),
    ("gateway.auth.rateLimit.lockoutMs", Number(1, DAY_MS), "Lockout (ms)", "How long the first lockout is."),
    (
        "gateway.auth.rateLimit.exemptLoopback",
        Flag,
        "Gentle to Loopback",
        "Whether this host is let guess more.",
    ),
    (
        "gateway.auth.deviceKeyProof",
        Flag,
        "Device Key Proof",
        "Whether a paired device's key alone lets it in.",
    ),
    (
        "gateway.auth.revokeOnRotate",
        Words(&["none", "browsers"]),
        "Revoke on Rotate",
        "Whose device tokens a new shared token kills.",
    ),
    ("gateway.trustedProxies", Texts, "Trusted Proxies", "Addresses whose forwarding headers count."),
    (
        "gateway.handshakeTimeoutMs",
        Number(1, 600_000),
        "Handshake Timeout (ms)",
        "How long a connect may take.",
    ),
    ("gateway.controlUi.allowedOrigins", Texts, "Allowed Origins", "Where a browser's page may come from."),
    (
        "gateway.controlUi.allowInsecureAuth",
        Flag,
        "Allow Insecure Auth",
        "Pages over plain HTTP without a device.",
    ),
    (
        "gateway.controlUi.dangerouslyDisableDeviceAuth",
        Flag,
        "No Device Auth",
        "Pages without a device at all.",
    ),
    (
        "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
        Flag,
        "Host Header Fallback",
        "Whether the Host header may vouch for a page.",
    ),
    ("gateway.nodes.pairing.autoApproveLocal", Flag, "Pair Local Devices", "Whether they need no approval."),
    ("gateway.nodes.commands.deny", Texts, "Node Commands Denied", "Whatever allows them."),
    ("gateway.nodes.denyCommands", Texts, "Node Commands Denied (2026.2)", "As OpenClaw 2026.2 wrote them."),
    (
        "gateway.http.securityHeaders.strictTransportSecurity",
        Any,
        "Strict-Transport-Security",
        "The header's value, or false for none.",
    ),
    (
        "gateway.reload.mode",
        Words(&["hybrid", "hot", "restart", "off"]),
        "Config Reload Mode",
        "Whether a changed file is applied as it is saved.",
    ),
    (
        "gateway.reload.debounceMs",
        Number(0, 60_000),
        "Reload Debounce (ms)",
        "How long a file must rest first.",
    ),
    ("gateway.remote.url", Text, "Remote Gateway URL", "The gateway that this host's commands call."),
    (
        "gateway.remote.tlsFingerprint",
        Text,
        "Remote Gateway TLS Fingerprint",
        "The SHA-256 of the one certificate that they trust.",
    ),
    ("gateway.remote.token", Secret, "Remote Gateway Token", "What they show it."),
    ("logging.level", LEVELS, "Log Level", "The least that the log file takes."),
    ("logging.consoleLevel", LEVELS, "Console Log Level", "The least that the console shows."),
    ("session.mainKey", Text, "Session Main Key", "The name of an agent's main session."),
    (
        "session.scope",
        Words(&["per-sender", "global"]),
        "Session Scope",
        "Whether each sender has a session.",
    ),
    ("agents.defaults.model", Any, "Default Model", "A model's name, or {primary, fallbacks}."),
    (
        "agents.defaults.contextTokens",
        Number(1, u32::MAX as u64),
        "Context Tokens",
        "As OpenClaw 2026.2 wrote it.",
    ),
    ("agents.defaults.heartbeat.every", Text, "Heartbeat Interval", "Such as \"30m\"."),
    ("agents.defaults.systemAgent.agentId", Text, "Main Agent", "Which agent is the main one."),
    ("agents.entries.*", Any, "Agent", "One agent, by its id."),
    ("agents.list", Any, "Agents", "As OpenClaw 2026.2 wrote them."),
    ("secrets.providers.*", Any, "Secret Provider", "Where secrets are had from: env or file."),
    ("secrets.defaults.*", Text, "Default Provider", "The provider of a kind of source."),
    ("env.vars.*", Text, "Variable", "Counts where the environment has none of that name."),
];

/// A node of the schema: a key of the table, or what such keys stand in.
#[derive(Default)]
pub struct Node {
    row: Option<&'static Row>,
    inner: Vec<(&'static str, Node)>,
}

/// What a form is told about a key.
#[derive(SerJson)]
#[allow(missing_docs)]
pub struct Hint {
    pub label: String,
    pub help: Option<String>,
    pub order: Option<u64>,
    pub advanced: bool,
    pub sensitive: Option<bool>,
}

/// The whole schema.
pub fn root() -> Node {
    let mut root = Node::default();
    for row in TABLE {
        let mut node = &mut root;
        for key in row.0.split('.') {
            let at = node.inner.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
                node.inner.push((key, Node::default()));
                node.inner.len() - 1
            });
            node = &mut node.inner[at].1;
        }
        node.row = Some(row);
        if row.1 == Texts {
            node.inner.push(("*", Node { row: Some(&("", Text, "", "")), inner: Vec::new() }));
        }
    }
    root
}

impl Node {
    /// The node at `path`, and how the table names it; items of a list and names of a record are `*` there.
    pub fn find(&self, path: &KeyPath) -> Option<(&Self, KeyPath)> {
        let (mut node, mut named) = (self, Vec::new());
        for key in &path.0 {
            let fits = |want: &str| node.inner.iter().find(|(name, _)| *name == want);
            let (name, next) = fits(key).or_else(|| fits("*"))?;
            named.push((*name).to_owned());
            node = next;
        }
        Some((node, KeyPath(named)))
    }

    /// What stands within it.
    pub fn children(&self) -> impl Iterator<Item = (&'static str, &Self)> {
        self.inner.iter().map(|(name, node)| (*name, node))
    }

    /// Whether something does.
    pub fn has_children(&self) -> bool {
        !self.inner.is_empty()
    }

    /// The word for what may stand there, where one word is enough.
    pub fn word(&self) -> Option<&'static str> {
        match self.row {
            None => Some("object"),
            Some((_, Text | Words(_), ..)) => Some("string"),
            Some((_, Flag, ..)) => Some("boolean"),
            Some((_, Number(..), ..)) => Some("integer"),
            Some((_, Texts, ..)) => Some("array"),
            Some((_, Secret | Any, ..)) => None,
        }
    }

    /// What a form is told of the key `name`, the `order`-th at the root.
    pub fn hint(&self, name: &str, order: Option<u64>) -> Option<Hint> {
        let Some((_, kind, label, help)) = self.row else {
            let mut label = name.to_owned();
            label.get_mut(..1)?.make_ascii_uppercase();
            return Some(Hint { label, help: None, order, advanced: false, sensitive: None });
        };
        let sensitive = (*kind == Secret).then_some(true);
        let named = !label.is_empty();
        named.then(|| Hint {
            label: (*label).into(),
            help: Some((*help).into()),
            order,
            advanced: false,
            sensitive,
        })
    }

    /// The node as JSON schema; `deep` with what stands within it.
    pub fn json(&self, deep: bool) -> String {
        let mut members = Vec::new();
        if let Some((_, kind, label, help)) = self.row {
            if !label.is_empty() {
                members.push(format!(
                    r#""title":{},"description":{}"#,
                    label.serialize_json(),
                    help.serialize_json()
                ));
            }
            match kind {
                Number(from, to) => members.push(format!(r#""minimum":{from},"maximum":{to}"#)),
                Words(words) => members.push(format!(r#""enum":{words:?}"#)),
                Secret => members.push(SECRET.into()),
                Texts => members.push(r#""items":{"type":"string"}"#.into()),
                Text | Flag | Any => {}
            }
        } else if deep {
            members.push(self.within());
        }
        if let Some(word) = self.word() {
            members.insert(0, format!(r#""type":"{word}""#));
        }
        format!("{{{}}}", members.join(","))
    }

    /// `properties`, and whether other names may stand beside them: of a section any, kept as they are.
    fn within(&self) -> String {
        let (mut named, mut others) = (String::new(), String::from("true"));
        for (name, node) in &self.inner {
            match *name {
                "*" => others = node.json(true),
                // Writing to a String cannot fail.
                name => drop(write!(named, r#"{}"{name}":{}"#, comma(&named), node.json(true))),
            }
        }
        format!(r#""properties":{{{named}}},"additionalProperties":{others}"#)
    }

    /// The root's schema as a document of its own, with the name that OpenClaw gives it.
    pub fn document(&self, deep: bool) -> String {
        let inner = self.json(deep);
        format!(
            r#"{{"$schema":"http://json-schema.org/draft-07/schema#","title":"OpenClawConfig",{}"#,
            &inner[1..]
        )
    }

    /// The hints for every key below, by their paths, as JSON.
    pub fn hints(&self) -> String {
        let mut all = String::new();
        for (n, (name, node)) in self.inner.iter().enumerate() {
            node.add_hints(name, name, Some(n as u64), &mut all);
        }
        format!("{{{all}}}")
    }

    fn add_hints(&self, path: &str, name: &str, order: Option<u64>, all: &mut String) {
        if let Some(hint) = self.hint(name, order) {
            // Writing to a String cannot fail.
            let _ = write!(all, r#"{}"{path}":{}"#, comma(all), hint.serialize_json());
        }
        for (name, node) in &self.inner {
            node.add_hints(&format!("{path}.{name}"), name, None, all);
        }
    }
}

/// A secret as text, or as OpenClaw's SecretRef.
const SECRET: &str = r#""anyOf":[{"type":"string"},{"type":"object","properties":{"source":{"type":"string"},"provider":{"type":"string"},"id":{"type":"string"}},"required":["source","provider","id"]}]"#;

fn comma(before: &str) -> &'static str {
    if before.is_empty() { "" } else { "," }
}

/// What OpenClaw's words for it say of a change at `path`: nothing here needs a restart.
pub fn reload_kind(path: &KeyPath) -> &'static str {
    let within = plan::TABLE.iter().any(|(prefix, effect)| effect.acts() && path.holds(prefix));
    if within || plan::effect(path).acts() { "hot" } else { "none" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_plan_acts_on_is_what_is_described() {
        for (path, ..) in TABLE {
            let effect = plan::effect(&KeyPath::dotted(path));
            assert!(effect.acts(), "{path}: the plan says that a change does {effect:?}");
        }
        for (prefix, effect) in plan::TABLE {
            let described = TABLE.iter().any(|(path, ..)| {
                KeyPath::dotted(path).is_within(prefix) || KeyPath::dotted(prefix).is_within(path)
            });
            assert_eq!(described, effect.acts() || *prefix == "gateway", "{prefix}");
        }
    }
}
