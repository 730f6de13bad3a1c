//! What a request asks for. Parameters in, what is to be run out.

use crate::{
    agents::{
        client_tools::ClientTools,
        conversation::{Call, CallResult, text_of},
    },
    protocol::{Params, json},
};

/// A message of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    User(String),
    /// With the tools that it called.
    Assistant(String, Vec<Call>),
    Result(CallResult),
}

/// A request that was read.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// `model`, as it was sent.
    pub model: String,
    /// Agent that it names; none for the default agent.
    pub agent: Option<String>,
    /// `user`.
    pub user: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a stream ends with the count of tokens.
    pub usage: bool,
    /// `tools` and `tool_choice`.
    pub tools: ClientTools,
    /// What the application tells the model.
    pub system: String,
    /// What was said before the last question.
    pub earlier: Vec<Message>,
    /// The last question; none where only results of tools are brought.
    pub text: Option<String>,
    /// The calls of tools behind it, and what each gave: the answer goes on with them.
    pub exchange: Vec<Message>,
    /// What the tools gave that were called last.
    pub results: Vec<CallResult>,
}

/// Numbers that tune a model, and their ranges. They are checked, and are the model's own choice in this version.
const TUNING: &[(&str, f64, f64)] = &[
    ("temperature", 0.0, 2.0),
    ("top_p", 0.0, 1.0),
    ("frequency_penalty", -2.0, 2.0),
    ("presence_penalty", -2.0, 2.0),
];

impl Asked {
    /// Reads a request; the error is for its sender.
    pub fn read(params: &Params<'_>) -> Result<Self, String> {
        let word = |e: crate::protocol::ParamFault| e.to_string();
        let model = params.opt_str("model").map_err(word)?.unwrap_or("openclaw");
        for (name, least, most) in TUNING {
            let number = params.value(name).map(|value| value.parse::<f64>().unwrap_or(f64::NAN));
            if number.is_some_and(|number| !(*least..=*most).contains(&number)) {
                return Err(format!("`{name}` must be between {least} and {most}."));
            }
        }
        for name in ["functions", "function_call"] {
            if params.value(name).is_some_and(|value| !matches!(value, "null" | "[]")) {
                return Err(format!("`{name}` is not taken; send `tools` and `tool_choice`."));
            }
        }
        let options = params.opt_object("stream_options").map_err(word)?;
        let usage = options.map(|options| options.opt_bool("include_usage")).transpose().map_err(word)?;
        let mut asked = Self {
            model: model.to_owned(),
            agent: agent(model)?,
            user: params.opt_str("user").map_err(word)?.filter(|user| !user.is_empty()).map(str::to_owned),
            stream: params.opt_bool("stream").map_err(word)?.unwrap_or(false),
            usage: usage.flatten().unwrap_or(false),
            tools: ClientTools::read(params.value("tools"), params.value("tool_choice"))?,
            ..Self::default()
        };
        let mut hearing = Hearing::default();
        for item in json::items(params.value("messages").unwrap_or("[]")) {
            hearing.hear(item)?;
        }
        asked.take(hearing)?;
        Ok(asked)
    }

    /// Sorts messages into what was said before, what is asked, and what tools gave.
    fn take(&mut self, hearing: Hearing) -> Result<(), String> {
        let Hearing { system, mut all, open } = hearing;
        self.system = system;
        let behind = |is: fn(&Message) -> bool| all.iter().rposition(is).map_or(0, |n| n + 1);
        let results = behind(|message| matches!(message, Message::Assistant(..)));
        self.results = all[results..]
            .iter()
            .filter_map(|message| match message {
                Message::Result(result) => Some(result.clone()),
                _ => None,
            })
            .collect();
        let question = behind(|message| matches!(message, Message::User(_)));
        if question == 0 && self.results.is_empty() {
            return Err("Missing user message in `messages`.".into());
        }
        let exchange = all.split_off(question);
        if exchange.iter().any(|message| matches!(message, Message::Assistant(_, calls) if !calls.is_empty()))
        {
            if let Some((id, _)) = open.iter().flatten().next() {
                return Err(format!(
                    "`messages` must end with a `tool` message for each call; {id:?} has none."
                ));
            }
            self.exchange = exchange;
        }
        // Else what stands behind the last question answers nothing yet.
        if let Some(Message::User(text)) = all.pop() {
            self.text = Some(text);
        }
        self.earlier = all;
        Ok(())
    }
}

/// The messages of a request, as far as they were heard.
#[derive(Default)]
struct Hearing {
    system: String,
    all: Vec<Message>,
    /// Ids and names of the calls that have no result; none before a message that tells.
    open: Option<Vec<(String, String)>>,
}

impl Hearing {
    /// Takes a message.
    fn hear(&mut self, message: &str) -> Result<(), String> {
        let content = json::member(message, "content").unwrap_or("null");
        for part in json::items(content) {
            let kind = json::member(part, "type");
            if !matches!(kind, None | Some("\"text\"" | "\"input_text\"" | "\"output_text\"")) {
                return Err("`messages` may hold text alone in this version of Barnacle.".into());
            }
        }
        let text = if content == "null" { String::new() } else { text_of(content) };
        match json::member(message, "role") {
            Some("\"user\"") if text.trim().is_empty() => {}
            Some("\"user\"") => {
                self.open = Some(Vec::new());
                self.all.push(Message::User(text));
            }
            Some("\"assistant\"") => {
                let calls = calls(message)?;
                self.open = Some(calls.iter().map(|call| (call.id.clone(), call.name.clone())).collect());
                self.all.push(Message::Assistant(text, calls));
            }
            Some("\"system\"" | "\"developer\"") => {
                if !self.system.is_empty() {
                    self.system.push_str("\n\n");
                }
                self.system.push_str(&text);
            }
            Some("\"tool\"") => {
                let result = self.result(message, text)?;
                self.all.push(Message::Result(result));
            }
            Some("\"function\"") => {
                return Err("the role `function` is not taken; send `tool` with a `tool_call_id`.".into());
            }
            _ => return Err("each of `messages` must have a `role`.".into()),
        }
        Ok(())
    }

    /// Takes what a tool gave to a call of the message before.
    fn result(&mut self, message: &str, text: String) -> Result<CallResult, String> {
        let id = json::member(message, "tool_call_id").and_then(json::text).filter(|id| !id.is_empty());
        let id = id.ok_or("each `tool` message must have a `tool_call_id`.")?.into_owned();
        let name = match &mut self.open {
            // A session that lasts knows its call.
            None => String::new(),
            Some(open) => match open.iter().position(|(known, _)| *known == id) {
                Some(at) => open.remove(at).1,
                None => {
                    return Err(format!(
                        "the `tool_call_id` {id:?} is none of the calls before it that wait for one."
                    ));
                }
            },
        };
        Ok(CallResult { id, name, text, is_error: false })
    }
}

/// The calls of tools in a message.
fn calls(message: &str) -> Result<Vec<Call>, String> {
    const WRONG: &str = "each of `tool_calls` must have an `id` of its own, and a `function` with a `name` and, as JSON in \
                         a text, `arguments` that are an object.";
    if json::member(message, "function_call").is_some_and(|call| call != "null") {
        return Err("`function_call` is not taken; send `tool_calls`.".into());
    }
    let mut all: Vec<Call> = Vec::new();
    for item in json::items(json::member(message, "tool_calls").unwrap_or("[]")) {
        let text = |object: &str, name: &str| Some(json::text(json::member(object, name)?)?.into_owned());
        let read = || {
            let function = json::member(item, "function")?;
            let arguments = text(function, "arguments").unwrap_or_default();
            let arguments = if arguments.trim().is_empty() { "{}".into() } else { arguments };
            Some(Call { id: text(item, "id")?, name: text(function, "name")?, arguments })
        };
        let fits = |call: &Call| {
            !call.id.is_empty()
                && !call.name.is_empty()
                && json::is_object(&call.arguments)
                && all.iter().all(|other| other.id != call.id)
        };
        let call = read().filter(fits).ok_or(WRONG)?;
        all.push(call);
    }
    Ok(all)
}

/// The agent that `model` names; none for the default agent.
fn agent(model: &str) -> Result<Option<String>, String> {
    if matches!(model, "openclaw" | "openclaw/default" | "openclaw:default") {
        return Ok(None);
    }
    let named = ["openclaw/", "openclaw:", "agent:"].iter().find_map(|prefix| model.strip_prefix(prefix));
    match named.filter(|id| !id.is_empty()) {
        Some(id) => Ok(Some(id.to_owned())),
        None => Err("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RequestFrame;

    fn read(body: &str) -> Result<Asked, String> {
        let frame = RequestFrame::of_params("chat.completions", body.into()).ok_or("no JSON")?;
        Asked::read(&frame.params().unwrap())
    }

    #[test]
    fn what_is_asked() {
        let asked = read(
            r#"{"model":"openclaw/other","stream":true,"stream_options":{"include_usage":true},"user":"u","temperature":1,
               "messages":[{"role":"system","content":"be brief"},{"role":"user","content":"a"},
               {"role":"assistant","content":[{"type":"text","text":"b"}]},{"role":"user","content":"c\n"}]}"#,
        );
        let expected = Asked {
            model: "openclaw/other".into(),
            agent: Some("other".into()),
            user: Some("u".into()),
            stream: true,
            usage: true,
            system: "be brief".into(),
            earlier: vec![Message::User("a".into()), Message::Assistant("b".into(), vec![])],
            text: Some("c\n".into()),
            ..Asked::default()
        };
        assert_eq!(asked, Ok(expected));
        let plain =
            read(r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#)
                .unwrap();
        assert_eq!((plain.text.as_deref(), plain.earlier.len(), plain.agent), (Some("a"), 0, None));
    }

    /// A request's messages, by kind: `u`, `a`, `c` for an assistant that calls, `r` for a result.
    fn shown(messages: &[Message]) -> String {
        let kind = |message: &Message| match message {
            Message::User(_) => 'u',
            Message::Assistant(_, calls) if calls.is_empty() => 'a',
            Message::Assistant(..) => 'c',
            Message::Result(_) => 'r',
        };
        messages.iter().map(kind).collect()
    }

    #[test]
    fn what_goes_on_with_tools() {
        let user = r#"{"role":"user","content":"q"}"#;
        let says = r#"{"role":"assistant","content":"let me see"}"#;
        let calls = r#"{"role":"assistant","content":null,"tool_calls":[
            {"id":"1","type":"function","function":{"name":"t","arguments":"{\"x\":1}"}},
            {"id":"2","type":"function","function":{"name":"s","arguments":""}}]}"#;
        let one = r#"{"role":"tool","tool_call_id":"1","content":"one"}"#;
        let two = r#"{"role":"tool","tool_call_id":"2","content":[]}"#;
        for (messages, earlier, text, exchange, results) in [
            (vec![user], "", true, "", 0),
            (vec![user, calls, one, two], "", true, "crr", 2),
            (vec![user, calls, two, one], "", true, "crr", 2),
            (vec![user, says, calls, one, two], "", true, "acrr", 2),
            (vec![user, calls, one, two, calls, one, two], "", true, "crrcrr", 2),
            (vec![user, calls, one, two, user], "ucrr", true, "", 2),
            (vec![user, calls, one, two, says, user], "ucrra", true, "", 0),
            (vec![user, calls, one, two, says, user, calls, one, two], "ucrra", true, "crr", 2),
            // As one may ask who leaves the history to the session.
            (vec![one], "", false, "", 1),
            (vec![one, two, user], "rr", true, "", 2),
        ] {
            let asked = read(&format!(r#"{{"messages":[{}]}}"#, messages.join(","))).unwrap();
            let found = (
                &*shown(&asked.earlier),
                asked.text.is_some(),
                &*shown(&asked.exchange),
                asked.results.len(),
            );
            assert_eq!(found, (earlier, text, exchange, results), "{messages:?}");
        }
        let asked = read(&format!(r#"{{"messages":[{}]}}"#, [user, calls, one, two].join(","))).unwrap();
        let result = |id: &str, name: &str, text: &str| CallResult {
            id: id.into(),
            name: name.into(),
            text: text.into(),
            is_error: false,
        };
        assert_eq!(asked.results, [result("1", "t", "one"), result("2", "s", "")]);
    }

    #[test]
    fn what_is_refused() {
        let user = r#""messages":[{"role":"user","content":"a"}]"#;
        let with = |message: &str| format!(r#"{{"messages":[{{"role":"user","content":"a"}},{message}]}}"#);
        let calls = |calls: &str| format!(r#"{{"role":"assistant","content":null,"tool_calls":[{calls}]}}"#);
        for (body, part) in [
            (r#"{"messages":[]}"#.to_owned(), "Missing user message"),
            (r#"{"model":"openclaw"}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"role":"system","content":"s"}]}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"role":"user","content":" "}]}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"content":"s"}]}"#.to_owned(), "`role`"),
            (r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#.to_owned(), "text alone"),
            (r#"{"messages":[{"role":"tool","content":"x"}]}"#.to_owned(), "`tool_call_id`"),
            (with(r#"{"role":"tool","tool_call_id":"1","content":"x"}"#), "\"1\" is none of the calls"),
            (with(&calls(r#"{"id":"1","function":{"name":"t","arguments":"{}"}}"#)), "\"1\" has none"),
            (with(&calls(r#"{"id":"1","function":{"name":"t","arguments":"[]"}}"#)), "`tool_calls` must"),
            (with(&calls(r#"{"id":"1","function":{"arguments":"{}"}}"#)), "`tool_calls` must"),
            (with(&calls(r#"{"function":{"name":"t"}}"#)), "`tool_calls` must"),
            (
                with(&calls(r#"{"id":"1","function":{"name":"t"}},{"id":"1","function":{"name":"t"}}"#)),
                "of its own",
            ),
            (with(r#"{"role":"assistant","function_call":{"name":"t"}}"#), "send `tool_calls`"),
            (with(r#"{"role":"function","name":"t","content":"x"}"#), "send `tool`"),
            (format!(r#"{{"functions":[{{"name":"t"}}],{user}}}"#), "send `tools`"),
            (format!(r#"{{"model":"gpt-4",{user}}}"#), "Invalid `model`"),
            (format!(r#"{{"model":"openclaw/",{user}}}"#), "Invalid `model`"),
            (format!(r#"{{"temperature":9,{user}}}"#), "between 0 and 2"),
            (format!(r#"{{"top_p":"x",{user}}}"#), "between 0 and 1"),
            (format!(r#"{{"tools":[{{}}],{user}}}"#), "`tools[0]`"),
            (format!(r#"{{"stream":1,{user}}}"#), "boolean"),
        ] {
            let error = read(&body).expect_err(&body);
            assert!(error.contains(part), "{body}: {error}");
        }
    }
}
