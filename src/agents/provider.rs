//! A request to a model server that speaks `openai-completions`, and its answer as it streams.

use super::sse::{EventStream, TooLong};
use crate::{
    config::{Secret, model::models::Provider},
    outbound::{
        Body, Limits, RequestError, Trust, Url,
        http::{Answer, request},
    },
    protocol::json,
};
use hyper::{
    Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use std::{fmt, time::Duration};

/// Most bytes of an answer that says what is wrong.
const COMPLAINT: usize = 64 << 10;
/// Most bytes of a text that a model says in one answer.
const TEXT: usize = 4 << 20;
/// Time without a byte of an answer: elsewhere, and on this host or its network, where a model may have to be loaded.
const SILENCE: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(300)];

/// A model at its server.
#[derive(Clone)]
pub struct Endpoint {
    /// Name of the server.
    pub provider: String,
    /// Name of the model there.
    pub model: String,
    url: Url,
    key: Option<Secret>,
    silence: Duration,
    max_tokens: Option<u64>,
}

/// Why a model gave no whole answer.
#[derive(Debug)]
pub enum ModelError {
    /// The server said no: status, its words, and how long to wait.
    Refused(u16, String, Option<Duration>),
    /// There is no connection, or it broke.
    Connection(RequestError),
    /// The stream ended before its end was said.
    Cut,
    /// What it sent is no such stream.
    NotAStream(String),
    /// The stream said that something went wrong.
    Said(String),
    /// An event, or all of the text, is too long.
    TooLong(String),
    /// It answered with nothing.
    Empty,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(401 | 403, words, _) => {
                write!(f, "the server refuses the key ({words}); see apiKey")
            }
            Self::Refused(404, words, _) => {
                write!(f, "the server has no such model or path ({words}); see baseUrl and the model's id")
            }
            Self::Refused(429, words, _) => write!(f, "the server has had too many requests ({words})"),
            Self::Refused(status, words, _) => write!(f, "the server answered {status} ({words})"),
            Self::Connection(e) => e.fmt(f),
            Self::Cut => f.write_str("the server ended its answer in the middle"),
            Self::NotAStream(what) => {
                write!(f, "the answer is no stream of openai-completions: {what}; see baseUrl")
            }
            Self::Said(words) => write!(f, "the server says: {words}"),
            Self::TooLong(what) => f.write_str(what),
            Self::Empty => f.write_str("the model said nothing"),
        }
    }
}

impl From<RequestError> for ModelError {
    fn from(e: RequestError) -> Self {
        Self::Connection(e)
    }
}

impl From<TooLong> for ModelError {
    fn from(e: TooLong) -> Self {
        Self::TooLong(e.to_string())
    }
}

impl ModelError {
    /// Whether the same request may do better later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(status, ..) => matches!(status, 408 | 409 | 425 | 429 | 500..=599),
            Self::Connection(e) => !matches!(e, RequestError::BadRequest(_)),
            Self::Cut | Self::Said(_) => true,
            Self::NotAStream(_) | Self::TooLong(_) | Self::Empty => false,
        }
    }

    /// The time for which the server wants to be left alone.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refused(_, _, wait) => *wait,
            _ => None,
        }
    }

    /// `errorKind` of an event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(429, ..) => "rate_limit",
            Self::Connection(RequestError::Idle(_) | RequestError::Deadline(_)) => "timeout",
            Self::Refused(400 | 413, words, _) if words.contains("context") => "context_length",
            _ => "unknown",
        }
    }
}

/// Tokens of an answer, as the server counts them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Of the request.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Piece {
    /// Text of the answer.
    pub text: String,
    /// Why the model ended, once it has.
    pub finish: Option<String>,
    /// The count of tokens, once it is said.
    pub usage: Option<Usage>,
}

/// What a model said.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    pub text: String,
    pub finish: String,
    pub usage: Usage,
}

impl Endpoint {
    /// The model `model` at `provider`.
    ///
    /// # Errors
    /// In words, what is wrong with the configuration.
    pub fn of(provider: &Provider, model: &str) -> Result<Self, String> {
        use crate::config::credentials::secret::Credential;
        let id = &provider.id;
        if let Some(api) = provider.api.as_deref().filter(|api| *api != "openai-completions") {
            return Err(format!(
                "models.providers.{id}.api is {api:?}, and this version of Barnacle speaks openai-completions alone"
            ));
        }
        let url = Url::parse(&format!("{}/chat/completions", provider.base_url)).map_err(|_| {
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
        let near = url.host().parse::<std::net::IpAddr>().is_ok_and(|ip| match ip {
            std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
            std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
        });
        let near = near || url.host() == "localhost" || url.host().ends_with(".local");
        let known = provider.models.iter().find(|known| known.id == model);
        Ok(Self {
            provider: id.clone(),
            model: model.to_owned(),
            url,
            key,
            silence: provider.timeout.unwrap_or(SILENCE[usize::from(near)]),
            max_tokens: known.and_then(|known| known.max_tokens),
        })
    }

    /// Asks the model to go on from `messages`, and gives `each` piece as it comes; the whole at the end.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn ask(&self, messages: &str, mut each: impl FnMut(&str)) -> Result<Reply, ModelError> {
        let mut answer = self.send(messages).await?;
        let (mut stream, mut reply, mut ended) = (EventStream::default(), Reply::default(), false);
        let mut take = |event: &str, reply: &mut Reply, ended: &mut bool| -> Result<(), ModelError> {
            if event.trim() == "[DONE]" {
                *ended = true;
                return Ok(());
            }
            let piece = Piece::read(event)?;
            if !piece.text.is_empty() {
                if reply.text.len() + piece.text.len() > TEXT {
                    return Err(ModelError::TooLong(format!("the model said more than {TEXT} bytes")));
                }
                reply.text.push_str(&piece.text);
                each(&piece.text);
            }
            if let Some(finish) = piece.finish {
                (reply.finish, *ended) = (finish, true);
            }
            reply.usage = piece.usage.unwrap_or(reply.usage);
            Ok(())
        };
        while let Some(chunk) = answer.chunk().await? {
            for event in stream.push(&chunk)? {
                take(&event, &mut reply, &mut ended)?;
            }
        }
        if let Some(event) = stream.finish()? {
            take(&event, &mut reply, &mut ended)?;
        }
        match (ended, reply.text.trim().is_empty()) {
            (false, _) => Err(ModelError::Cut),
            (true, true) => Err(ModelError::Empty),
            (true, false) => Ok(reply),
        }
    }

    async fn send(&self, messages: &str) -> Result<Answer, ModelError> {
        use nanoserde::SerJson;
        let most = self.max_tokens.map_or(String::new(), |most| format!(r#","max_tokens":{most}"#));
        let body = format!(
            r#"{{"model":{},"stream":true,"stream_options":{{"include_usage":true}}{most},"messages":{messages}}}"#,
            self.model.serialize_json()
        );
        let bad = |why: &str| ModelError::Connection(RequestError::BadRequest(why.into()));
        let mut sent = Request::new(Body::from(body));
        *sent.method_mut() = Method::POST;
        let headers = sent.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("barnacle/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = self.key.as_ref().and_then(Secret::reveal) {
            let bearer = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| bad("apiKey is no header value"))?;
            headers.insert(AUTHORIZATION, bearer);
        }
        let limits = Limits { idle: Some(self.silence), deadline: None, ..Limits::default() };
        let mut answer = request(&self.url, &Trust::Authorities, &limits, sent).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = answer.status.as_u16();
        let body = answer.bytes(COMPLAINT).await.unwrap_or_default();
        Err(ModelError::Refused(
            status,
            words(&String::from_utf8_lossy(&body)),
            wait.map(Duration::from_secs),
        ))
    }
}

/// What a server says is wrong: the message of its JSON, or the beginning of anything else.
fn words(body: &str) -> String {
    let said = error_message(body).unwrap_or_else(|| body.to_owned());
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.is_empty() {
        true => "without a word".into(),
        false => line.chars().filter(|c| !c.is_control()).take(300).collect(),
    }
}

/// `error.message`, or `error` itself, of a JSON object.
fn error_message(object: &str) -> Option<String> {
    let error = member(object, "error")?;
    text(error).or_else(|| text(member(error, "message")?))
}

fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    json::members(object).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn text(value: &str) -> Option<String> {
    let raw = value.strip_prefix('"')?.strip_suffix('"')?;
    Some(json::unescape(raw).into_owned())
}

impl Piece {
    /// Reads the data of an event.
    fn read(event: &str) -> Result<Self, ModelError> {
        let mut scanner = json::Scanner::new(event);
        let is_object = scanner.peek() == Some(b'{') && scanner.skip().is_ok();
        if !is_object {
            return Err(ModelError::NotAStream(words(event)));
        }
        if member(event, "error").is_some_and(|error| error != "null") {
            return Err(ModelError::Said(words(event)));
        }
        let count =
            |usage: &str, name: &str| member(usage, name).and_then(|n| n.parse().ok()).unwrap_or_default();
        let usage = member(event, "usage").filter(|usage| usage.starts_with('{')).map(|usage| Usage {
            input: count(usage, "prompt_tokens"),
            output: count(usage, "completion_tokens"),
        });
        let choice = member(event, "choices").and_then(|choices| json::items(choices).next());
        let delta = choice.and_then(|choice| member(choice, "delta"));
        Ok(Self {
            text: delta.and_then(|delta| text(member(delta, "content")?)).unwrap_or_default(),
            finish: choice.and_then(|choice| text(member(choice, "finish_reason")?)),
            usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_several_servers() {
        let piece = |text: &str, finish: Option<&str>, usage: Option<(u64, u64)>| Piece {
            text: text.into(),
            finish: finish.map(str::to_owned),
            usage: usage.map(|(input, output)| Usage { input, output }),
        };
        let rows = [
            (
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                piece("", None, None),
            ),
            (r#"{"choices":[{"delta":{"content":"h\u00e4 \n"}}],"usage":null}"#, piece("hä \n", None, None)),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, piece("", Some("stop"), None)),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}"#,
                piece("", None, Some((7, 9))),
            ),
            (r#"{"choices":[{"delta":{"content":null}}]}"#, piece("", None, None)),
        ];
        for (event, expected) in rows {
            assert_eq!(Piece::read(event).unwrap(), expected, "{event}");
        }
        assert!(matches!(Piece::read("<html>"), Err(ModelError::NotAStream(_))));
        let said = Piece::read(r#"{"error":{"message":"overloaded","type":"x"}}"#);
        assert!(matches!(said, Err(ModelError::Said(words)) if words == "overloaded"));
    }

    #[test]
    fn a_complaint_is_one_line() {
        let rows = [
            (r#"{"error":{"message":"no\nkey"}}"#, "no key"),
            (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
            ("<html>\n <b>502</b>", "<html> <b>502</b>"),
            ("", "without a word"),
        ];
        for (body, expected) in rows {
            assert_eq!(words(body), expected, "{body}");
        }
    }
}
