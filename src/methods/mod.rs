//! What clients may ask for: one file a family, one function a method.
//!
//! [`call`] checks the scope, finds the method, and hands it the caller and the parameters. What it
//! answers is on disk already where it says so; what follows from the answer (closing the connections
//! of a revoked device) happens after it was sent.

mod config;
mod config_plan;
mod devices;
mod invoke;
mod logs;
mod nodes;
mod restart;
mod setup;
mod system;
mod tokens;
pub mod wire;

use crate::{
    hub::{Conn, Hub, Invocation},
    protocol::{Access, ErrorShape, Json, RequestFrame, Role, Scope, access, openclaw_scope},
};
use std::{future::Future, pin::Pin, rc::Rc};

/// What is done once the answer is out.
type After = Box<dyn FnOnce(&Rc<Hub>)>;

/// An answer.
pub struct Reply {
    /// `payload`.
    pub payload: Json,
    /// What follows from it.
    pub after: Option<After>,
}

impl Reply {
    /// The answer, and afterwards `after`.
    fn then(payload: Json, after: impl FnOnce(&Rc<Hub>) + 'static) -> Self {
        Self { payload, after: Some(Box::new(after)) }
    }
}

impl From<Json> for Reply {
    fn from(payload: Json) -> Self {
        Self { payload, after: None }
    }
}

type Answer = Result<Reply, ErrorShape>;
type Call = Pin<Box<dyn Future<Output = Answer>>>;

/// Answers a request of `conn`.
pub fn call(hub: Rc<Hub>, conn: Rc<Conn>, request: RequestFrame) -> Call {
    if let Err(error) = check(&conn, &request.method) {
        return Box::pin(std::future::ready(Err(error)));
    }
    Box::pin(async move { run(&hub, &conn, &request).await })
}

/// Goes on waiting for a node, for the caller of an invocation that was written down.
pub fn resume(invocation: Invocation) -> Call {
    Box::pin(invoke::outcome(invocation))
}

async fn run(hub: &Rc<Hub>, conn: &Rc<Conn>, request: &RequestFrame) -> Answer {
    let params = request.params();
    match request.method.as_str() {
        "health" => Ok(system::health(hub).into()),
        "status" => Ok(system::status(hub).into()),
        "system-presence" => Ok(hub.presence_all().into()),
        // Agents, and with them their heartbeats, do not run in this version.
        "last-heartbeat" => Ok(Json::null().into()),
        "gateway.identity.get" => Ok(system::identity(hub).into()),
        "gateway.restart.preflight" => Ok(restart::preflight().into()),
        "gateway.restart.request" => restart::request(hub, &params).await,
        "config.get" => Ok(config::get(hub, conn).await.into()),
        "config.plan" => config_plan::plan(hub, conn, &params).await,
        "config.set" => config::write::set(hub, conn, &params).await,
        "config.patch" => config::write::patch(hub, conn, &params).await,
        "config.schema" => Ok(config::schema::whole().into()),
        "config.schema.lookup" => config::schema::lookup(&params),
        "config.apply" => config::write::apply(hub, conn, &params).await,
        "logs.tail" => logs::tail(hub, &params),
        "device.pair.list" => Ok(devices::list(hub, conn).into()),
        "device.pair.approve" => devices::approve(hub, conn, &params).await,
        "device.pair.reject" => devices::reject(hub, conn, &params).await,
        "device.pair.remove" => devices::remove(hub, conn, &params).await,
        "device.pair.rename" => devices::rename(hub, conn, &params).await,
        "device.pair.setupCode" => setup::code(hub, &params).await,
        "device.pair.setupStatus" => setup::status(hub, &params),
        "device.token.rotate" => tokens::rotate(hub, conn, &params).await,
        "device.token.revoke" => tokens::revoke(hub, conn, &params).await,
        "node.pair.list" => Ok(nodes::pair_list(hub).into()),
        "node.pair.approve" => nodes::approve(hub, conn, &params).await,
        "node.pair.reject" => nodes::reject(hub, &params).await,
        "node.pair.remove" => nodes::remove(hub, conn, &params).await,
        "node.list" => Ok(nodes::list(hub).into()),
        "node.describe" => nodes::describe(hub, &params),
        "node.rename" => nodes::rename(hub, &params).await,
        "node.invoke" => invoke::invoke(hub, conn, &request.id, &params).await,
        "node.invoke.result" => invoke::result(hub, conn, &params),
        "node.event" => invoke::event(hub, conn, &params),
        "node.pending.pull" | "node.pending.drain" => Ok(invoke::nothing_pending(conn).into()),
        "node.pending.ack" => invoke::ack(conn, &params),
        other => Err(ErrorShape::invalid(format!("unknown method: {other}"))),
    }
}

/// Whether `conn` may call `method`, and whether there is such a method.
fn check(conn: &Conn, method: &str) -> Result<(), ErrorShape> {
    let role = conn.role();
    match access(method) {
        Some(Access::Operator(scope)) if role == Role::Operator => need(conn, scope),
        Some(Access::Node) if role == Role::Node => Ok(()),
        Some(Access::Node) => Err(ErrorShape::invalid(format!("unauthorized role: {method} is for nodes"))),
        Some(Access::Operator(_)) => {
            Err(ErrorShape::invalid(format!("unauthorized role: {method} is for operators")))
        }
        None if method == "connect" => Err(ErrorShape::invalid("connect is only valid as the first request")),
        None => Err(match openclaw_scope(method) {
            Some(_) => ErrorShape::never(format!(
                "{method} is a method of OpenClaw that this version of Barnacle does not have"
            )),
            None => ErrorShape::invalid(format!("unknown method: {method}")),
        }),
    }
}

/// Asks `conn` for `scope`; the refusal says how to come by it.
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
