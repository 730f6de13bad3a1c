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

pub(crate) use system::ready;

use crate::{
    app::App,
    hub::{Conn, Invocation},
    protocol::{Access, ErrorShape, Json, RequestFrame, Role, Scope, access, openclaw_scope},
};
use std::{future::Future, pin::Pin, rc::Rc};

/// What is done once the answer is out.
type After = Box<dyn FnOnce(&Rc<App>)>;

/// An answer.
pub struct Reply {
    /// `payload`.
    pub payload: Json,
    /// What follows from it.
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
type Call = Pin<Box<dyn Future<Output = Answer>>>;

/// Answers a request of `conn`.
pub fn call(app: Rc<App>, conn: Rc<Conn>, request: RequestFrame) -> Call {
    if let Err(error) = check(&conn, &request.method) {
        return Box::pin(std::future::ready(Err(error)));
    }
    Box::pin(async move { run(&app, &conn, &request).await })
}

/// Goes on waiting for a node, for the caller of an invocation that was written down.
pub fn resume(invocation: Invocation) -> Call {
    Box::pin(invoke::outcome(invocation))
}

async fn run(app: &Rc<App>, conn: &Rc<Conn>, request: &RequestFrame) -> Answer {
    let params = request.params();
    match request.method.as_str() {
        "health" => Ok(system::health(app).into()),
        "status" => Ok(system::status(app).into()),
        "system-presence" => Ok(app.hub.presence.all().into()),
        // Agents, and with them their heartbeats, do not run in this version.
        "last-heartbeat" => Ok(Json::null().into()),
        "gateway.identity.get" => Ok(system::identity(app).into()),
        "gateway.restart.preflight" => Ok(restart::preflight().into()),
        "gateway.restart.request" => restart::request(app, &params).await,
        "config.get" => Ok(config::get(app, conn).await.into()),
        "config.plan" => config_plan::plan(app, conn, &params).await,
        "config.set" => config::write::set(app, conn, &params).await,
        "config.patch" => config::write::patch(app, conn, &params).await,
        "config.schema" => Ok(config::schema::whole().into()),
        "config.schema.lookup" => config::schema::lookup(&params),
        "config.apply" => config::write::apply(app, conn, &params).await,
        "logs.tail" => logs::tail(app, &params),
        "device.pair.list" => Ok(devices::list(app, conn).into()),
        "device.pair.approve" => devices::approve(app, conn, &params).await,
        "device.pair.reject" => devices::reject(app, conn, &params).await,
        "device.pair.remove" => devices::remove(app, conn, &params).await,
        "device.pair.rename" => devices::rename(app, conn, &params).await,
        "device.pair.setupCode" => setup::code(app, &params).await,
        "device.pair.setupStatus" => setup::status(app, &params),
        "device.token.rotate" => tokens::rotate(app, conn, &params).await,
        "device.token.revoke" => tokens::revoke(app, conn, &params).await,
        "node.pair.list" => Ok(nodes::pair_list(app).into()),
        "node.pair.approve" => nodes::approve(app, conn, &params).await,
        "node.pair.reject" => nodes::reject(app, &params).await,
        "node.pair.remove" => nodes::remove(app, conn, &params).await,
        "node.list" => Ok(nodes::list(app).into()),
        "node.describe" => nodes::describe(app, &params),
        "node.rename" => nodes::rename(app, &params).await,
        "node.invoke" => invoke::invoke(app, conn, &request.id, &params).await,
        "node.invoke.result" => invoke::result(app, conn, &params),
        "node.event" => invoke::event(app, conn, &params),
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
