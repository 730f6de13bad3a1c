//! The methods of protocol 4, to distinguish one that only OpenClaw has from one that does not exist. `methods.tsv`
//! lists each with its scope; source: `protocol.schema.json`, and for those it does not list the table of scopes of
//! OpenClaw 2026.9.6. What its plugins add is not among them.

/// The scope OpenClaw asks for a method of protocol 4; `None` if it has no such method.
pub fn openclaw_scope(method: &str) -> Option<&'static str> {
    include_str!("methods.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(name, _)| *name == method)
        .map(|(_, scope)| scope)
}

/// Methods that OpenClaw 2026.9.6 advertises and that its plugins add. No list of its own gives their scopes.
const OF_PLUGINS: &[&str] = &[
    "browser.request",
    "github.detail",
    "github.image",
    "github.preview",
    "memory.sessionBackfill.apply",
    "memory.sessionBackfill.preview",
    "memory.sessionBackfill.rollback",
];

/// Whether OpenClaw, or a plugin that comes with it, has this method.
pub fn is_openclaws(method: &str) -> bool {
    openclaw_scope(method).is_some() || OF_PLUGINS.contains(&method)
}
