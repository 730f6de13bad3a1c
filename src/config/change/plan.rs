//! The plan: what a change of the configuration does to a running gateway.
//!
//! One table, from the beginning of a key's path to its [`Effect`]; the longest that fits counts. Nothing
//! in it needs a restart. `barnacle config plan --table` prints it, and the readme holds what that prints.

use super::diff::{Change, KeyPath};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What is done when a key changes, in the order in which it is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// The new address is listened on, then the old one closed; connections stay.
    Listen,
    /// New connections speak TLS, with the certificate as it is now, or no longer; connections stay.
    Tls,
    /// The shared credential is read anew; connections that rest on the old one alone are closed.
    Credentials,
    /// Counts from the next wrong guess on; what was counted stays counted.
    Limits,
    /// Counts for who connects next; who is connected stays.
    NextConnect,
    /// Counts for the next call of a node's command.
    NextCall,
    /// Counts from the next line of the journal on.
    Log,
    /// Told from the next `hello-ok`, `health` and `status` on.
    NextAnswer,
    /// Counts for the next change of the file.
    Reload,
    /// What the commands of this host use the next time.
    Commands,
    /// Nothing: it cannot be had in this version, and the gateway says so.
    Unsupported,
    /// Nothing: kept as it is, and not used by this version.
    Unused,
    /// Nothing, and nothing is said: other programs keep their notes there.
    Silent,
}

use Effect::*;

impl Effect {
    /// What happens, for the table.
    pub fn says(self) -> &'static str {
        match self {
            Listen => "the new address is listened on, then the old one is closed; connections stay",
            Tls => {
                "new connections speak TLS with the certificate as it is now, or none; who is connected stays"
            }
            Credentials => {
                "connections that rest on the old shared credential alone are closed (4001 `gateway auth changed`); \
                 devices stay"
            }
            Limits => "from the next wrong guess on; what was counted stays counted",
            NextConnect => "for who connects next; who is connected stays",
            NextCall => "for the next call of a node's command",
            Log => "from the next line of the journal on",
            NextAnswer => "from the next answer that tells it",
            Reload => "for the next change of the file",
            Commands => "for the next command of this host",
            Unsupported => "nothing: not in this version, and the gateway says so",
            Unused => "nothing: kept, and not used by this version",
            Silent => "nothing",
        }
    }

    /// The words for the journal, after "applied".
    pub fn done(self) -> &'static str {
        match self {
            Listen => "listeners",
            Tls => "TLS of new connections",
            Credentials => "shared credential",
            Limits => "limits of guessing",
            NextConnect => "next connects",
            NextCall => "next node calls",
            Log => "journal",
            NextAnswer => "next answers",
            Reload => "reloading",
            Commands => "this host's commands",
            Unsupported => "nothing (not supported)",
            Unused => "nothing (not used)",
            Silent => "nothing",
        }
    }

    /// Whether the running gateway has something to do or to use.
    pub fn acts(self) -> bool {
        self < Unsupported
    }
}

/// A row of the table: the beginning of a path, and what a change there does.
type Row = (&'static str, Effect);

/// Every key that Barnacle acts on, and the sections that it does not.
pub const TABLE: &[Row] = &[
    ("gateway.port", Listen),
    ("gateway.bind", Listen),
    ("gateway.customBindHost", Listen),
    ("gateway.tls.enabled", Tls),
    ("gateway.tls.autoGenerate", Tls),
    ("gateway.tls.certPath", Tls),
    ("gateway.tls.keyPath", Tls),
    ("gateway.tls.caPath", Unsupported),
    ("gateway.auth.mode", Credentials),
    ("gateway.auth.token", Credentials),
    ("gateway.auth.password", Credentials),
    ("gateway.auth.rateLimit", Limits),
    ("gateway.auth.deviceKeyProof", NextConnect),
    ("gateway.auth.revokeOnRotate", Credentials),
    ("gateway.auth.allowTailscale", Unsupported),
    ("gateway.auth.trustedProxy", Unsupported),
    ("gateway.auth.identityScopes", Unsupported),
    ("gateway.trustedProxies", NextConnect),
    ("gateway.handshakeTimeoutMs", NextConnect),
    ("gateway.controlUi.allowedOrigins", NextConnect),
    ("gateway.controlUi.allowInsecureAuth", NextConnect),
    ("gateway.controlUi.dangerouslyDisableDeviceAuth", NextConnect),
    ("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback", NextConnect),
    ("gateway.nodes.pairing.autoApproveLocal", NextConnect),
    ("gateway.nodes.commands.deny", NextCall),
    ("gateway.nodes.denyCommands", NextCall),
    ("gateway.http.securityHeaders.strictTransportSecurity", NextAnswer),
    ("gateway.reload.mode", Reload),
    ("gateway.reload.debounceMs", Reload),
    ("gateway.mode", Commands),
    ("gateway.remote", Commands),
    ("gateway.tailscale", Unsupported),
    ("gateway", Unused),
    ("logging.level", Log),
    ("logging.consoleLevel", Log),
    ("session.mainKey", NextAnswer),
    ("session.scope", NextAnswer),
    ("agents.entries", NextAnswer),
    ("agents.list", NextAnswer),
    ("agents.defaults.systemAgent.agentId", NextAnswer),
    ("agents.defaults.model", NextAnswer),
    ("agents.defaults.contextTokens", NextAnswer),
    ("agents.defaults.heartbeat.every", NextAnswer),
    ("secrets", Credentials),
    ("env", Credentials),
    ("meta", Silent),
    ("wizard", Silent),
    ("plugins.installs", Silent),
    ("$schema", Silent),
];

/// What is done about the value at `path`, one that stands within no row's included.
pub fn effect(path: &KeyPath) -> Effect {
    let fits = TABLE.iter().filter(|(prefix, _)| path.is_within(prefix));
    fits.max_by_key(|(prefix, _)| prefix.len()).map_or(Unused, |(_, effect)| *effect)
}

/// What a set of changes comes to.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// Each change, and what is done about it.
    pub changes: Vec<(Change, Effect)>,
    /// What is done in all.
    pub effects: BTreeSet<Effect>,
}

/// The plan for `changes`. A value that holds others counts as all of them.
pub fn plan(changes: Vec<Change>) -> Plan {
    let mut plan = Plan::default();
    for change in changes {
        let own = effect(&change.path);
        let within = TABLE.iter().filter(|(prefix, _)| change.path.holds(prefix)).map(|(_, effect)| *effect);
        plan.effects.extend(within.chain([own]));
        plan.changes.push((change, own));
    }
    plan
}

impl Plan {
    /// The changes in a line, no more than a few of them by name.
    pub fn paths(&self) -> String {
        const SHOWN: usize = 6;
        let told = self.changes.iter().filter(|(_, effect)| *effect != Silent);
        let paths: Vec<String> = told.map(|(change, _)| change.to_string()).collect();
        match paths.len() {
            0 => "nothing that is told".into(),
            n if n > SHOWN => format!("{} and {} more", paths[..SHOWN].join(", "), n - SHOWN),
            _ => paths.join(", "),
        }
    }

    /// What is done, in a line.
    pub fn done(&self) -> String {
        let words: Vec<_> = self.effects.iter().filter(|e| e.acts()).map(|e| e.done()).collect();
        match (words.is_empty(), self.effects.first()) {
            (false, _) => words.join(", "),
            (true, Some(effect)) => effect.done().into(),
            (true, None) => "nothing".into(),
        }
    }
}

/// The table in Markdown.
pub fn table() -> String {
    let mut text = String::from("| key | what a change does, without a restart |\n| --- | --- |\n");
    for (n, (prefix, effect)) in TABLE.iter().enumerate() {
        if TABLE[..n].iter().any(|(_, earlier)| earlier == effect) {
            continue;
        }
        let all = TABLE.iter().filter(|(_, other)| other == effect);
        let names: Vec<_> = all.map(|(prefix, _)| format!("`{}`", name(prefix))).collect();
        debug_assert!(!prefix.is_empty());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} |", names.join(", "), effect.says());
    }
    let _ = writeln!(text, "| everything else | {} |", Unused.says());
    text
}

/// A prefix as the table shows it: a section by what is left of it.
fn name(prefix: &str) -> String {
    let inner =
        TABLE.iter().any(|(other, _)| other.len() > prefix.len() && KeyPath::dotted(other).is_within(prefix));
    if inner { format!("{prefix}.* (the rest)") } else { prefix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_counts() {
        for (path, expected) in [
            ("gateway.port", Listen),
            ("gateway.auth.rateLimit.maxAttempts", Limits),
            ("gateway.ports", Unused),
            ("gateway.controlUi.basePath", Unused),
            ("gateway.auth.token.id", Credentials),
            ("channels.whatsapp.ackReaction.group", Unused),
            ("channels.whatsapp.allowFrom", Unused),
            ("meta.lastTouchedVersion", Silent),
            ("invented", Unused),
            ("logging.level", Log),
        ] {
            assert_eq!(effect(&KeyPath::dotted(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_value_that_holds_others_counts_as_all_of_them() {
        let whole = |path| Change { path: KeyPath::dotted(path), was: true, is: true };
        let effects = plan(vec![whole("gateway.auth")]).effects;
        assert_eq!(
            effects.into_iter().collect::<Vec<_>>(),
            [Credentials, Limits, NextConnect, Unsupported, Unused]
        );
        assert!(plan(vec![whole("")]).effects.contains(&Log));
    }
}
