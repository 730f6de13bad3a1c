//! What a request asks for. Parameters in, what is to be run out.

use crate::{
    agents::conversation::text_of,
    protocol::{Params, json},
};

/// Who said a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    User,
    Assistant,
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
    /// What the application tells the model.
    pub system: String,
    /// What was said before.
    pub earlier: Vec<(Who, String)>,
    /// What is to be answered.
    pub text: String,
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
        if params.value("tools").is_some_and(|tools| json::items(tools).next().is_some()) {
            return Err("`tools` are not in this version of Barnacle; send none.".into());
        }
        let options = params.opt_object("stream_options").map_err(word)?;
        let usage = options.map(|options| options.opt_bool("include_usage")).transpose().map_err(word)?;
        let mut asked = Self {
            model: model.to_owned(),
            agent: agent(model)?,
            user: params.opt_str("user").map_err(word)?.filter(|user| !user.is_empty()).map(str::to_owned),
            stream: params.opt_bool("stream").map_err(word)?.unwrap_or(false),
            usage: usage.flatten().unwrap_or(false),
            ..Self::default()
        };
        for item in json::items(params.value("messages").unwrap_or("[]")) {
            asked.hear(item)?;
        }
        // What stands behind the last question answers nothing yet.
        let last = asked.earlier.iter().rposition(|(who, _)| *who == Who::User);
        let last = last.ok_or("Missing user message in `messages`.")?;
        asked.earlier.truncate(last + 1);
        asked.text = asked.earlier.pop().map(|(_, text)| text).unwrap_or_default();
        Ok(asked)
    }

    /// Takes a message.
    fn hear(&mut self, message: &str) -> Result<(), String> {
        let member =
            |wanted: &str| json::members(message).find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let content = member("content").unwrap_or("null");
        for part in json::items(content) {
            let kind = json::members(part).find(|(name, _)| *name == "type").map(|(_, kind)| kind);
            if !matches!(kind, None | Some("\"text\"" | "\"input_text\"" | "\"output_text\"")) {
                return Err("`messages` may hold text alone in this version of Barnacle.".into());
            }
        }
        let text = if content == "null" { String::new() } else { text_of(content) };
        match member("role") {
            Some("\"user\"") if text.trim().is_empty() => {}
            Some("\"user\"") => self.earlier.push((Who::User, text)),
            Some("\"assistant\"") => self.earlier.push((Who::Assistant, text)),
            Some("\"system\"" | "\"developer\"") => {
                if !self.system.is_empty() {
                    self.system.push_str("\n\n");
                }
                self.system.push_str(&text);
            }
            Some("\"tool\"" | "\"function\"") => {
                return Err("results of tools are not in this version of Barnacle.".into());
            }
            _ => return Err("each of `messages` must have a `role`.".into()),
        }
        Ok(())
    }
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
            earlier: vec![(Who::User, "a".into()), (Who::Assistant, "b".into())],
            text: "c\n".into(),
        };
        assert_eq!(asked, Ok(expected));
        let plain =
            read(r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#)
                .unwrap();
        assert_eq!((&*plain.text, plain.earlier.len(), plain.agent), ("a", 0, None));
    }

    #[test]
    fn what_is_refused() {
        let user = r#""messages":[{"role":"user","content":"a"}]"#;
        for (body, part) in [
            (r#"{"messages":[]}"#.to_owned(), "Missing user message"),
            (r#"{"model":"openclaw"}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"role":"system","content":"s"}]}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"role":"user","content":" "}]}"#.to_owned(), "Missing user message"),
            (r#"{"messages":[{"content":"s"}]}"#.to_owned(), "`role`"),
            (r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#.to_owned(), "text alone"),
            (r#"{"messages":[{"role":"tool","content":"x"}]}"#.to_owned(), "results of tools"),
            (format!(r#"{{"model":"gpt-4",{user}}}"#), "Invalid `model`"),
            (format!(r#"{{"model":"openclaw/",{user}}}"#), "Invalid `model`"),
            (format!(r#"{{"temperature":9,{user}}}"#), "between 0 and 2"),
            (format!(r#"{{"top_p":"x",{user}}}"#), "between 0 and 1"),
            (format!(r#"{{"tools":[{{}}],{user}}}"#), "`tools`"),
            (format!(r#"{{"stream":1,{user}}}"#), "boolean"),
        ] {
            let error = read(&body).expect_err(&body);
            assert!(error.contains(part), "{body}: {error}");
        }
    }
}
