//! `tools.*`: what agents may do, listed and done.
//!
//! Shapes as OpenClaw 2026.9 has them; sources: `protocol.schema.json`, `docs/gateway/protocol/operator-methods.md`.

pub(crate) mod http;

use super::{Access::Operator, Answer, Call, Method, Repeat, Reply, call_as_agent, shape::Object};
use crate::{
    app::App,
    protocol::{ErrorShape, Json, Params, Scope},
    sessions::SessionKey,
    tools::{
        self, Answered, Group, Place, Tool,
        policy::{self, Named},
        result::{Fault, Outcome, Problem},
    },
};
use std::rc::Rc;

const READ: super::Access = Operator(Scope::Read);
/// The largest parameters of a tool that is used, bytes.
const ARGUMENTS: usize = tools::arguments::LONGEST + (64 << 10);

/// The largest result that stands in a transcript, bytes.
const LARGEST: usize = 1 << 20;
/// Characters of a larger one that are shown.
const BEGINNING: usize = 4000;

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::now("tools.catalog", READ, Repeat::Harmless, catalog),
    Method::now("tools.effective", READ, Repeat::Harmless, effective),
    Method::waits("tools.invoke", Operator(Scope::Write), Repeat::ChangesTwice, |c| Box::pin(invoked(c)))
        .content(ARGUMENTS),
];

/// Uses a tool for an agent that runs in `session`: whatever is wrong, the result says it.
pub(crate) async fn invoke(
    app: &Rc<App>,
    session: &SessionKey,
    run: Option<&str>,
    name: &str,
    arguments: &str,
) -> Outcome {
    let weak = Rc::downgrade(app);
    let call = move |method: &'static str, params: Json| -> tools::Asked {
        let Some(app) = weak.upgrade() else {
            return Box::pin(std::future::ready(Err(ErrorShape::later("the gateway stops", 1000))));
        };
        Box::pin(async move {
            let Reply { payload, after } = call_as_agent(app.clone(), method, &params).await?;
            let after = after.map(|after| -> tools::result::After { Box::new(move || after(&app)) });
            Ok(Answered { payload, after })
        })
    };
    let place = Place {
        session: session.clone(),
        run: run.map(str::to_owned),
        settings: app.settings(),
        call: Rc::new(call),
    };
    let outcome = tools::invoke(place, name, arguments).await;
    match outcome.text.len() > LARGEST {
        true => kept_beside(app, session, outcome).await,
        false => outcome,
    }
}

/// Puts a result that is too large for a transcript into a file beside it, which the model is told.
async fn kept_beside(app: &Rc<App>, session: &SessionKey, outcome: Outcome) -> Outcome {
    let size = outcome.text.len();
    let beginning: String = outcome.text.chars().take(BEGINNING).collect();
    let object = Object::new().put("status", "ok").put("bytes", &size);
    let kept = match app.sessions.row(session) {
        Some(row) => {
            app.sessions.keep_beside(session, &row.id, outcome.text).await.map_err(|e| e.to_string())
        }
        None => Err("the session has not begun".into()),
    };
    let object = match kept {
        Ok(path) => object
            .put("note", "the result is too large to be shown; all of it is in the file")
            .put("file", &*path.to_string_lossy()),
        Err(why) => {
            log::warn!("{}: a result of {size} bytes is not kept: {why}", session.wire());
            object
                .put("note", &format!("the result is too large to be shown, and all but this is lost: {why}"))
        }
    };
    Outcome { text: object.put("beginning", &beginning).json().0, ..outcome }
}

/// The agent that is asked about.
fn agent(call: &Call, params: &Params<'_>) -> Result<String, ErrorShape> {
    let settings = call.app.settings();
    let agents = &settings.config.agents;
    let id = params.opt_str("agentId")?.map_or_else(|| agents.default.clone(), str::to_lowercase);
    match agents.ids.contains(&id) {
        true => Ok(id),
        false => Err(ErrorShape::invalid(format!("unknown agent id \"{id}\""))),
    }
}

/// `tools.catalog`: every tool that there is, whoever has it.
fn catalog(call: &Call) -> Answer {
    let params = call.params()?;
    let id = agent(call, &params)?;
    let entry = |tool: &Tool| {
        let profiles =
            policy::profiles_with(Named::own(tool.name)).map(|profile| profile.as_str().to_owned());
        Object::new()
            .put("id", tool.name)
            .put("label", tool.label)
            .put("description", tool.description)
            .put("source", "core")
            .put("defaultProfiles", &profiles.collect::<Vec<_>>())
            .json()
    };
    let group = |group: Group| {
        let rows: Vec<Json> = tools::all().filter(|tool| tool.group == group).map(entry).collect();
        let object = Object::new().put("id", group.id()).put("label", group.label()).put("source", "core");
        (!rows.is_empty()).then(|| object.put("tools", &rows).json())
    };
    let profiles =
        [("minimal", "Minimal"), ("coding", "Coding"), ("messaging", "Messaging"), ("full", "Full")];
    let profiles = profiles.map(|(id, label)| Object::new().put("id", id).put("label", label).json());
    let groups: Vec<Json> = Group::ALL.into_iter().filter_map(group).collect();
    let object = Object::new().put("agentId", &id).put("profiles", &profiles.to_vec());
    Ok(object.put("groups", &groups).json().into())
}

/// `tools.effective`: the tools that an agent has in a session.
fn effective(call: &Call) -> Answer {
    let params = call.params()?;
    let key = super::sessions::key(call, &params, "sessionKey")?;
    let settings = call.app.settings();
    let facts = tools::facts(&settings, &key);
    let entry = |tool: &&'static Tool| {
        Object::new()
            .put("id", tool.name)
            .put("label", tool.label)
            .put("description", tool.description)
            .put("rawDescription", tool.description)
            .put("source", "core")
            .json()
    };
    let rows: Vec<Json> = tools::offered(&settings, &key).iter().map(entry).collect();
    let group = Object::new().put("id", "core").put("label", "Built-in tools").put("source", "core");
    let groups: Vec<Json> =
        (!rows.is_empty()).then(|| group.put("tools", &rows).json()).into_iter().collect();
    Ok(Object::new()
        .put("agentId", key.agent())
        .put("profile", policy::profile(&facts).map_or("full", |profile| profile.as_str()))
        .put("groups", &groups)
        .json()
        .into())
}

/// `tools.invoke`: uses a tool as the agent of a session would. What it cannot do is an answer, too.
async fn invoked(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let name = params.str("name")?.trim();
    let key = match params.value("sessionKey") {
        Some(_) => super::sessions::key(&call, &params, "sessionKey")?,
        None => {
            let settings = call.app.settings();
            SessionKey::parse("main", params.opt_str("agentId")?, &settings.config.agents)
                .map_err(|e| ErrorShape::invalid(e.to_string()))?
        }
    };
    if params.opt_object("args")?.is_none() && params.value("args").is_some() {
        return Err(params.invalid("args", "object").into());
    }
    let outcome = match policy::is_owners(name) && !call.by.allows(Scope::Admin) {
        true => Outcome::problem(name, &owners(name)),
        false => invoke(&call.app, &key, None, name, params.value("args").unwrap_or("{}")).await,
    };
    let object = Object::new().put("ok", &!outcome.is_error()).put("toolName", name).put("source", "core");
    let object = match outcome.fault {
        None => object.put("output", &output(&outcome)),
        Some(fault) => {
            let error =
                Object::new().put("code", fault.as_str()).put("message", &message_of(&outcome)).json();
            object.put("error", &error)
        }
    };
    let payload = object.json();
    Ok(match outcome.after {
        Some(after) => Reply::then(payload, |_| after()),
        None => payload.into(),
    })
}

/// The refusal of a tool that only owners use.
fn owners(name: &str) -> Problem {
    let message = format!("the tool {name} is for owners: it needs operator.admin");
    Problem { fault: Fault::NotAllowed, message }
}

/// The result of a tool, as clients get it.
fn output(outcome: &Outcome) -> Json {
    let text = Object::new().put("type", "text").put("text", &outcome.text).json();
    let details = outcome.details.clone().or_else(|| Json::passed_on(&outcome.text));
    Object::new().put("content", &vec![text]).opt("details", details.as_ref()).json()
}

/// The sentence of a result that is an error.
fn message_of(outcome: &Outcome) -> Json {
    use crate::protocol::json;
    let message = json::members(&outcome.text).find(|(name, _)| *name == "error").map(|(_, value)| value);
    message.map_or_else(|| Json::of(&outcome.text), |value| Json(value.to_owned()))
}
