//! The methods that clients may call: one folder or file a family, one row a method.
//!
//! [`call`] finds the row, checks role, scope and the size of `params`, and runs the row's function. What a method
//! answers is on disk already where it says so; what follows from the answer (closing the connections of a revoked
//! device) happens after it was sent.
//!
//! A new method is a function and a row in its family's `METHODS`.

mod absent;
mod agents;
mod by;
mod channels;
mod chat;
mod config;
pub(crate) mod devices;
mod host;
mod logs;
pub(crate) mod nodes;
mod restart;
mod secrets;
mod sessions;
mod shape;
mod system;
pub(crate) mod tools;
mod usage;

pub(crate) use by::By;
pub(crate) use chat::run::resume;
pub(crate) use sessions::change::forget as forget_session;
pub(crate) use sessions::keep_tidy;
pub(crate) use system::{own_status, ready};

use crate::{
    admission::limits,
    agents::client_tools::ClientTools,
    app::App,
    config::QueueMode,
    hub::{Conn, Invocation},
    protocol::{ErrorShape, Json, Params, RequestFrame, Role, Scope, is_openclaws},
    sessions::SessionKey,
};
use devices::change::ReadChange;
use std::{future::Future, pin::Pin, rc::Rc};

/// Callers that a method admits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Operators with this scope.
    Operator(Scope),
    /// Operators with this scope at least; what else it takes depends on the parameters.
    Dynamic(Scope),
    /// Connections in role `node`.
    Node,
}

/// Effect of sending the same request twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// A second request changes nothing.
    Harmless,
    /// The second is recognised by `idempotencyKey`.
    Keyed,
    /// The second changes something again.
    ChangesTwice,
}

/// A method: one row of the table.
pub struct Method {
    /// Name on the wire.
    pub name: &'static str,
    /// Callers that the method admits.
    pub access: Access,
    /// Whether `features.methods` lists it.
    pub advertised: bool,
    /// Size limit of `params`, bytes.
    pub max_params: usize,
    /// What comes of the same request twice.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a declared fact of the row, for callers that send again")
    )]
    pub repeat: Repeat,
    run: Run,
}

/// The function of a method.
enum Run {
    /// Answered at once.
    Now(fn(&Call) -> Answer),
    /// Answered later, where the method may have to wait.
    Waits(fn(Call) -> Pending),
    /// Answered at once: there is nothing of what it is about.
    Nothing(absent::Nothing),
    /// Changes the device registry, which the command line does itself where no gateway runs.
    Change(ReadChange),
}

impl Method {
    /// The largest `params` of a method that carries no content, bytes.
    pub const PARAMS: usize = limits::PARAMS;

    const fn row(name: &'static str, access: Access, repeat: Repeat, run: Run) -> Self {
        Self { name, access, advertised: true, max_params: Self::PARAMS, repeat, run }
    }

    const fn now(name: &'static str, access: Access, repeat: Repeat, run: fn(&Call) -> Answer) -> Self {
        Self::row(name, access, repeat, Run::Now(run))
    }

    const fn waits(name: &'static str, access: Access, repeat: Repeat, run: fn(Call) -> Pending) -> Self {
        Self::row(name, access, repeat, Run::Waits(run))
    }

    const fn nothing(name: &'static str, access: Access, nothing: absent::Nothing) -> Self {
        Self::row(name, access, Repeat::Harmless, Run::Nothing(nothing))
    }

    const fn change(name: &'static str, access: Access, repeat: Repeat, read: ReadChange) -> Self {
        Self::row(name, access, repeat, Run::Change(read))
    }

    /// Leaves the method out of `features.methods`.
    const fn unadvertised(mut self) -> Self {
        self.advertised = false;
        self
    }

    /// Raises the limit of `params` to `bytes`, since they carry content.
    const fn content(mut self, bytes: usize) -> Self {
        self.max_params = bytes;
        self
    }

    /// Change of the device registry that the method makes, if it makes one.
    pub(crate) fn registry_change(&self) -> Option<ReadChange> {
        match self.run {
            Run::Change(read) => Some(read),
            _ => None,
        }
    }
}

const FAMILIES: [&[Method]; 16] = [
    system::METHODS,
    logs::METHODS,
    config::METHODS,
    restart::METHODS,
    devices::METHODS,
    nodes::METHODS,
    sessions::METHODS,
    chat::METHODS,
    chat::send::METHODS,
    agents::METHODS,
    tools::METHODS,
    channels::METHODS,
    host::METHODS,
    secrets::METHODS,
    usage::METHODS,
    absent::METHODS,
];

/// Lists all methods.
pub fn all() -> impl Iterator<Item = &'static Method> {
    FAMILIES.iter().copied().flatten()
}

/// Finds a method by its name.
pub fn find(name: &str) -> Option<&'static Method> {
    all().find(|method| method.name == name)
}

/// A request to a method.
pub(crate) struct Call {
    app: Rc<App>,
    /// The caller.
    by: By,
    request: RequestFrame,
}

impl Call {
    /// Parses the parameters.
    fn params(&self) -> Result<Params<'_>, ErrorShape> {
        Ok(self.request.params()?)
    }
}

/// Action that runs once the answer is sent.
pub(crate) type After = Box<dyn FnOnce(&Rc<App>)>;

/// The answer of a method.
pub struct Reply {
    /// Value of `payload`.
    pub payload: Json,
    /// Action that runs once the answer is sent.
    pub after: Option<After>,
}

impl Reply {
    /// The answer, and afterwards `after`.
    fn then(payload: Json, after: impl FnOnce(&Rc<App>) + 'static) -> Self {
        Self { payload, after: Some(Box::new(after)) }
    }
}

impl From<Json> for Reply {
    fn from(payload: Json) -> Self {
        Self { payload, after: None }
    }
}

type Answer = Result<Reply, ErrorShape>;
type Pending = Pin<Box<dyn Future<Output = Answer>>>;

/// Answers a request of `conn`.
pub fn call(app: Rc<App>, conn: Rc<Conn>, request: RequestFrame) -> Pending {
    dispatch(app, By::Conn(conn), request)
}

/// Does what an agent asks of its gateway. What follows from the answer is the caller's to run.
pub(crate) fn call_as_agent(app: Rc<App>, method: &str, params: &Json) -> Pending {
    use nanoserde::SerJson;
    let method = method.to_owned().serialize_json();
    let frame =
        format!(r#"{{"type":"req","id":"agent","method":{method},"params":{params}}}"#, params = params.0);
    match RequestFrame::parse(frame) {
        Ok(request) => dispatch(app, By::Agent, request),
        Err((why, _)) => Box::pin(std::future::ready(Err(ErrorShape::invalid(why.to_string())))),
    }
}

/// Answers a request of `by`.
fn dispatch(app: Rc<App>, by: By, request: RequestFrame) -> Pending {
    let method = match check(&by, &request) {
        Ok(method) => method,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    let call = Call { app, by, request };
    match &method.run {
        Run::Now(run) => Box::pin(std::future::ready(run(&call))),
        Run::Waits(run) => run(call),
        Run::Nothing(nothing) => Box::pin(std::future::ready(absent::answer(&call, nothing))),
        Run::Change(read) => Box::pin(devices::change(call, *read)),
    }
}

/// Accepts a message as the run `id` of a session, which is its own, for a client with `tools`: what follows from it, once
/// whoever sent it knows. Without a text the run answers what the session has.
///
/// # Errors
/// Why it is not accepted.
pub(crate) async fn admit_message(
    app: &Rc<App>,
    key: &SessionKey,
    id: &str,
    text: Option<&str>,
    tools: ClientTools,
) -> Result<Option<After>, ErrorShape> {
    // Who waits for this run's events gets none where another one takes its message in.
    let (mode, goes_on) = (Some(QueueMode::Followup), text.is_none());
    let how = chat::send::How { mode, tools, goes_on, ..Default::default() };
    chat::send::admit(app, key, id, text.unwrap_or_default(), how).await.map(|(_, after)| after)
}

/// Restores a saved invocation: waits for the node, for the invocation's caller.
pub fn restore(invocation: Invocation) -> Pending {
    Box::pin(nodes::invoke::outcome(invocation))
}

/// Finds the method of a request and checks, in this order: whether it exists, role, scope, the size of `params`.
/// Only then are `params` read.
fn check(by: &By, request: &RequestFrame) -> Result<&'static Method, ErrorShape> {
    let name = &request.method;
    let Some(method) = find(name) else { return Err(unknown(name)) };
    match (method.access, by.role()) {
        (Access::Operator(scope) | Access::Dynamic(scope), Role::Operator) => by.need(scope)?,
        (Access::Node, Role::Node) => {}
        (Access::Node, _) => {
            return Err(ErrorShape::invalid(format!("unauthorized role: {name} is for nodes")));
        }
        (_, Role::Node) => {
            return Err(ErrorShape::invalid(format!("unauthorized role: {name} is for operators")));
        }
    }
    match (request.params_len(), method.max_params) {
        (length, most) if length > most => Err(ErrorShape::invalid(format!(
            "invalid {name} params: {length} bytes, more than the {most} that this method takes"
        ))),
        _ => Ok(method),
    }
}

/// The refusal of a method that is not served.
fn unknown(name: &str) -> ErrorShape {
    match is_openclaws(name) {
        _ if name == "connect" => ErrorShape::invalid("connect is only valid as the first request"),
        true => ErrorShape::never(format!(
            "{name} is a method of OpenClaw that this version of Barnacle does not have"
        )),
        false => ErrorShape::invalid(format!("unknown method: {name}")),
    }
}

/// Asks `conn` for `scope`; the refusal says how it is obtained.
fn need(conn: &Conn, scope: Scope) -> Result<(), ErrorShape> {
    if conn.allows(scope) {
        return Ok(());
    }
    let session = conn.session();
    let hint = match session.device {
        None => "this connection has no device and is not from this host, so it has no scopes: connect \
                 with a device, and approve it with barnacle devices approve"
            .into(),
        Some(_) if session.requested.allows(scope) => {
            format!(
                "{} waits for approval; see barnacle devices list, then barnacle devices approve <requestId>",
                scope.as_str()
            )
        }
        Some(_) => format!(
            "this connection asked for [{}]; connect again asking for {}",
            session.requested,
            scope.as_str()
        ),
    };
    Err(ErrorShape::missing_scope(scope, Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::openclaw_scope;

    /// Barnacle's own methods, which OpenClaw does not have.
    const OWN: [&str; 1] = ["config.plan"];

    #[test]
    fn scopes_are_those_of_the_schema() {
        for Method { name, access, .. } in all().filter(|method| !OWN.contains(&method.name)) {
            let expected = match access {
                Access::Operator(scope) => scope.as_str(),
                Access::Dynamic(_) => "dynamic",
                Access::Node => "node",
            };
            assert_eq!(openclaw_scope(name), Some(expected), "{name}");
        }
        assert!(OWN.iter().all(|name| openclaw_scope(name).is_none()));
    }

    #[test]
    fn each_method_has_one_row() {
        let mut names: Vec<_> = all().map(|method| method.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn what_a_method_does_when_it_is_sent_twice() {
        let those = |repeat| -> Vec<_> { all().filter(|m| m.repeat == repeat).map(|m| m.name).collect() };
        let keyed = ["node.invoke", "sessions.create", "chat.send", "agent", "sessions.send"];
        assert_eq!(those(Repeat::Keyed), keyed);
        let twice = [
            "gateway.restart.request",
            "device.token.rotate",
            "device.pair.setupCode",
            "node.event",
            "sessions.reset",
            "sessions.compact",
            "chat.inject",
            "tools.invoke",
        ];
        assert_eq!(those(Repeat::ChangesTwice), twice);
    }

    #[test]
    fn only_methods_that_carry_content_take_large_params() {
        let large: Vec<_> = all().filter(|m| m.max_params > Method::PARAMS).map(|m| m.name).collect();
        let content = [
            "config.plan",
            "config.set",
            "config.patch",
            "config.apply",
            "node.invoke",
            "node.invoke.result",
            "node.event",
            "chat.inject",
            "chat.send",
            "agent",
            "sessions.send",
            "tools.invoke",
        ];
        assert_eq!(large, content);
    }
}
