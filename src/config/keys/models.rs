//! Keys of model servers.

use super::{
    Effect::*,
    Key,
    Kind::{self, *},
    Visibility::{self, *},
    key, number, section,
};

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    section("models.providers.*", NextRun),
    key("models.providers.*.baseUrl", Text, NextRun, Unknown,
        "Model Server", "Where it is, such as \"http://127.0.0.1:11434/v1\"."),
    key("models.providers.*.apiKey", Kind::Secret, NextRun, Visibility::Secret,
        "Model Server Key", "The key that is sent to it, ${VAR}, or a SecretRef; none for a local one."),
    key("models.providers.*.api", Text, NextRun, Public,
        "Model Server API", "The protocol that it speaks: openai-completions, which it is without the key, or anthropic-messages."),
    key("models.providers.*.timeoutSeconds", number(1, 86_400, None), NextRun, Public,
        "Model Silence", "How long nothing may come of an answer; 120 s without the key, 300 s on this host and its network."),
    key("models.providers.*.models", Objects, NextRun, Unknown,
        "Models", "The models that it has."),
    key("models.providers.*.models.*.id", Text, NextRun, Public,
        "Model Id", "Name of the model at the server."),
    key("models.providers.*.models.*.name", Text, NextRun, Public,
        "Model Name", "Name of the model for people."),
    key("models.providers.*.models.*.contextWindow", number(1, 100_000_000, None), NextRun, Public,
        "Context Window", "Tokens that the model takes; 8192 without the key."),
    key("models.providers.*.models.*.maxTokens", number(1, 100_000_000, None), NextRun, Public,
        "Answer Limit", "Tokens of an answer."),
];
