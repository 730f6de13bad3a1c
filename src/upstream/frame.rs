//! Frames of the gateway behind this one, read as far as a relay needs: what they are, and where their parts stand.

use crate::protocol::json;
use std::{borrow::Cow, ops::Range};

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame<'a> {
    /// The answer to a request.
    Response {
        id: Cow<'a, str>,
        /// `payload` if it succeeded, else `error`; JSON.
        outcome: Result<&'a str, &'a str>,
    },
    Event {
        name: Cow<'a, str>,
        /// JSON.
        payload: &'a str,
        /// Place of the number after `"seq":`.
        seq: Option<Range<usize>>,
    },
    /// Neither, or no JSON.
    Other,
}

/// Reads a frame.
pub(super) fn read(text: &str) -> Frame<'_> {
    let [mut kind, mut id, mut event, mut ok, mut payload, mut error, mut seq] = [""; 7];
    let mut members = json::members(text);
    for (name, value) in members.by_ref() {
        match name {
            "type" => kind = value,
            "id" => id = value,
            "event" => event = value,
            "ok" => ok = value,
            "payload" => payload = value,
            "error" => error = value,
            "seq" => seq = value,
            _ => {}
        }
    }
    if !members.end().is_ok_and(|mut rest| rest.is_at_end()) {
        return Frame::Other;
    }
    match (kind, string(id), string(event)) {
        ("\"res\"", Some(id), _) => {
            let outcome = if ok == "true" { Ok(or_null(payload)) } else { Err(or_null(error)) };
            Frame::Response { id, outcome }
        }
        ("\"event\"", _, Some(name)) => {
            let seq = (!seq.is_empty()).then(|| {
                let start = seq.as_ptr() as usize - text.as_ptr() as usize;
                start..start + seq.len()
            });
            Frame::Event { name, payload: or_null(payload), seq }
        }
        _ => Frame::Other,
    }
}

fn or_null(value: &str) -> &str {
    if value.is_empty() { "null" } else { value }
}

/// The text of a JSON string.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?))
}

/// The value at `path` in an object; JSON.
pub(super) fn at<'a>(mut value: &'a str, path: &[&str]) -> Option<&'a str> {
    for name in path {
        if !value.starts_with('{') {
            return None;
        }
        value = json::members(value).filter(|(key, _)| key == name).last()?.1;
    }
    Some(value)
}

/// The text at `path` in an object.
pub(super) fn text_at<'a>(value: &'a str, path: &[&str]) -> Option<Cow<'a, str>> {
    string(at(value, path)?)
}

/// What an error of the gateway behind this one says to a relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// It restarts or is not ready: the request was not begun.
    NotReady {
        /// Time to wait, milliseconds.
        after_ms: u64,
    },
    /// The request may be tried again after that many milliseconds; it may have been begun.
    Later {
        /// Time to wait, milliseconds.
        after_ms: u64,
    },
    /// For the client.
    Final,
}

/// Shortest and longest time after which a request is sent again, milliseconds.
const AGAIN_MS: (u64, u64) = (200, 5000);

/// Classifies the `error` of a response.
pub(super) fn refused(error: &str) -> Refused {
    if text_at(error, &["code"]).as_deref() != Some("UNAVAILABLE") {
        return Refused::Final;
    }
    let number = |path: &[&str]| at(error, path).and_then(|n| n.parse::<u64>().ok());
    let asked = number(&["retryAfterMs"]).or_else(|| number(&["details", "retryAfterMs"]));
    let after_ms = asked.unwrap_or(AGAIN_MS.0).clamp(AGAIN_MS.0, AGAIN_MS.1);
    match text_at(error, &["details", "reason"]).as_deref() {
        Some("gateway-restarting" | "startup-sidecars" | "gateway-draining") => {
            Refused::NotReady { after_ms }
        }
        _ if at(error, &["retryable"]) == Some("true") => Refused::Later { after_ms },
        _ if error.contains("PluginInstanceUnavailableError") => Refused::Later { after_ms },
        _ => Refused::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let id = || Cow::Borrowed("7");
        let event = r#"{"type":"event","event":"chat","payload":{"seq":3},"seq":12,"stateVersion":{}}"#;
        for (text, expected) in [
            (
                r#"{"type":"res","id":"7","ok":true,"payload":{"a":1}}"#,
                Frame::Response { id: id(), outcome: Ok(r#"{"a":1}"#) },
            ),
            (r#"{"type":"res","id":"7","ok":true}"#, Frame::Response { id: id(), outcome: Ok("null") }),
            (
                r#"{"type":"res","id":"7","ok":false,"error":{}}"#,
                Frame::Response { id: id(), outcome: Err("{}") },
            ),
            (event, Frame::Event { name: "chat".into(), payload: r#"{"seq":3}"#, seq: Some(57..59) }),
            (
                r#"{"type":"event","event":"chat"}"#,
                Frame::Event { name: "chat".into(), payload: "null", seq: None },
            ),
            (r#"{"type":"res","ok":true}"#, Frame::Other),
            (r#"{"type":"req","id":"7"}"#, Frame::Other),
            (r#"{"type":"res","id":"7""#, Frame::Other),
            ("[]", Frame::Other),
            ("", Frame::Other),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(&event[57..59], "12");
    }

    #[test]
    fn refusals() {
        for (error, expected) in [
            (r#"{"code":"INVALID_REQUEST","retryable":true}"#, Refused::Final),
            (r#"{"code":"UNAVAILABLE"}"#, Refused::Final),
            (
                r#"{"code":"UNAVAILABLE","retryable":true,"retryAfterMs":900}"#,
                Refused::Later { after_ms: 900 },
            ),
            (r#"{"code":"UNAVAILABLE","retryable":true,"retryAfterMs":1}"#, Refused::Later { after_ms: 200 }),
            (
                r#"{"code":"UNAVAILABLE","details":{"reason":"startup-sidecars"},"retryAfterMs":99999}"#,
                Refused::NotReady { after_ms: 5000 },
            ),
            (
                r#"{"code":"UNAVAILABLE","message":"PluginInstanceUnavailableError: Plugin x was reloaded or disabled"}"#,
                Refused::Later { after_ms: 200 },
            ),
            ("null", Refused::Final),
        ] {
            assert_eq!(refused(error), expected, "{error}");
        }
    }
}
