//! `anthropic-messages`: Anthropic, and whoever speaks like it.
//!
//! Source: Anthropic's API reference, "Messages" and "Streaming messages".

use super::{
    dialect::{Choice, Dialect, Offer, Prompt},
    error::{ModelError, words},
    reply::{Fragment, Piece, Usage},
};
use crate::{
    agents::conversation::{Call, CallResult, Turn},
    protocol::json,
};
use nanoserde::SerJson;

/// Most tokens of an answer where the configuration does not say; the protocol wants a number.
const ANSWER: u64 = 8192;

/// The row.
pub(super) const MESSAGES: Dialect = Dialect {
    name: "anthropic-messages",
    path: |base| match base.ends_with("/v1") {
        true => format!("{base}/messages"),
        false => format!("{base}/v1/messages"),
    },
    key: |key| ("x-api-key", key.to_owned()),
    headers: &[("anthropic-version", "2023-06-01")],
    body,
    read,
};

fn body(model: &str, most: Option<u64>, prompt: &Prompt<'_>) -> String {
    let system = match prompt.system {
        "" => String::new(),
        system => format!(r#","system":{}"#, system.serialize_json()),
    };
    let tools = match prompt.tools {
        [] => String::new(),
        tools => {
            let choice = match prompt.choice {
                Choice::Free => String::new(),
                Choice::Any => r#","tool_choice":{"type":"any"}"#.to_owned(),
                Choice::This(name) => format!(r#","tool_choice":{{"type":"tool","name":"{name}"}}"#),
            };
            format!(r#","tools":[{}]{choice}"#, tools.iter().map(tool).collect::<Vec<_>>().join(","))
        }
    };
    format!(
        r#"{{"model":{},"stream":true,"max_tokens":{}{system}{tools},"messages":[{}]}}"#,
        model.serialize_json(),
        most.unwrap_or(ANSWER),
        messages(prompt.turns).join(",")
    )
}

fn tool(offer: &Offer<'_>) -> String {
    format!(
        r#"{{"name":"{}","description":{},"input_schema":{}}}"#,
        offer.name,
        offer.description.serialize_json(),
        offer.parameters
    )
}

/// Results are parts of the user's message, before its text.
fn messages(turns: &[Turn]) -> Vec<String> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for turn in turns {
        let (role, parts) = match turn {
            Turn::User(said) => ("user", vec![text(said)]),
            Turn::Results(results) => ("user", results.iter().map(result).collect()),
            Turn::Assistant(said, calls) => {
                let said = (!said.trim().is_empty()).then(|| text(said.trim_end()));
                ("assistant", said.into_iter().chain(calls.iter().map(call)).collect())
            }
        };
        match all.last_mut() {
            Some((before, known)) if *before == role => known.extend(parts),
            _ => all.push((role, parts)),
        }
    }
    let message = |(role, parts): (&str, Vec<String>)| {
        format!(r#"{{"role":"{role}","content":[{}]}}"#, parts.join(","))
    };
    all.into_iter().map(message).collect()
}

fn text(said: &str) -> String {
    format!(r#"{{"type":"text","text":{}}}"#, said.serialize_json())
}

/// An id as the protocol wants it; another server may have given it.
fn id(id: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    id.chars().map(fits).collect()
}

fn call(call: &Call) -> String {
    format!(
        r#"{{"type":"tool_use","id":"{}","name":{},"input":{}}}"#,
        id(&call.id),
        call.name.serialize_json(),
        call.arguments
    )
}

fn result(result: &CallResult) -> String {
    let is_error = if result.is_error { r#","is_error":true"# } else { "" };
    format!(
        r#"{{"type":"tool_result","tool_use_id":"{}","content":{}{is_error}}}"#,
        id(&result.id),
        result.text.serialize_json()
    )
}

fn read(event: &str) -> Result<Vec<Piece>, ModelError> {
    let kind = json::member(event, "type").and_then(json::text).unwrap_or_default();
    if !json::is_object(event) || kind.is_empty() {
        return Err(ModelError::NotAStream(MESSAGES.name, words(event)));
    }
    let part =
        |object: Option<&str>, name: &str| Some(json::text(json::member(object?, name)?)?.into_owned());
    let index = json::member(event, "index").and_then(|n| n.parse().ok());
    let count = |usage: Option<&str>, name: &str| -> u64 {
        usage.and_then(|usage| json::member(usage, name)?.parse().ok()).unwrap_or_default()
    };
    Ok(match &*kind {
        "error" => return Err(ModelError::Said(words(event))),
        "message_start" => {
            let usage = json::member(event, "message").and_then(|message| json::member(message, "usage"));
            let input = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
            let input = input.iter().map(|name| count(usage, name)).sum();
            vec![Piece::Usage(Usage { input, output: 0 })]
        }
        "content_block_start" => {
            let block = json::member(event, "content_block");
            match part(block, "type").as_deref() {
                Some("tool_use") => vec![Piece::Call(Fragment {
                    index,
                    id: part(block, "id"),
                    name: part(block, "name"),
                    // What `input` is here is only a beginning; its text follows.
                    arguments: String::new(),
                })],
                Some("text") => {
                    part(block, "text").filter(|text| !text.is_empty()).map(Piece::Text).into_iter().collect()
                }
                _ => Vec::new(),
            }
        }
        "content_block_delta" => {
            let delta = json::member(event, "delta");
            match part(delta, "type").as_deref() {
                Some("text_delta") => part(delta, "text").map(Piece::Text).into_iter().collect(),
                Some("input_json_delta") => {
                    let arguments = part(delta, "partial_json").unwrap_or_default();
                    vec![Piece::Call(Fragment { index, id: None, name: None, arguments })]
                }
                _ => Vec::new(),
            }
        }
        "message_delta" => {
            let output = count(json::member(event, "usage"), "output_tokens");
            let reason = part(json::member(event, "delta"), "stop_reason");
            let usage = Piece::Usage(Usage { input: 0, output });
            reason.map(Piece::Finish).into_iter().chain([usage]).collect()
        }
        "message_stop" => vec![Piece::End],
        _ => Vec::new(),
    })
}
