//! `POST /tools/invoke`: the same over plain HTTP, with fewer tools.
//!
//! Whoever admitted the request says which scopes it has. Source: `docs/gateway/tools-invoke-http-api.md`.

use super::invoke;
use crate::{
    app::App,
    methods::shape::Object,
    protocol::{Json, Params, Readable, Scope, Scopes, json::Scanner},
    sessions::SessionKey,
    tools::{
        self,
        policy::{self, Named},
        result::{After, Fault, Outcome},
    },
};
use std::rc::Rc;

/// Most bytes of a request.
pub(crate) const BODY: usize = 2 << 20;
/// The scope that a request needs.
pub(crate) const NEEDS: Scope = Scope::Write;

/// An answer: status and body, and what follows once it is sent.
pub(crate) struct Answered {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Json,
    /// What follows.
    pub after: Option<After>,
}

impl Answered {
    fn error(status: u16, kind: &str, message: &str) -> Self {
        let error = Object::new().put("type", kind).put("message", message).json();
        Self { status, body: Object::new().put("ok", &false).put("error", &error).json(), after: None }
    }
}

/// Answers a request whose caller has `scopes`.
pub(crate) async fn answer(app: &Rc<App>, scopes: Scopes, body: &[u8]) -> Answered {
    let wrong = |message: &str| Answered::error(400, "invalid_request", message);
    let Ok(text) = std::str::from_utf8(body) else { return wrong("the body is not UTF-8") };
    let mut scanner = Scanner::new(text);
    if scanner.skip().is_err() || !scanner.is_at_end() || !text.trim_start().starts_with('{') {
        return wrong("the body must be a JSON object: {\"tool\": …, \"args\": {…}}");
    }
    if let Err(error) = app.sessions.ready().await {
        return Answered::error(500, "tool_error", error.message());
    }
    let request = Readable::new("tools/invoke", Json(text.to_owned()));
    let (name, key, arguments) = match read(app, &request.params()) {
        Ok(read) => read,
        Err(why) => return wrong(&why),
    };
    let settings = app.settings();
    let is_owner = scopes.allows(Scope::Admin);
    if !policy::is_for_http(&settings.config.tools, Named::own(&name), is_owner) {
        let message = match tools::find(&name) {
            Some(_) => format!("tool not available over HTTP: {name}; see gateway.tools.allow"),
            None => format!("tool not available: {name}"),
        };
        return Answered::error(404, "not_found", &message);
    }
    answered(invoke(app, &key, None, &name, &arguments).await)
}

/// The tool, the session and the arguments that a request names.
fn read(app: &App, params: &Params<'_>) -> Result<(String, SessionKey, String), String> {
    let told = |fault: crate::protocol::ParamFault| fault.0;
    let name = match params.opt_str("name").map_err(told)? {
        Some(name) => Some(name),
        None => params.opt_str("tool").map_err(told)?,
    };
    let name =
        name.map(str::trim).filter(|name| !name.is_empty()).ok_or("tool is required: the tool's name")?;
    let settings = app.settings();
    let key = SessionKey::parse(
        params.opt_str("sessionKey").map_err(told)?.unwrap_or("main"),
        params.opt_str("agentId").map_err(told)?,
        &settings.config.agents,
    );
    let key = key.map_err(|e| e.to_string())?;
    params.opt_object("args").map_err(told)?;
    let arguments = params.value("args").unwrap_or("{}");
    Ok((name.to_owned(), key, with_action(name, arguments, params.value("action"))))
}

/// The arguments, with the `action` that stands beside them, where the tool takes one and they have none.
fn with_action(tool: &str, arguments: &str, action: Option<&str>) -> String {
    let given = Readable::new("args", Json(arguments.to_owned()));
    let takes = tools::find(tool).is_some_and(|tool| tool.takes("action"));
    match action.filter(|_| takes && given.params().value("action").is_none()) {
        None => arguments.to_owned(),
        Some(action) => {
            let rest = arguments.trim().trim_start_matches('{').trim_start();
            let comma = if rest.starts_with('}') { "" } else { "," };
            format!("{{\"action\":{action}{comma}{rest}")
        }
    }
}

fn answered(outcome: Outcome) -> Answered {
    let Some(fault) = outcome.fault else {
        let body = Object::new().put("ok", &true).put("result", &super::output(&outcome)).json();
        return Answered { status: 200, body, after: outcome.after };
    };
    let status = match fault {
        Fault::Unknown | Fault::NotAllowed => 404,
        Fault::Arguments => 400,
        Fault::Failed => 500,
    };
    let error = Object::new().put("type", fault.as_str()).put("message", &super::message_of(&outcome)).json();
    let body = Object::new().put("ok", &false).put("error", &error).json();
    Answered { status, body, after: outcome.after }
}

#[cfg(test)]
mod tests {
    use super::with_action;

    #[test]
    fn an_action_beside_the_arguments_is_theirs_where_they_have_none() {
        let rows = [
            ("message", "{}", Some("\"send\""), r#"{"action":"send"}"#),
            ("message", r#" {"message":"x"}"#, Some("\"send\""), r#"{"action":"send","message":"x"}"#),
            ("message", r#"{"action":"a"}"#, Some("\"send\""), r#"{"action":"a"}"#),
            ("sessions_list", "{}", Some("\"json\""), "{}"),
            ("no_tool", "{}", Some("\"json\""), "{}"),
            ("message", "{}", None, "{}"),
        ];
        for (tool, arguments, action, expected) in rows {
            assert_eq!(with_action(tool, arguments, action), expected, "{tool} {arguments}");
        }
    }
}
