//! `openai-completions`: OpenAI, OpenRouter, Ollama, llama.cpp, LM Studio, vLLM.
//!
//! Source: OpenAI's API reference, "Create chat completion" and "The chat completion chunk object".

use super::{
    dialect::{Choice, Dialect, Offer, Prompt},
    error::{ModelError, words},
    reply::{Fragment, Piece, Usage},
};
use crate::{
    agents::conversation::{Call, Turn},
    protocol::json,
};
use nanoserde::SerJson;

/// The row.
pub(super) const COMPLETIONS: Dialect = Dialect {
    name: "openai-completions",
    path: |base| format!("{base}/chat/completions"),
    key: |key| ("authorization", format!("Bearer {key}")),
    headers: &[],
    body,
    read,
};

fn body(model: &str, most: Option<u64>, prompt: &Prompt<'_>) -> String {
    let most = most.map_or(String::new(), |most| format!(r#","max_tokens":{most}"#));
    let tools = match prompt.tools {
        [] => String::new(),
        tools => {
            let choice = match prompt.choice {
                Choice::Free => String::new(),
                Choice::Any => r#","tool_choice":"required""#.to_owned(),
                Choice::This(name) => {
                    format!(r#","tool_choice":{{"type":"function","function":{{"name":"{name}"}}}}"#)
                }
            };
            format!(r#","tools":[{}]{choice}"#, tools.iter().map(tool).collect::<Vec<_>>().join(","))
        }
    };
    format!(
        r#"{{"model":{},"stream":true,"stream_options":{{"include_usage":true}}{most}{tools},"messages":[{}]}}"#,
        model.serialize_json(),
        messages(prompt).join(",")
    )
}

fn tool(offer: &Offer<'_>) -> String {
    format!(
        r#"{{"type":"function","function":{{"name":"{}","description":{},"parameters":{}}}}}"#,
        offer.name,
        offer.description.serialize_json(),
        offer.parameters
    )
}

fn messages(prompt: &Prompt<'_>) -> Vec<String> {
    let said = |role: &str, text: &str| format!(r#"{{"role":"{role}","content":{}}}"#, text.serialize_json());
    let mut all = Vec::with_capacity(prompt.turns.len() + 1);
    if !prompt.system.is_empty() {
        all.push(said("system", prompt.system));
    }
    for turn in prompt.turns {
        match turn {
            Turn::User(text) => all.push(said("user", text)),
            Turn::Assistant(text, calls) if calls.is_empty() => all.push(said("assistant", text)),
            Turn::Assistant(text, calls) => {
                let content = if text.is_empty() { "null".into() } else { text.serialize_json() };
                let calls: Vec<String> = calls.iter().map(call).collect();
                let calls = calls.join(",");
                all.push(format!(r#"{{"role":"assistant","content":{content},"tool_calls":[{calls}]}}"#));
            }
            Turn::Results(results) => all.extend(results.iter().map(|result| {
                format!(
                    r#"{{"role":"tool","tool_call_id":{},"content":{}}}"#,
                    result.id.serialize_json(),
                    result.text.serialize_json()
                )
            })),
        }
    }
    all
}

fn call(call: &Call) -> String {
    format!(
        r#"{{"id":{},"type":"function","function":{{"name":{},"arguments":{}}}}}"#,
        call.id.serialize_json(),
        call.name.serialize_json(),
        call.arguments.serialize_json()
    )
}

fn read(event: &str) -> Result<Vec<Piece>, ModelError> {
    if event.trim() == "[DONE]" {
        return Ok(vec![Piece::End]);
    }
    if !json::is_object(event) {
        return Err(ModelError::NotAStream(COMPLETIONS.name, words(event)));
    }
    if json::member(event, "error").is_some_and(|error| error != "null") {
        return Err(ModelError::Said(words(event)));
    }
    let mut pieces = Vec::new();
    if let Some(usage) = json::member(event, "usage").filter(|usage| usage.starts_with('{')) {
        let count = |name: &str| json::member(usage, name).and_then(|n| n.parse().ok());
        pieces.push(Piece::Usage(Usage {
            input: count("prompt_tokens").unwrap_or_default(),
            output: count("completion_tokens").unwrap_or_default(),
        }));
    }
    let Some(choice) = json::member(event, "choices").and_then(|choices| json::items(choices).next()) else {
        return Ok(pieces);
    };
    let text = |object: &str, name: &str| Some(json::text(json::member(object, name)?)?.into_owned());
    if let Some(delta) = json::member(choice, "delta") {
        if let Some(text) = text(delta, "content").filter(|text| !text.is_empty()) {
            pieces.push(Piece::Text(text));
        }
        let calls = json::member(delta, "tool_calls").unwrap_or("[]");
        pieces.extend(json::items(calls).map(|part| {
            let function = json::member(part, "function").unwrap_or("{}");
            let arguments = match json::member(function, "arguments") {
                // Some servers give them as an object, whole.
                Some(object) if object.starts_with('{') => object.to_owned(),
                other => other.and_then(json::text).map(|text| text.into_owned()).unwrap_or_default(),
            };
            Piece::Call(Fragment {
                index: json::member(part, "index").and_then(|n| n.parse().ok()),
                id: text(part, "id").filter(|id| !id.is_empty()),
                name: text(function, "name").filter(|name| !name.is_empty()),
                arguments,
            })
        }));
    }
    if let Some(reason) = text(choice, "finish_reason") {
        pieces.push(Piece::Finish(reason));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_several_servers() {
        let text = |text: &str| vec![Piece::Text(text.into())];
        let call = |index, id: Option<&str>, name: Option<&str>, arguments: &str| {
            Piece::Call(Fragment {
                index,
                id: id.map(str::to_owned),
                name: name.map(str::to_owned),
                arguments: arguments.into(),
            })
        };
        let rows = [
            (
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                vec![],
            ),
            (r#"{"choices":[{"delta":{"content":"h\u00e4 \n"}}],"usage":null}"#, text("hä \n")),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, vec![Piece::Finish("stop".into())]),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}"#,
                vec![Piece::Usage(Usage { input: 7, output: 9 })],
            ),
            (r#"{"choices":[{"delta":{"content":null}}]}"#, vec![]),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"t","arguments":""}}]}}]}"#,
                vec![call(Some(0), Some("c1"), Some("t"), "")],
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}}]}"#,
                vec![call(Some(0), None, None, "{\"a")],
            ),
            // Without an index, and whole.
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"","function":{"name":"t","arguments":{"a":1}}}]}}]}"#,
                vec![call(None, None, Some("t"), r#"{"a":1}"#)],
            ),
            ("[DONE]", vec![Piece::End]),
        ];
        for (event, expected) in rows {
            assert_eq!(read(event).unwrap(), expected, "{event}");
        }
        assert!(matches!(read("<html>"), Err(ModelError::NotAStream(..))));
        let said = read(r#"{"error":{"message":"overloaded","type":"x"}}"#);
        assert!(matches!(said, Err(ModelError::Said(words)) if words == "overloaded"));
    }
}
