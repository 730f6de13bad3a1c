//! `node.invoke` and its result, node events.
//!
//! An invocation is bound to the connection that was asked. Its idempotency key is passed on to the
//! node, which knows what it has done already.
//! Source: `docs/gateway/protocol/rpc-devices-nodes-and-approvals.md`.

use super::{find, is_denied};
use crate::{
    hub::{Asked, Conn, Invocation, InvokeResult},
    methods::{Answer, Call},
    protocol::{Details, ErrorCode, ErrorShape, Event, Json, RequestId},
    reactor::Timer,
};
use nanoserde::SerJson;
use smol::future;
use std::time::{Duration, Instant};

/// Time-out of a node where the caller sets none.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
/// The longest a caller may ask for.
const MAX_TIMEOUT_MS: u64 = 24 * 3_600_000;

/// `NodeInvokeRequestEvent`.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct ToDo {
    id: String,
    nodeId: String,
    command: String,
    paramsJSON: Option<String>,
    timeoutMs: u64,
    idempotencyKey: String,
}

/// The answer of `node.invoke`.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Invoked {
    ok: bool,
    nodeId: String,
    command: String,
    payload: Json,
    payloadJSON: Option<String>,
}

/// `node.invoke`.
pub(in crate::methods) async fn invoke(call: Call) -> Answer {
    let params = call.params()?;
    let (app, caller, request) = (&call.app, &call.by, &call.request.id);
    let device = find(&app.devices.registry(), params.str("nodeId")?)?;
    let id = device.id();
    let command = params.str("command")?.to_owned();
    let key = params.str("idempotencyKey")?.to_owned();
    let timeout = params.opt_u64("timeoutMs")?.filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
    let timeout = timeout.min(MAX_TIMEOUT_MS);
    let conn = app.hub.conns.node(&id).ok_or_else(|| {
        failed("NOT_CONNECTED", format!("node {} is not connected", device.name().unwrap_or(&id.short())))
    })?;
    let declared = conn.session().declared().commands.contains(&command);
    if is_denied(app, &command) {
        return Err(ErrorShape::invalid(format!(
            "node command not allowed: {command} is in gateway.nodes.commands.deny"
        )));
    }
    if !device.node.usable(Some(conn.session().declared())).commands.contains(&command) {
        let why = match (&device.node.pending, declared) {
            (_, false) => "the node does not declare it".into(),
            (Some(p), true) => format!(
                "it waits for approval: barnacle call node.pair.approve '{{\"requestId\":\"{}\"}}'",
                p.id
            ),
            (None, true) => "it was not approved; let the node connect again to ask for it".into(),
        };
        return Err(ErrorShape::invalid(format!("node command not allowed: {command}: {why}")));
    }
    let invoke_id = RequestId::random().map_err(|e| ErrorShape::later(e.to_string(), 1000))?;
    let todo = ToDo {
        id: invoke_id.to_string(),
        nodeId: id.to_string(),
        command: command.clone(),
        paramsJSON: params.value("params").map(String::from),
        timeoutMs: timeout,
        idempotencyKey: key,
    };
    let asked = Asked {
        id: todo.id.clone(),
        node: conn.id(),
        caller: caller.id(),
        request: request.clone(),
        device: id,
        command,
        timeout_ms: timeout,
    };
    let invocation = app.hub.invocations.begin(asked, Instant::now() + Duration::from_millis(timeout));
    app.hub
        .events
        .deliver(&conn, Event::NodeInvokeRequest, &Json::of(&todo))
        .map_err(|why| failed("NOT_DELIVERED", format!("not delivered to the node: {why}")))?;
    drop((conn, todo));
    drop(call);
    outcome(invocation).await
}

/// Waits for the result of an invocation, and answers its caller.
pub(in crate::methods) async fn outcome(invocation: Invocation) -> Answer {
    let late = async {
        Timer::after(invocation.until.saturating_duration_since(Instant::now())).await;
        None
    };
    let result = future::or(async { Some(invocation.result().await) }, late).await;
    let Asked { device, command, timeout_ms: timeout, .. } = invocation.asked.clone();
    let id = device;
    match result {
        Some(InvokeResult::Done { payload, text }) => {
            Ok(Json::of(&Invoked { ok: true, nodeId: id.to_string(), command, payload, payloadJSON: text })
                .into())
        }
        Some(InvokeResult::Failed(code, message)) => Err(failed(&code, message)),
        Some(InvokeResult::Gone) => {
            Err(failed("NOT_CONNECTED", "the node disconnected before it answered".into()))
        }
        Some(InvokeResult::Stopping) => {
            Err(ErrorShape::later("the gateway stops; the node has not answered", 1000))
        }
        None => Err(failed("TIMEOUT", format!("the node did not answer within {timeout} ms"))),
    }
}

/// The node's own error, as OpenClaw hands it on.
fn failed(code: &str, message: String) -> ErrorShape {
    ErrorShape::new(ErrorCode::Unavailable, message)
        .with(Details { code: Some(code.into()), ..Details::default() })
}

/// `node.invoke.result`.
pub(in crate::methods) fn result(call: &Call) -> Answer {
    let params = call.params()?;
    let id = params.str("id")?;
    let ok = params.opt_bool("ok")?.ok_or_else(|| {
        ErrorShape::invalid("invalid node.invoke.result params: must have required property 'ok'")
    })?;
    let answer = if ok {
        let text = params.opt_str("payloadJSON")?.map(String::from);
        let payload = params.value("payload").or(text.as_deref()).and_then(Json::passed_on);
        let payload = payload.unwrap_or_else(Json::null);
        InvokeResult::Done { payload, text }
    } else {
        let error = params.opt_object("error")?;
        let word = |name: &str| -> Result<Option<String>, ErrorShape> {
            Ok(error.as_ref().map(|e| e.opt_str(name)).transpose()?.flatten().map(String::from))
        };
        let code = word("code")?.unwrap_or_else(|| "UNAVAILABLE".into());
        InvokeResult::Failed(code, word("message")?.unwrap_or_else(|| "the node failed".into()))
    };
    // A late answer, to a caller that gave up, is no error of the node.
    let waited = call.app.hub.invocations.answer(id, call.by.id(), answer);
    Ok(Json(if waited { r#"{"ok":true}"# } else { r#"{"ok":true,"ignored":true}"# }.into()).into())
}

/// `NodeEventResult`.
#[derive(SerJson)]
struct Handled {
    ok: bool,
    event: String,
    handled: bool,
    reason: Option<&'static str>,
}

/// `node.event`. An event that only an agent could act on is answered as not handled.
pub(in crate::methods) fn event(call: &Call) -> Answer {
    let params = call.params()?;
    let event = params.str("event")?.to_owned();
    let handled = event == "node.presence.alive";
    if handled && let Some(device) = call.by.conn()?.device() {
        call.app.devices.saw(device, None);
    }
    let reason = if handled { "updated" } else { "unsupported" };
    Ok(Json::of(&Handled { ok: true, event, handled, reason: Some(reason) }).into())
}

/// `NodePendingDrainResult`, for a node that nothing is queued for.
pub(in crate::methods) fn nothing_pending(call: &Call) -> Answer {
    let id = node_id(call.by.conn()?);
    Ok(Json(format!(r#"{{"nodeId":"{id}","revision":0,"items":[],"actions":[],"hasMore":false}}"#)).into())
}

/// `node.pending.ack`.
pub(in crate::methods) fn ack(call: &Call) -> Answer {
    let _ = call.params()?.strs("ids")?;
    let id = node_id(call.by.conn()?);
    Ok(Json(format!(r#"{{"nodeId":"{id}","ackedIds":[],"remainingCount":0}}"#)).into())
}

fn node_id(conn: &Conn) -> String {
    conn.device().map_or_else(|| conn.id().to_string(), |device| device.to_string())
}
