//! `models.providers`: model servers, and the models that they have.

use super::tree::Section;
use crate::config::credentials::{reference::Resolver, secret::Credential};
use std::time::Duration;

/// A model server.
pub struct Provider {
    /// Its name, which stands before the model's in `provider/model`.
    pub id: String,
    /// `baseUrl`, without a slash at its end.
    pub base_url: String,
    /// `apiKey`.
    pub key: Credential,
    /// `api`: the protocol that it speaks.
    pub api: Option<String>,
    /// `timeoutSeconds`: time without a byte of an answer.
    pub timeout: Option<Duration>,
    /// `models`.
    pub models: Vec<Model>,
}

/// A model of a server.
pub struct Model {
    /// Its name at the server.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// `contextWindow`, tokens.
    pub window: Option<u64>,
    /// `maxTokens` of an answer.
    pub max_tokens: Option<u64>,
}

/// Reads `models.providers` below `root`.
pub(super) fn decode(root: &Section<'_>, resolver: &Resolver<'_>) -> Vec<Provider> {
    let providers = root.section("models").section("providers");
    let read = |id: &str| {
        let section = providers.section(id);
        let path = format!("models.providers.{id}.apiKey");
        let models = section.sections("models", "as if it were not there");
        Provider {
            id: id.to_owned(),
            base_url: section.text("baseUrl").unwrap_or_default().trim_end_matches('/').to_owned(),
            key: resolver.credential(&section, "apiKey", &path, "no key is sent"),
            api: section.text("api").map(|api| api.into_owned()),
            timeout: section.number("timeoutSeconds").map(Duration::from_secs),
            models: models.iter().filter_map(model).collect(),
        }
    };
    providers.names().map(read).collect()
}

fn model(section: &Section<'_>) -> Option<Model> {
    let (id, name) = (section.text("id"), section.text("name"));
    let (window, max_tokens) = (section.number("contextWindow"), section.number("maxTokens"));
    let id = id?.into_owned();
    let name = name.map_or_else(|| id.clone(), |name| name.into_owned());
    Some(Model { id, name, window, max_tokens })
}
