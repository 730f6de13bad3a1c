//! `sessions_history`: what was said in a session, bounded and without credentials.

use super::{
    Group, Repeat, Tool, Use,
    reach::{naming, seen, target},
    result::{Outcome, Problem, REDACTED, is_credential_of, without_credentials},
};
use crate::{
    protocol::{Json, Object, Params, Readable, json},
    sessions::SessionKey,
};
use std::borrow::Cow;

/// Messages where a model says nothing, and the most that it gets.
const LIMIT: (u64, u64) = (50, 1000);
/// Characters of a text.
const TEXT: usize = 4000;
/// Bytes of all messages together.
const BYTES: usize = 80 << 10;
/// Inline data of this many characters is left out.
const DATA: usize = 256;
const CUT: &str = "\n…(truncated)…";
const TOO_LARGE: &str = "[sessions_history omitted: message too large]";

pub(super) const TOOL: Tool = Tool {
    name: "sessions_history",
    label: "Read a session",
    group: Group::Sessions,
    description: "Read what was said in a session, the newest messages by default. While hasMore is true, pass nextOffset as \
                  offset for older ones. Long texts are shortened and credentials replaced.",
    parameters: r#"{"type":"object","properties":{
        "sessionKey":{"type":"string","minLength":1,"description":"Key or id of the session (see sessions_list); the one you are in without it."},
        "limit":{"type":"integer","minimum":1,"description":"Messages at most; 50 without it, and never more than 1000."},
        "offset":{"type":"integer","minimum":0,"description":"How many of the newest messages to pass over."},
        "messageId":{"type":"string","minLength":1,"description":"The messages around this one instead."},
        "includeTools":{"type":"boolean","description":"With the results of tools."}
        },"additionalProperties":false}"#,
    repeat: Repeat::Harmless,
    run: |with| Box::pin(history(with)),
};

/// A message as a model reads it, and what was done to it.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) json: String,
    cut: bool,
    redacted: bool,
}

async fn history(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    let key = match given.opt_str("sessionKey")? {
        Some(text) => target(&with, text).await?,
        None => with.session.clone(),
    };
    seen(&with, &key).await?;
    let limit = given.opt_u64("limit")?.unwrap_or(LIMIT.0).clamp(1, LIMIT.1);
    let offset = given.opt_u64("offset")?.unwrap_or_default();
    let id = given.opt_str("messageId")?.map(str::to_owned);
    let answer = page(&with, &key, limit, offset, id.as_ref()).await?;
    let answer = answer.params();
    let tools = given.opt_bool("includeTools")?.unwrap_or(false);
    let all: Vec<&str> = answer.value("messages").map(json::items).into_iter().flatten().collect();
    let kept = newest(&all, tools);
    let dropped = kept.begins;
    let older = answer.opt_bool("hasMore")?.unwrap_or(false);
    let has_more = older || dropped > 0;
    let next = offset + (all.len() - dropped) as u64;
    let pending = answer.value("pendingInputs").map(|value| Json(value.to_owned()));
    let messages: Vec<Json> = kept.messages.into_iter().map(|shown| Json(shown.json)).collect();
    let object = Object::new()
        .put("sessionKey", key.wire())
        .put("messages", &messages)
        .put("hasMore", &has_more)
        .opt("nextOffset", (has_more && id.is_none()).then_some(next).as_ref())
        .opt("totalMessages", answer.opt_u64("totalMessages")?.as_ref())
        .opt("pendingInputs", pending.as_ref())
        .put("truncated", &(dropped > 0 || kept.cut))
        .put("droppedMessages", &(dropped > 0))
        .put("contentTruncated", &kept.cut)
        .put("contentRedacted", &kept.redacted)
        .put("bytes", &kept.bytes);
    Ok(Outcome::json(object.json()))
}

/// A page of a session's history.
pub(super) async fn page(
    with: &Use,
    key: &SessionKey,
    limit: u64,
    offset: u64,
    around: Option<&String>,
) -> Result<Readable, Problem> {
    let asked = naming(Object::new(), "sessionKey", key).put("limit", &limit).put("maxChars", &(2 * TEXT));
    let asked = asked.put("offset", &offset).opt("messageId", around).json();
    Ok(Readable::new("chat.history", with.ask("chat.history", asked).await?))
}

/// The newest of some messages that fit.
struct Kept {
    messages: Vec<Shown>,
    /// How many older ones do not.
    begins: usize,
    bytes: usize,
    cut: bool,
    redacted: bool,
}

fn newest(all: &[&str], tools: bool) -> Kept {
    let mut kept = Kept { messages: Vec::new(), begins: 0, bytes: 0, cut: false, redacted: false };
    for (at, message) in all.iter().enumerate().rev() {
        let role = json::members(message).find(|(name, _)| *name == "role").map_or("", |(_, value)| value);
        if !tools && matches!(role, r#""toolResult""# | r#""tool""#) {
            continue;
        }
        let mut shown = shown(message);
        if shown.json.len() > BYTES {
            let role = Json(if role.is_empty() { "null" } else { role }.to_owned());
            let json = Object::new().put("role", &role).put("content", TOO_LARGE).json().0;
            shown = Shown { json, cut: true, redacted: false };
        }
        if kept.bytes + shown.json.len() > BYTES {
            kept.begins = at + 1;
            break;
        }
        kept.bytes += shown.json.len();
        kept.cut |= shown.cut;
        kept.redacted |= shown.redacted;
        kept.messages.push(shown);
    }
    kept.messages.reverse();
    kept
}

/// A message with its texts shortened, and without credentials, signatures and inline data.
pub(super) fn shown(message: &str) -> Shown {
    let mut shown = Shown::default();
    shown.json = json::map_texts(message, |name, text| {
        let signature =
            matches!(name, "thinkingSignature" | "textSignature" | "thoughtSignature" | "encrypted_content");
        if signature || name == "data" && text.len() > DATA {
            shown.cut = true;
            return Some("[omitted]".to_owned());
        }
        if is_credential_of(name, text) {
            shown.redacted = true;
            return Some(REDACTED.to_owned());
        }
        let plain = without_credentials(text);
        let redacted = matches!(plain, Cow::Owned(_));
        shown.redacted |= redacted;
        match plain.char_indices().nth(TEXT) {
            Some((end, _)) => {
                shown.cut = true;
                Some(format!("{}{CUT}", &plain[..end]))
            }
            None => redacted.then(|| plain.into_owned()),
        }
    });
    shown
}

/// The role of a message, as it is shown.
pub(super) fn is_said(message: &Params<'_>) -> bool {
    matches!(message.opt_str("role"), Ok(Some("user" | "assistant")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_reads_of_a_message() {
        let long = "ä".repeat(TEXT + 1);
        let rows = [
            (
                r#"{"role":"user","content":"hi"}"#.to_owned(),
                r#"{"role":"user","content":"hi"}"#.to_owned(),
                false,
                false,
            ),
            (
                r#"{"role":"user","content":"it is sk-abcdef0123456789\nok"}"#.to_owned(),
                r#"{"role":"user","content":"it is __OPENCLAW_REDACTED__\nok"}"#.to_owned(),
                false,
                true,
            ),
            (
                format!(r#"{{"content":[{{"type":"text","text":"{long}"}}]}}"#),
                format!(r#"{{"content":[{{"type":"text","text":"{}\n…(truncated)…"}}]}}"#, "ä".repeat(TEXT)),
                true,
                false,
            ),
            (
                format!(r#"{{"content":[{{"type":"image","data":"{}"}}]}}"#, "A".repeat(300)),
                r#"{"content":[{"type":"image","data":"[omitted]"}]}"#.to_owned(),
                true,
                false,
            ),
        ];
        for (message, expected, cut, redacted) in rows {
            let shown = shown(&message);
            assert_eq!((shown.json.as_str(), shown.cut, shown.redacted), (&*expected, cut, redacted));
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_from_the_old_end() {
        let large =
            format!(r#"{{"role":"user","content":["{}"]}}"#, vec!["x".repeat(3900); 10].join("\",\""));
        let huge = format!(r#"{{"role":"user","content":["{}"]}}"#, vec!["x".repeat(3900); 30].join("\",\""));
        let tool = r#"{"role":"toolResult","content":"r"}"#;
        let small = r#"{"role":"user","content":"s"}"#;
        let count = |all: &[&str], tools| {
            let kept = newest(all, tools);
            (kept.messages.len(), kept.begins)
        };
        assert_eq!(count(&[small, tool, small], false), (2, 0));
        assert_eq!(count(&[small, tool, small], true), (3, 0));
        assert_eq!(count(&[small, &large, &large, &large, small], false), (3, 2));
        let kept = newest(&[&huge], false);
        assert_eq!((kept.messages.len(), kept.begins, kept.cut), (1, 0, true));
        assert!(kept.messages[0].json.contains(TOO_LARGE));
    }
}
