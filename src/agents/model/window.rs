//! The tokens that a model takes, where the configuration does not say: its server is asked.
//!
//! `GET <baseUrl>/models` (vLLM, OpenRouter, LM Studio), and of a server on this host or its network `/props` (llama.cpp) and
//! `/api/show` (Ollama). One that says nothing is asked again after a while.

use super::{Endpoint, WINDOW};
use crate::{
    outbound::{Body, Limits, Trust, Url, http::request},
    protocol::json,
};
use hyper::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT},
};
use nanoserde::SerJson;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Time for a question.
const TIME: Duration = Duration::from_secs(3);
/// Most bytes of an answer: the models of a broker are many.
const ANSWER: usize = 4 << 20;
/// How long an answer holds, and for how long a server that gave none is not asked again.
const HOLDS: Duration = Duration::from_secs(3600);
const SILENT: Duration = Duration::from_secs(300);
/// Tokens that Ollama takes of a model whose file does not say how many, whatever the model takes.
const OLLAMA: u64 = 4096;
/// Fewer tokens than any conversation takes, which no server means.
const LEAST: u64 = 256;

/// What servers said.
#[derive(Default)]
pub struct Windows(RefCell<BTreeMap<String, (Option<u64>, Instant)>>);

impl Windows {
    /// The tokens that the model at `endpoint` takes: as configured, as its server says, or few.
    pub async fn of(&self, endpoint: &Endpoint) -> u64 {
        if let Some(window) = endpoint.configured {
            return window;
        }
        let name = format!("{} {}", endpoint.base, endpoint.model);
        let known = self.0.borrow().get(&name).copied();
        let holds =
            |(said, at): &(Option<u64>, Instant)| at.elapsed() < if said.is_some() { HOLDS } else { SILENT };
        if let Some((said, _)) = known.filter(holds) {
            return said.unwrap_or(WINDOW);
        }
        let said = ask(endpoint).await;
        // A server that is away for a moment takes what it took before.
        let said = said.or(known.and_then(|(said, _)| said));
        self.0.borrow_mut().insert(name, (said, Instant::now()));
        let (provider, model) = (&endpoint.provider, &endpoint.model);
        match said {
            Some(tokens) => log::info!("{provider}/{model} takes {tokens} tokens, as its server says"),
            None => log::info!(
                "{provider}/{model}: its server does not say how many tokens it takes, so {WINDOW} it is; contextWindow of \
                 its row in models.providers.{provider}.models says otherwise"
            ),
        }
        said.unwrap_or(WINDOW)
    }
}

/// Asks the server, one way after the other.
async fn ask(endpoint: &Endpoint) -> Option<u64> {
    let base = endpoint.base.trim_end_matches('/');
    let root = base.strip_suffix("/v1").unwrap_or(base);
    let model = endpoint.model.as_str();
    let near = Url::parse(base).is_ok_and(|url| super::is_near(&url));
    if near {
        if let Some(text) = get(endpoint, &format!("{root}/props"), None).await
            && let Some(tokens) = of_llama_cpp(&text)
        {
            return Some(tokens);
        }
        let show = format!(r#"{{"model":{}}}"#, model.serialize_json());
        if let Some(text) = get(endpoint, &format!("{root}/api/show"), Some(show)).await
            && let Some(tokens) = of_ollama(&text)
        {
            return Some(tokens);
        }
    }
    let text = get(endpoint, &format!("{base}/models"), None).await?;
    of_list(&text, model)
}

/// The body of an answer to a request, if there is a good one.
async fn get(endpoint: &Endpoint, url: &str, body: Option<String>) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut sent = Request::new(Body::from(body.clone().unwrap_or_default()));
    *sent.method_mut() = if body.is_some() { Method::POST } else { Method::GET };
    let headers = sent.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("barnacle/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in endpoint.dialect.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(key) = endpoint.key.as_ref().and_then(crate::config::Secret::reveal) {
        let (name, value) = (endpoint.dialect.key)(key);
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).ok()?);
    }
    let limits = Limits { connect: TIME, idle: Some(TIME), deadline: Some(TIME) };
    let mut answer = request(&url, &Trust::Authorities, &limits, sent).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    String::from_utf8(answer.bytes(ANSWER).await.ok()?).ok()
}

fn number(object: &str, path: &[&str]) -> Option<u64> {
    let value = path.iter().try_fold(object, |object, name| json::member(object, name))?;
    value.parse().ok().filter(|tokens| *tokens >= LEAST)
}

/// llama.cpp: `default_generation_settings.n_ctx`, or `n_ctx`.
fn of_llama_cpp(props: &str) -> Option<u64> {
    number(props, &["default_generation_settings", "n_ctx"]).or_else(|| number(props, &["n_ctx"]))
}

/// Ollama: `num_ctx` of the model's file, else what it takes by itself of a model that takes more.
fn of_ollama(show: &str) -> Option<u64> {
    let parameters = json::member(show, "parameters").and_then(json::text).unwrap_or_default();
    let said = parameters.lines().find_map(|line| line.trim().strip_prefix("num_ctx")?.trim().parse().ok());
    let info = json::member(show, "model_info")?;
    let trained =
        json::members(info).find(|(name, _)| name.ends_with(".context_length"))?.1.parse::<u64>().ok()?;
    Some(said.unwrap_or(OLLAMA).min(trained)).filter(|tokens| *tokens >= LEAST)
}

/// A list of models: `max_model_len` (vLLM), `context_length` (OpenRouter), `loaded_context_length` or
/// `max_context_length` (LM Studio).
fn of_list(list: &str, model: &str) -> Option<u64> {
    const NAMES: [&str; 4] =
        ["loaded_context_length", "max_model_len", "context_length", "max_context_length"];
    let is = |row: &&str| json::member(row, "id").and_then(json::text).as_deref() == Some(model);
    let row = json::items(json::member(list, "data")?).find(is)?;
    NAMES.iter().find_map(|name| number(row, &[name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say() {
        let llama = r#"{"default_generation_settings":{"id":0,"n_ctx":16384},"total_slots":1}"#;
        assert_eq!(of_llama_cpp(llama), Some(16384));
        assert_eq!(of_llama_cpp(r#"{"n_ctx":2048}"#), Some(2048));
        assert_eq!(of_llama_cpp(r#"{"n_ctx":0}"#), None);
        assert_eq!(of_llama_cpp("<html>"), None);
        let ollama = |parameters: &str, trained: u64| {
            format!(
                r#"{{"parameters":"{parameters}","model_info":{{"general.architecture":"llama","llama.context_length":{trained}}}}}"#
            )
        };
        let rows = [
            ("stop \\\"x\\\"\\nnum_ctx                        32768", 131_072, Some(32_768)),
            ("num_ctx 32768", 8192, Some(8192)),
            ("", 131_072, Some(4096)),
            ("", 2048, Some(2048)),
            ("", 0, None),
        ];
        for (parameters, trained, expected) in rows {
            assert_eq!(of_ollama(&ollama(parameters, trained)), expected, "{parameters} {trained}");
        }
        assert_eq!(of_ollama(r#"{"error":"model 'x' not found"}"#), None);
        let list = r#"{"object":"list","data":[{"id":"a","max_model_len":7000},{"id":"b\/c","context_length":9000},
            {"id":"d","loaded_context_length":4096,"max_context_length":32768},{"id":"e"}]}"#;
        for (model, expected) in
            [("a", Some(7000)), ("b/c", Some(9000)), ("d", Some(4096)), ("e", None), ("f", None)]
        {
            assert_eq!(of_list(list, model), expected, "{model}");
        }
    }
}
