//! Tools that a client offers for one question, and carries out itself: what a model is told of them, and what is wrong with
//! what a client says.
//!
//! Source: OpenAI's API reference, `tools` and `tool_choice` of "Create chat completion", and OpenClaw's
//! `docs/gateway/openai-http-api.md`.

use super::model::{Choice, Offer};
use crate::protocol::{Json, json};

/// Most tools of one request, the longest name, and the most bytes of all.
const TOOLS: usize = 128;
const NAME: usize = 64;
const BYTES: usize = 256 << 10;

/// The schema of a tool that takes nothing.
const NOTHING: &str = r#"{"type":"object","properties":{}}"#;

/// The tools of a client, and whether one of them must be called.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ClientTools {
    tools: Vec<ClientTool>,
    /// Whether the model must call one.
    pub choice: Choice,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct ClientTool {
    name: String,
    description: String,
    parameters: String,
}

impl ClientTools {
    /// Reads `tools` and `tool_choice`, JSON.
    ///
    /// # Errors
    /// In words, for the client.
    pub fn read(tools: Option<&str>, choice: Option<&str>) -> Result<Self, String> {
        let list = tools.filter(|tools| *tools != "null").unwrap_or("[]");
        if !list.starts_with('[') {
            return Err("`tools` must be a list.".into());
        }
        let mut all: Vec<ClientTool> = Vec::new();
        for (n, item) in json::items(list).enumerate() {
            if n == TOOLS {
                return Err(format!("`tools` may hold {TOOLS} at most."));
            }
            let tool = ClientTool::read(item).map_err(|why| format!("`tools[{n}]`: {why}"))?;
            if all.iter().any(|other| other.name == tool.name) {
                return Err(format!(
                    "`tools[{n}]`: there is a tool {:?} before; each must have a name of its own.",
                    tool.name
                ));
            }
            all.push(tool);
        }
        let bytes: usize = all.iter().map(|tool| tool.description.len() + tool.parameters.len()).sum();
        if bytes > BYTES {
            return Err(format!(
                "`tools` have {bytes} bytes of descriptions and schemas, and may have {BYTES}."
            ));
        }
        Self { tools: all, choice: Choice::Free }.choosing(choice)
    }

    /// Takes away what is not to be chosen.
    fn choosing(mut self, choice: Option<&str>) -> Result<Self, String> {
        const KINDS: &str = "`tool_choice` must be \"auto\", \"none\", \"required\", or \
                             {\"type\": \"function\", \"function\": {\"name\": …}}.";
        match choice.unwrap_or("null") {
            "null" | "\"auto\"" => {}
            "\"none\"" => self.tools.clear(),
            "\"required\"" if self.tools.is_empty() => {
                return Err("`tool_choice` is \"required\", and there are no `tools`.".into());
            }
            "\"required\"" => self.choice = Choice::Any,
            object if json::is_object(object) && text(object, "type").as_deref() == Some("function") => {
                let name = json::member(object, "function").and_then(|function| text(function, "name"));
                let name = name.ok_or(KINDS)?;
                self.tools.retain(|tool| tool.name == name);
                if self.tools.is_empty() {
                    return Err(format!("`tool_choice` names {name:?}, which is none of `tools`."));
                }
                self.choice = Choice::This(name);
            }
            _ => return Err(KINDS.into()),
        }
        Ok(self)
    }

    /// Whether one has this name.
    pub fn has(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    /// What a model is told of them.
    pub fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.tools.iter().map(|tool| Offer {
            name: &tool.name,
            description: &tool.description,
            parameters: &tool.parameters,
        })
    }
}

impl ClientTool {
    fn read(item: &str) -> Result<Self, String> {
        if text(item, "type").as_deref() != Some("function") {
            return Err("only tools of the type \"function\" are taken.".into());
        }
        let function = json::member(item, "function").filter(|function| json::is_object(function));
        let function = function.ok_or("`function` must be an object.")?;
        let name = text(function, "name").ok_or("`function.name` is missing.")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME || !name.chars().all(is_plain) {
            return Err(format!("`function.name` must be of letters, digits, `_` and `-`, {NAME} at most."));
        }
        let description = match json::member(function, "description") {
            None | Some("null") => String::new(),
            Some(value) => json::text(value).ok_or("`function.description` must be a text.")?.into_owned(),
        };
        let parameters = match json::member(function, "parameters") {
            None | Some("null") => NOTHING.to_owned(),
            Some(schema) => schema_of(schema)?,
        };
        Ok(Self { name, description, parameters })
    }
}

/// A schema of arguments as every model's server takes it: of an object, which it says.
fn schema_of(schema: &str) -> Result<String, String> {
    const WRONG: &str = "`function.parameters` must be a JSON schema of an object";
    let schema = Json::passed_on(schema).filter(|schema| json::is_object(&schema.0));
    let schema = schema.ok_or_else(|| format!("{WRONG}."))?.0;
    let properties = json::member(&schema, "properties");
    if properties.is_some_and(|properties| !json::is_object(properties)) {
        return Err(format!("{WRONG}, whose `properties` are one."));
    }
    let is_schema = |value: &str| json::is_object(value) || matches!(value, "true" | "false");
    if let Some((name, _)) = json::members(properties.unwrap_or("{}")).find(|(_, value)| !is_schema(value)) {
        return Err(format!("{WRONG}, and that of `{name}` is none."));
    }
    if let Some(required) = json::member(&schema, "required")
        && (!required.starts_with('[') || json::items(required).any(|name| !name.starts_with('"')))
    {
        return Err(format!("{WRONG}, whose `required` is a list of names."));
    }
    match json::member(&schema, "type") {
        Some("\"object\"") => Ok(schema),
        None if json::members(&schema).next().is_none() => Ok(NOTHING.into()),
        None => Ok(schema.replacen('{', r#"{"type":"object","#, 1)),
        Some(_) => Err(format!("{WRONG}, and its `type` is another.")),
    }
}

fn text(object: &str, name: &str) -> Option<String> {
    Some(json::text(json::member(object, name)?)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(function: &str) -> String {
        format!(r#"{{"type":"function","function":{function}}}"#)
    }

    fn named(names: &[&str]) -> String {
        let all: Vec<String> = names.iter().map(|name| tool(&format!(r#"{{"name":"{name}"}}"#))).collect();
        format!("[{}]", all.join(","))
    }

    #[test]
    fn what_is_chosen_of_what_is_offered() {
        let this = r#"{"type":"function","function":{"name":"b"}}"#;
        for (choice, names, expected) in [
            (None, "a b", Choice::Free),
            (Some("null"), "a b", Choice::Free),
            (Some("\"auto\""), "a b", Choice::Free),
            (Some("\"none\""), "", Choice::Free),
            (Some("\"required\""), "a b", Choice::Any),
            (Some(this), "b", Choice::This("b".into())),
        ] {
            let read = ClientTools::read(Some(&named(&["a", "b"])), choice).unwrap();
            let found: Vec<&str> = read.offers().map(|offer| offer.name).collect();
            assert_eq!((&*found.join(" "), &read.choice), (names, &expected), "{choice:?}");
        }
        assert_eq!(ClientTools::read(Some("null"), None), Ok(ClientTools::default()));
    }

    #[test]
    fn a_schema_says_that_it_is_of_an_object() {
        for (parameters, expected) in [
            ("null", NOTHING),
            ("{}", NOTHING),
            (r#"{"type":"object","required":["a"]}"#, r#"{"type":"object","required":["a"]}"#),
            (r#"{"properties":{"a":{},"b":true}}"#, r#"{"type":"object","properties":{"a":{},"b":true}}"#),
        ] {
            let list = format!("[{}]", tool(&format!(r#"{{"name":"a","parameters":{parameters}}}"#)));
            let read = ClientTools::read(Some(&list), None).unwrap();
            assert_eq!(read.offers().next().unwrap().parameters, expected);
        }
    }

    #[test]
    fn what_is_refused() {
        let one = |function: &str| format!("[{}]", tool(function));
        let with = |schema: &str| one(&format!(r#"{{"name":"a","parameters":{schema}}}"#));
        let many: Vec<String> = (0..=TOOLS).map(|n| format!("t{n}")).collect();
        let many = named(&many.iter().map(|name| &**name).collect::<Vec<_>>());
        let long = one(&format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(BYTES + 1)));
        for (tools, choice, part) in [
            ("{}".to_owned(), None, "must be a list"),
            ("[{}]".to_owned(), None, "`tools[0]`: only tools of the type"),
            (r#"[{"type":"custom","custom":{"name":"x"}}]"#.to_owned(), None, "only tools of the type"),
            (r#"[{"type":"function"}]"#.to_owned(), None, "must be an object"),
            (one("{}"), None, "`function.name` is missing"),
            (one(r#"{"name":"a b"}"#), None, "letters, digits"),
            (named(&[&"x".repeat(65)]), None, "64 at most"),
            (named(&["a", "b", "a"]), None, "`tools[2]`: there is a tool \"a\""),
            (one(r#"{"name":"a","description":1}"#), None, "must be a text"),
            (with("[]"), None, "must be a JSON schema"),
            (with(r#"{"type":"string"}"#), None, "its `type` is another"),
            (with(r#"{"properties":[]}"#), None, "whose `properties`"),
            (with(r#"{"properties":{"x":1}}"#), None, "that of `x` is none"),
            (with(r#"{"required":[1]}"#), None, "a list of names"),
            (many, None, "128 at most"),
            (long, None, "may have 262144"),
            (named(&["a"]), Some("\"any\""), "`tool_choice` must be"),
            (named(&["a"]), Some(r#"{"type":"allowed_tools"}"#), "`tool_choice` must be"),
            (named(&["a"]), Some(r#"{"type":"function"}"#), "`tool_choice` must be"),
            (named(&["a"]), Some(r#"{"type":"function","function":{"name":"c"}}"#), "names \"c\""),
            ("[]".to_owned(), Some("\"required\""), "there are no `tools`"),
        ] {
            let error = ClientTools::read(Some(&tools), choice).expect_err(part);
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
