//! The method table: what Barnacle answers, and who may ask.
//!
//! `methods.tsv` lists every method of protocol 4 with its scope (from `protocol.schema.json`), so that
//! a method OpenClaw has and Barnacle not yet can be told from one that nobody has.

use super::Scope;

/// Who may call a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Operators with this scope.
    Operator(Scope),
    /// Nodes.
    Node,
}

use Access::{Node, Operator};

/// Every method that is served, in the order `features.methods` lists them. `device.pair.setupCode` and
/// `device.pair.setupStatus` are served but, as in OpenClaw, not advertised.
const SERVED: [(&str, Access); 37] = [
    ("health", Operator(Scope::Read)),
    ("status", Operator(Scope::Read)),
    ("logs.tail", Operator(Scope::Read)),
    ("config.get", Operator(Scope::Read)),
    ("config.plan", Operator(Scope::Admin)),
    ("config.set", Operator(Scope::Admin)),
    ("config.patch", Operator(Scope::Admin)),
    ("config.apply", Operator(Scope::Admin)),
    ("config.schema", Operator(Scope::Read)),
    ("config.schema.lookup", Operator(Scope::Read)),
    ("last-heartbeat", Operator(Scope::Read)),
    ("gateway.identity.get", Operator(Scope::Read)),
    ("gateway.restart.preflight", Operator(Scope::Read)),
    ("gateway.restart.request", Operator(Scope::Admin)),
    ("system-presence", Operator(Scope::Read)),
    ("device.pair.list", Operator(Scope::Pairing)),
    ("device.pair.approve", Operator(Scope::Pairing)),
    ("device.pair.reject", Operator(Scope::Pairing)),
    ("device.pair.remove", Operator(Scope::Pairing)),
    ("device.pair.rename", Operator(Scope::Pairing)),
    ("device.token.rotate", Operator(Scope::Pairing)),
    ("device.token.revoke", Operator(Scope::Pairing)),
    ("node.pair.list", Operator(Scope::Pairing)),
    ("node.pair.approve", Operator(Scope::Pairing)),
    ("node.pair.reject", Operator(Scope::Pairing)),
    ("node.pair.remove", Operator(Scope::Pairing)),
    ("node.list", Operator(Scope::Read)),
    ("node.describe", Operator(Scope::Read)),
    ("node.rename", Operator(Scope::Pairing)),
    ("node.invoke", Operator(Scope::Write)),
    ("node.invoke.result", Node),
    ("node.event", Node),
    ("node.pending.pull", Node),
    ("node.pending.ack", Node),
    ("node.pending.drain", Node),
    ("device.pair.setupCode", Operator(Scope::Admin)),
    ("device.pair.setupStatus", Operator(Scope::Admin)),
];

/// Those that are Barnacle's own.
#[cfg(test)]
const OWN: [&str; 1] = ["config.plan"];

const UNADVERTISED: usize = 2;

/// Who may call `method`; `None` if it is not served.
pub fn access(method: &str) -> Option<Access> {
    SERVED.iter().find(|(name, _)| *name == method).map(|(_, access)| *access)
}

/// The names `features.methods` lists.
pub fn names() -> impl Iterator<Item = &'static str> {
    SERVED[..SERVED.len() - UNADVERTISED].iter().map(|(name, _)| *name)
}

/// The scope OpenClaw asks for a method of protocol 4; `None` if no version of it has the method.
pub fn openclaw_scope(method: &str) -> Option<&'static str> {
    include_str!("methods.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(name, _)| *name == method)
        .map(|(_, scope)| scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_of_the_schema() {
        for (name, access) in SERVED.into_iter().filter(|(name, _)| !OWN.contains(name)) {
            let expected = match access {
                Operator(scope) if name != "node.invoke" => scope.as_str(),
                Operator(_) => "dynamic",
                Node => "node",
            };
            assert_eq!(openclaw_scope(name), Some(expected), "{name}");
        }
        assert_eq!(openclaw_scope("no.such.method"), None);
    }
}
