//! Tools: what an agent may do, one file and one row each.
//!
//! A tool knows nothing of the running gateway. What it does, it does by the gateway's own methods, through a function that
//! it is handed ([`Use::call`]): so that it can do nothing that a client could not, and a change that it makes is on disk and
//! told to clients as any other. What it is given is held against its schema first ([`arguments`]), and what it gives back is
//! for a model: an error is a sentence that the model can act on, and never the end of a run.
//!
//! Which tools an agent has is decided by [`policy`]; which sessions they see, by [`reach`].

pub mod arguments;
pub mod policy;
pub mod reach;
pub mod result;

mod agents_list;
mod gateway;
mod message;
mod nodes;
mod session_status;
mod sessions_history;
mod sessions_list;

use crate::{
    config::Settings,
    protocol::{ErrorShape, Json, Readable, json},
    sessions::SessionKey,
};
use policy::{Facts, Named, Nesting};
use result::{After, Fault, Outcome, Problem};
use std::{future::Future, pin::Pin, rc::Rc};

/// A kind of tools, as a catalog shows them together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Conversations.
    Sessions,
    /// Agents.
    Agents,
    /// Messages to people.
    Messaging,
    /// The gateway itself.
    Automation,
    /// Paired nodes.
    Nodes,
}

impl Group {
    /// All of them, in the order of a catalog.
    pub const ALL: [Self; 5] = [Self::Sessions, Self::Messaging, Self::Agents, Self::Automation, Self::Nodes];

    /// Its name, which stands after `group:` in a policy.
    pub fn id(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Agents => "agents",
            Self::Messaging => "messaging",
            Self::Automation => "automation",
            Self::Nodes => "nodes",
        }
    }

    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Agents => "Agents",
            Self::Messaging => "Messaging",
            Self::Automation => "Automation",
            Self::Nodes => "Nodes",
        }
    }
}

/// What comes of a tool that is used twice with the same arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// Nothing more: it may be used again where nobody knows whether it was.
    Harmless,
    /// The second time changes something again.
    ChangesTwice,
}

/// A tool: one row of the table.
pub struct Tool {
    /// Name that a model calls it by.
    pub name: &'static str,
    /// Name for people.
    pub label: &'static str,
    /// Where a catalog shows it.
    pub group: Group,
    /// What it does, for a model.
    pub description: &'static str,
    /// JSON schema of its arguments: an object.
    pub parameters: &'static str,
    /// What comes of it when it is used twice.
    #[allow(dead_code, reason = "for runs that go on after a restart")]
    pub repeat: Repeat,
    /// Its function.
    pub run: fn(Use) -> Working,
}

impl Tool {
    /// Whether it takes an argument of this name.
    pub fn takes(&self, name: &str) -> bool {
        let properties = json::members(self.parameters).find(|(known, _)| *known == "properties");
        properties.is_some_and(|(_, all)| json::members(all).any(|(known, _)| known == name))
    }
}

/// A tool at work.
pub type Working = Pin<Box<dyn Future<Output = Result<Outcome, Problem>>>>;

/// The answer of one of the gateway's methods.
pub struct Answered {
    /// What it answered.
    pub payload: Json,
    /// What follows from the answer, to be run once that was given.
    pub after: Option<After>,
}

/// A method of the gateway at work.
pub type Asked = Pin<Box<dyn Future<Output = Result<Answered, ErrorShape>>>>;
/// Calls a method of the gateway for an agent: its name and parameters.
pub type Call = Rc<dyn Fn(&'static str, Json) -> Asked>;

/// Where a tool is used.
#[derive(Clone)]
pub struct Place {
    /// Session that the agent runs in.
    pub session: SessionKey,
    /// Id of the run; none where a client uses the tool.
    pub run: Option<String>,
    /// The configuration.
    pub settings: Rc<Settings>,
    /// The gateway's methods.
    pub call: Call,
}

/// A use of a tool.
pub struct Use {
    /// Session that the agent runs in.
    pub session: SessionKey,
    /// Id of the run; none where a client uses the tool.
    #[allow(dead_code, reason = "for tools that answer into their run")]
    pub run: Option<String>,
    /// The configuration.
    pub settings: Rc<Settings>,
    /// The arguments, which fit the tool's schema.
    pub arguments: Readable,
    /// The gateway's methods.
    pub call: Call,
}

impl Use {
    /// Calls a method of the gateway. What follows from its answer follows at once.
    ///
    /// # Errors
    /// The method's own.
    pub async fn ask(&self, method: &'static str, params: Json) -> Result<Json, ErrorShape> {
        let Answered { payload, after } = (self.call)(method, params).await?;
        if let Some(after) = after {
            after();
        }
        Ok(payload)
    }
}

/// Every tool, in the order of a catalog.
const ALL: &[&Tool] = &[
    &sessions_list::TOOL,
    &sessions_history::TOOL,
    &session_status::TOOL,
    &message::TOOL,
    &agents_list::TOOL,
    &gateway::TOOL,
    &nodes::TOOL,
];

/// Lists all tools.
pub fn all() -> impl Iterator<Item = &'static Tool> {
    ALL.iter().copied()
}

/// Finds a tool by its name.
pub fn find(name: &str) -> Option<&'static Tool> {
    all().find(|tool| tool.name == name)
}

/// The text that a call of a run before a restart sent to the session `key`, by its arguments and what it gave.
pub fn sent_to(key: &str, name: &str, arguments: &str, result: &str) -> Option<String> {
    (name == message::TOOL.name).then(|| message::sent_to(key, arguments, result))?
}

/// What decides which tools an agent has in a session.
pub fn facts<'a>(settings: &'a Settings, session: &'a SessionKey) -> Facts<'a> {
    let agents = &settings.config.agents;
    let nesting = match session.classification(agents) {
        "subagent" => Nesting::Subagent,
        _ => Nesting::None,
    };
    let facts = Facts::plain(&settings.config.tools, session.agent(), agents.model.as_deref());
    Facts { nesting, ..facts }
}

/// The tools that an agent has in a session.
pub fn offered(settings: &Settings, session: &SessionKey) -> Vec<&'static Tool> {
    let facts = facts(settings, session);
    all().filter(|tool| policy::judge(&facts, Named::own(tool.name)).is_ok()).collect()
}

/// Uses the tool `name` with the arguments that a model wrote. Whatever is wrong, it is a result that the model can read.
pub async fn invoke(place: Place, name: &str, arguments: &str) -> Outcome {
    let name = name.trim();
    match begin(place, name, arguments) {
        Ok(working) => working.await,
        Err(problem) => Err(problem),
    }
    .unwrap_or_else(|problem| Outcome::problem(name, &problem))
}

fn begin(place: Place, name: &str, arguments: &str) -> Result<Working, Problem> {
    let Some(tool) = find(name) else {
        let known: Vec<&str> =
            offered(&place.settings, &place.session).into_iter().map(|tool| tool.name).collect();
        let message = format!("there is no tool {name:?}; there are {}", known.join(", "));
        return Err(Problem { fault: Fault::Unknown, message });
    };
    policy::judge(&facts(&place.settings, &place.session), Named::own(tool.name)).map_err(|step| {
        Problem {
            fault: Fault::NotAllowed,
            message: format!("the tool {name} is not available here: {step}; do without it"),
        }
    })?;
    let arguments = arguments::read(tool.parameters, arguments).map_err(Problem::arguments)?;
    let Place { session, run, settings, call } = place;
    let arguments = Readable::new(tool.name, Json(arguments.to_owned()));
    Ok((tool.run)(Use { session, run, settings, arguments, call }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole() {
        let mut names: Vec<_> = all().map(|tool| tool.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for tool in all() {
            assert!(Json::passed_on(tool.parameters).is_some(), "{}", tool.name);
            let member = |name: &str| {
                json::members(tool.parameters).find(|(known, _)| *known == name).map(|(_, value)| value)
            };
            assert_eq!(member("type"), Some("\"object\""), "{}", tool.name);
            assert_eq!(member("additionalProperties"), Some("false"), "{}", tool.name);
            assert!(policy::is_in(tool.group.id(), tool.name), "{}", tool.name);
            for (name, schema) in json::members(member("properties").unwrap()) {
                assert!(schema.contains("\"description\""), "{}.{name}", tool.name);
            }
        }
    }

    #[test]
    fn what_a_tool_does_when_it_is_used_twice() {
        let twice: Vec<_> = all().filter(|t| t.repeat == Repeat::ChangesTwice).map(|t| t.name).collect();
        assert_eq!(twice, ["message", "gateway", "nodes"]);
    }
}
