//! Keys that other values are read from (`secrets`, `env`), and notes of other programs.

use super::{Effect::*, Key, Kind, Visibility::*, key, section};

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    section("secrets", Credentials),
    key("secrets.providers.*", Kind::Any, Credentials, Unknown,
        "Secret Provider", "Where secrets are read from: {source: \"env\" or \"file\", …}."),
    key("secrets.defaults.*", Kind::Text, Credentials, Public,
        "Default Provider", "Provider of a kind of source."),
    section("env", Credentials),
    key("env.vars.*", Kind::Text, Credentials, Secret,
        "Variable", "Value of a variable that the environment does not set."),
    section("meta", Silent),
    section("wizard", Silent),
    section("plugins.installs", Silent),
    section("$schema", Silent),
];
