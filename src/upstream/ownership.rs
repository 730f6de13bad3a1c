//! Whose is what: which methods this gateway answers itself, and which go to the gateway behind it.
//!
//! A method that no row names is relayed, so that one that a newer OpenClaw adds needs no change here.

use crate::{
    hub::Conn,
    protocol::{ErrorShape, Role, Scope, openclaw_scope},
};

/// The gateway that answers a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// This gateway.
    Own,
    /// The gateway behind this one.
    Upstream,
    /// This gateway where the one behind it reads the same `openclaw.json`, else that one.
    SameFile,
    /// The gateway behind this one, with this one's part added; this one alone while the other is away.
    Merged,
}

use Owner::{Merged, Own, SameFile, Upstream};

/// Every method that is not simply relayed. `*` at the end stands for any rest; the first row that fits counts.
#[rustfmt::skip]
const ROWS: &[(&str, Owner)] = &[
    // Attaching, and who may: a revocation here must hold here.
    ("connect",              Own),
    ("device.pair.*",        Own),
    ("device.token.*",       Own),
    ("device.scopes.*",      Own),
    ("gateway.identity.get", Own),
    ("system-presence",      Own),
    // Must be answered while the other is away, or busy.
    ("health",               Own),
    ("gateway.restart.*",    Own),
    ("status",               Merged),
    // The file: both watch it. Its whole schema is known to OpenClaw alone.
    ("config.schema*",       Upstream),
    ("config.plan",          Own),
    ("config.*",             SameFile),
];

/// Events of the gateway behind this one that are not passed on: this gateway sends its own.
const OWN_EVENTS: &[&str] = &["connect.challenge", "tick", "shutdown", "presence", "device.pair.*"];

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// The owner of a method, where the gateway behind this one `shares` the configuration's file.
pub(crate) fn owner(method: &str, shares: bool) -> Owner {
    let row = ROWS.iter().find(|(pattern, _)| fits(pattern, method));
    match row.map_or(Upstream, |(_, owner)| *owner) {
        SameFile if shares => Own,
        SameFile => Upstream,
        owner => owner,
    }
}

/// Whether this gateway adds its part to the answer.
pub(super) fn is_merged(method: &str) -> bool {
    owner(method, false) == Merged
}

/// Whether an event of the gateway behind this one is passed on.
pub(super) fn passes(event: &str) -> bool {
    !OWN_EVENTS.iter().any(|pattern| fits(pattern, event))
}

/// Judges whether `conn` may call `method` of the gateway behind this one: by the scope that OpenClaw's own list gives,
/// and what that list does not have needs `operator.admin`. Where the scope depends on the parameters OpenClaw judges:
/// it has granted the connection no more than this gateway did.
///
/// # Errors
/// The refusal.
pub(super) fn judge(conn: &Conn, method: &str) -> Result<(), ErrorShape> {
    let role = conn.role();
    let for_whom = |whom| ErrorShape::invalid(format!("unauthorized role: {method} is for {whom}"));
    match (openclaw_scope(method), role) {
        (Some("node"), Role::Node) => Ok(()),
        (Some("node"), Role::Operator) => Err(for_whom("nodes")),
        (_, Role::Node) => Err(for_whom("operators")),
        (Some("dynamic"), Role::Operator) => Ok(()),
        (scope, Role::Operator) => {
            let scope = scope.and_then(Scope::parse).unwrap_or(Scope::Admin);
            match conn.allows(scope) {
                true => Ok(()),
                false => Err(ErrorShape::missing_scope(scope, None)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_one_owner() {
        for (method, shares, expected) in [
            ("sessions.list", true, Upstream),
            ("a.method.of.tomorrow", true, Upstream),
            ("health", true, Own),
            ("status", false, Merged),
            ("device.pair.list", false, Own),
            ("device.token.rotate", false, Own),
            ("device.scopes.requestUpgrade", false, Own),
            ("config.get", true, Own),
            ("config.get", false, Upstream),
            ("config.schema.lookup", true, Upstream),
            ("config.plan", false, Own),
            ("node.pair.list", true, Upstream),
        ] {
            assert_eq!(owner(method, shares), expected, "{method}");
        }
    }

    #[test]
    fn events_that_have_an_own_counterpart_are_dropped() {
        for (event, expected) in [
            ("chat", true),
            ("presence", false),
            ("device.pair.requested", false),
            ("node.pair.requested", true),
        ] {
            assert_eq!(passes(event), expected, "{event}");
        }
    }
}
