//! Models at their servers: asked over HTTP, in the dialect that the server speaks, and heard as they stream.
//!
//! [`dialect`] has a row for each protocol, [`sse`] reads the stream, and [`reply`] puts the answer together. Why there is
//! none is an [`error`].

mod anthropic;
mod dialect;
mod error;
mod openai;
mod reply;
mod sse;
mod window;

pub use dialect::{Choice, DIALECTS, Offer, Prompt};
pub use error::{Cure, ModelError};
pub use reply::{NO_JSON, Reply};
pub use window::Windows;

use crate::{
    config::{
        Secret,
        credentials::secret::Credential,
        model::models::{Model, Provider},
    },
    outbound::{
        Body, Limits, RequestError, Trust, Url,
        http::{Answer, request},
    },
};
use dialect::{Dialect, dialect};
use error::words;
use hyper::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use reply::{Assembly, Piece};
use sse::EventStream;
use std::time::Duration;

/// Most bytes of an answer that says what is wrong.
const COMPLAINT: usize = 64 << 10;
/// Time without a byte of an answer: elsewhere, and on this host or its network, where a model may have to be loaded.
const SILENCE: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(300)];
/// Tokens of a model that does not say what it takes.
const WINDOW: u64 = 8192;

/// A model at its server.
#[derive(Clone)]
pub struct Endpoint {
    /// Name of the server.
    pub provider: String,
    /// Name of the model there.
    pub model: String,
    /// Tokens that it takes, its answer's included, where the configuration says it.
    configured: Option<u64>,
    /// `baseUrl` of its server.
    base: String,
    dialect: &'static Dialect,
    url: Url,
    key: Option<Secret>,
    silence: Duration,
    max_tokens: Option<u64>,
}

impl Endpoint {
    /// The model `model` at `provider`; `window` is its size where the model's own row does not say.
    ///
    /// # Errors
    /// In words, what is wrong with the configuration.
    pub fn of(provider: &Provider, model: &str, window: Option<u64>) -> Result<Self, String> {
        let id = &provider.id;
        let Some(dialect) = dialect(provider.api.as_deref()) else {
            let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
            return Err(format!(
                "models.providers.{id}.api is {:?}, and this version of Barnacle speaks {}",
                provider.api.as_deref().unwrap_or_default(),
                known.join(" and ")
            ));
        };
        let url = Url::parse(&(dialect.path)(&provider.base_url)).map_err(|_| {
            format!(
                "models.providers.{id}.baseUrl is {:?}, must be http://<host>:<port>/v1 or https://…",
                provider.base_url
            )
        })?;
        let key = match &provider.key {
            Credential::Absent => None,
            Credential::Given(secret) => Some(secret.clone()),
            Credential::Unresolved { path, why, .. } => return Err(format!("{path}: {why}")),
        };
        let known: Option<&Model> = provider.models.iter().find(|known| known.id == model);
        Ok(Self {
            provider: id.clone(),
            model: model.to_owned(),
            configured: known.and_then(|known| known.window).or(window),
            base: provider.base_url.clone(),
            dialect,
            key,
            silence: provider.timeout.unwrap_or(SILENCE[usize::from(is_near(&url))]),
            url,
            max_tokens: known.and_then(|known| known.max_tokens),
        })
    }

    /// Name of the protocol that its server speaks.
    pub fn api(&self) -> &'static str {
        self.dialect.name
    }

    /// Asks the model, and gives `each` piece of its text as it comes; the whole answer at the end.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn ask(&self, prompt: &Prompt<'_>, mut each: impl FnMut(&str)) -> Result<Reply, ModelError> {
        let mut answer = self.send((self.dialect.body)(&self.model, self.max_tokens, prompt)).await?;
        let (mut stream, mut assembly) = (EventStream::default(), Assembly::default());
        let mut take = |event: &str| -> Result<(), ModelError> {
            for piece in (self.dialect.read)(event)? {
                let text = match &piece {
                    Piece::Text(text) => Some(text.clone()),
                    _ => None,
                };
                assembly.add(piece)?;
                text.as_deref().into_iter().for_each(&mut each);
            }
            Ok(())
        };
        while let Some(chunk) = answer.chunk().await? {
            stream.push(&chunk)?.iter().try_for_each(|event| take(event))?;
        }
        stream.finish()?.iter().try_for_each(|event| take(event))?;
        assembly.finish()
    }

    async fn send(&self, body: String) -> Result<Answer, ModelError> {
        let bad = |why: &str| ModelError::Connection(RequestError::BadRequest(why.into()));
        let mut sent = Request::new(Body::from(body));
        *sent.method_mut() = Method::POST;
        let headers = sent.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("barnacle/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in self.dialect.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some(key) = self.key.as_ref().and_then(Secret::reveal) {
            let (name, value) = (self.dialect.key)(key);
            let value = HeaderValue::try_from(value).map_err(|_| bad("apiKey is no header value"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let limits = Limits { idle: Some(self.silence), deadline: None, ..Limits::default() };
        let mut answer = request(&self.url, &Trust::Authorities, &limits, sent).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = answer.status.as_u16();
        let body = answer.bytes(COMPLAINT).await.unwrap_or_default();
        let words = words(&String::from_utf8_lossy(&body));
        Err(ModelError::Refused(status, words, wait.map(Duration::from_secs)))
    }
}

/// Whether a server is on this host or its network.
fn is_near(url: &Url) -> bool {
    use std::net::IpAddr;
    let near = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let host = url.host();
    host.parse::<IpAddr>().is_ok_and(near) || host == "localhost" || host.ends_with(".local")
}
