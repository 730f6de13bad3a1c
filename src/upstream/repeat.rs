//! What becomes of a request whose answer was lost with the connection to the gateway behind this one.

use crate::protocol::{RequestFrame, openclaw_scope};
use nanoserde::{DeBin, SerBin};

/// Effect of sending a request a second time.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Repeat {
    /// Nothing changes: it is sent again.
    Harmless,
    /// A message of a session, recognised by its key: sent again unless the session has it.
    Keyed {
        /// `idempotencyKey`.
        key: String,
        /// `sessionKey`.
        session: String,
    },
    /// Something changes again: the client decides.
    ChangesTwice,
}

/// Methods that need more than `operator.read` and yet change nothing twice.
const HARMLESS: &[&str] = &[
    "agent.wait",
    "chat.abort",
    "controlUi.sessionPullRequests.subscribe",
    "node.pluginTools.update",
    "node.runnerInventory.update",
    "sessions.abort",
    "sessions.viewers.set",
];

/// Methods for which `operator.read` is enough and that yet do something each time.
const NOT_HARMLESS: &[&str] = &["sessions.companion.ask", "users.github.authorize.start"];

/// Tools that only read, called by `tools.invoke`.
const READING_TOOLS: &[&str] = &[
    "agents_list",
    "memory_get",
    "memory_search",
    "session_status",
    "sessions_history",
    "sessions_list",
    "sessions_search",
    "web_fetch",
    "web_search",
];

/// Classifies a request.
pub(super) fn classify(request: &RequestFrame) -> Repeat {
    let method = request.method.as_str();
    let named =
        HARMLESS.contains(&method) || method.ends_with(".subscribe") || method.ends_with(".unsubscribe");
    let reads = openclaw_scope(method) == Some("operator.read") && !NOT_HARMLESS.contains(&method);
    if named || reads {
        return Repeat::Harmless;
    }
    let Ok(params) = request.params() else { return Repeat::ChangesTwice };
    let text = |name: &str| params.opt_str(name).ok().flatten().filter(|text| !text.is_empty());
    if method == "tools.invoke" {
        let tool = text("name").or_else(|| text("tool"));
        return match tool.is_some_and(|tool| READING_TOOLS.contains(&tool)) {
            true => Repeat::Harmless,
            false => Repeat::ChangesTwice,
        };
    }
    match (text("idempotencyKey"), text("sessionKey").or_else(|| text("key"))) {
        // Only these write the key into the session's transcript.
        (Some(key), Some(session)) if matches!(method, "chat.send" | "agent" | "sessions.send") => {
            Repeat::Keyed { key: key.into(), session: session.into() }
        }
        _ => Repeat::ChangesTwice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let keyed = |key: &str, session: &str| Repeat::Keyed { key: key.into(), session: session.into() };
        for (method, params, expected) in [
            ("sessions.list", "{}", Repeat::Harmless),
            ("sessions.messages.subscribe", "{}", Repeat::Harmless),
            ("agent.wait", r#"{"runId":"r"}"#, Repeat::Harmless),
            ("tools.invoke", r#"{"name":"sessions_list"}"#, Repeat::Harmless),
            ("tools.invoke", r#"{"name":"message"}"#, Repeat::ChangesTwice),
            ("tools.invoke", "{}", Repeat::ChangesTwice),
            ("sessions.companion.ask", "{}", Repeat::ChangesTwice),
            ("chat.send", r#"{"sessionKey":"main","idempotencyKey":"k"}"#, keyed("k", "main")),
            ("chat.send", r#"{"sessionKey":"main"}"#, Repeat::ChangesTwice),
            ("agent", r#"{"idempotencyKey":"k"}"#, Repeat::ChangesTwice),
            ("send", r#"{"sessionKey":"main","idempotencyKey":"k"}"#, Repeat::ChangesTwice),
            ("sessions.patch", r#"{"key":"main"}"#, Repeat::ChangesTwice),
            ("a.method.of.tomorrow", "{}", Repeat::ChangesTwice),
        ] {
            let text = format!(r#"{{"type":"req","id":"1","method":"{method}","params":{params}}}"#);
            let request = RequestFrame::parse(text).unwrap_or_else(|e| panic!("{method}: {e:?}"));
            assert_eq!(classify(&request), expected, "{method} {params}");
        }
    }
}
