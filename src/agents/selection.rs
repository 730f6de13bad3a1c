//! The model of a session: the one that was chosen for it, or its agent's.

use crate::{
    config::model::{agents::Agents, models::Provider},
    sessions::Row,
};

/// Field of a session's row: the model that was chosen for it.
pub const CHOSEN: &str = "modelOverride";

/// The models that a session's runs ask.
pub struct Selection<'a> {
    /// `<server>/<model>`, or what the configuration says instead; `None` where it names none.
    pub model: Option<String>,
    /// Those that stand in for it. A model that a person chose is the only one.
    pub fallbacks: &'a [String],
    /// Whether a person chose it for this session.
    pub is_chosen: bool,
}

impl<'a> Selection<'a> {
    /// The models of a session of `agent`.
    pub fn of(agents: &'a Agents, agent: &str, row: Option<&Row>) -> Self {
        if let Some(chosen) = row.and_then(|row| row.text(CHOSEN)) {
            return Self { model: Some(chosen), fallbacks: &[], is_chosen: true };
        }
        let (model, fallbacks) = agents.model_of(agent);
        Self { model: model.map(str::to_owned), fallbacks, is_chosen: false }
    }
}

/// The whole name of the model that `wanted` means: `<server>/<model>`, or the id of a model that one server alone has.
///
/// # Errors
/// In words, with the models that there are.
pub fn whole_name(providers: &[Provider], wanted: &str) -> Result<String, String> {
    let wanted = wanted.trim();
    if let Some((provider, model)) = wanted.split_once('/')
        && !model.is_empty()
        && providers.iter().any(|known| known.id == provider)
    {
        return Ok(wanted.to_owned());
    }
    let named = |provider: &Provider| provider.models.iter().any(|model| model.id == wanted);
    let mut having = providers.iter().filter(|provider| named(provider));
    match (having.next(), having.next()) {
        (Some(provider), None) => Ok(format!("{}/{wanted}", provider.id)),
        (Some(one), Some(other)) => Err(format!(
            "{wanted} is a model of {} and of {}: say {}/{wanted} or {}/{wanted}",
            one.id, other.id, one.id, other.id
        )),
        (None, _) => {
            let known = known(providers);
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("there is no model {wanted:?}; models.providers has {known}"))
        }
    }
}

/// The whole names of the models that the configuration lists.
pub fn known(providers: &[Provider]) -> Vec<String> {
    let of = |provider: &Provider| {
        let names = provider.models.iter().map(|model| format!("{}/{}", provider.id, model.id));
        names.collect::<Vec<_>>()
    };
    providers.iter().flat_map(of).collect()
}

/// Tokens that a model takes, if the configuration says it.
pub fn window(providers: &[Provider], name: &str) -> Option<u64> {
    let (provider, model) = name.split_once('/')?;
    let provider = providers.iter().find(|known| known.id == provider)?;
    provider.models.iter().find(|known| known.id == model)?.window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{credentials::secret::Credential, model::models::Model};

    #[test]
    fn a_name_means_one_model() {
        let server = |id: &str, models: &[&str]| Provider {
            id: id.into(),
            base_url: String::new(),
            key: Credential::Absent,
            api: None,
            timeout: None,
            models: models
                .iter()
                .map(|id| Model { id: (*id).into(), name: String::new(), window: Some(7), max_tokens: None })
                .collect(),
        };
        let servers = [server("a", &["one", "both", "org/deep"]), server("b", &["two", "both"])];
        let rows = [
            ("one", Ok("a/one")),
            (" two ", Ok("b/two")),
            ("b/new", Ok("b/new")),
            ("org/deep", Ok("a/org/deep")),
            ("both", Err("say a/both or b/both")),
            ("three", Err("models.providers has a/one, a/both, a/org/deep, b/two, b/both")),
            ("a/", Err("there is no model")),
            ("c/one", Err("there is no model")),
        ];
        for (wanted, expected) in rows {
            match (whole_name(&servers, wanted), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{wanted}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{wanted}: {why}"),
                (other, _) => panic!("{wanted}: {other:?}"),
            }
        }
        assert!(whole_name(&[], "x").unwrap_err().contains("has none"));
        assert_eq!((window(&servers, "a/one"), window(&servers, "a/no")), (Some(7), None));
    }
}
