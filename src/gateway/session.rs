//! Serving an attached connection: one request after the other, until it ends.
//!
//! At rest the task holds nothing but the connection itself; whatever is known of it is in
//! [`Session`](crate::hub::Session). A request that has to wait (for the disk, for a node) continues as a
//! task of its own, so the connection is read on meanwhile.

use crate::{
    app::App,
    clock::instant_of,
    hub::{Conn, PendingConn, SavedConn, SavedInvocation, Stage},
    journal::PEER,
    methods::{self, Reply},
    net::{Message, ReadError, wire::Close},
    protocol::{ErrorShape, RequestFrame, refusal, response},
    reactor::{Async, Timer},
    upstream::Owner,
};
use smol::future;
use std::{
    future::poll_fn,
    net::TcpStream,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Time-out for a closed connection to read the last frames.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Time-out for a closed connection to close its own side.
const FAREWELL: Duration = Duration::from_secs(1);
/// Retry time for a connection with too many requests under way, milliseconds.
const BUSY_MS: u64 = 100;

enum Turn {
    Message(Message),
    Failed(ReadError),
    Close,
}

/// Serves `conn`, which has joined the app, until it ends; `new` if it joined just now.
pub async fn serve(app: Rc<App>, conn: Rc<Conn>, new: bool) {
    if new && crate::hub::is_listed(&conn) {
        app.hub.presence.changed();
    }
    let mut farewell = true;
    loop {
        let turn = poll_fn(|cx| {
            conn.wire.watch(cx);
            if let Poll::Ready(Err(_)) = conn.wire.poll_drain(cx) {
                return Poll::Ready(Turn::Failed(ReadError::Gone));
            }
            if conn.wire.closing().is_some() {
                return Poll::Ready(Turn::Close);
            }
            if app.hub.is_paused() || conn.is_held() {
                return Poll::Pending;
            }
            conn.wire.poll_message(cx).map(|read| read.map_or_else(Turn::Failed, Turn::Message))
        });
        match turn.await {
            Turn::Message(message) => {
                conn.heard();
                match message {
                    Message::Text(text) => dispatch(&app, &conn, text),
                    Message::Binary(bytes) => match String::from_utf8(bytes) {
                        Ok(text) => dispatch(&app, &conn, text),
                        Err(_) => conn.wire.close(1003, "text frames only"),
                    },
                    Message::Close(code) => {
                        // The echo that RFC 6455 §5.5.1 asks for.
                        conn.wire.close(code.unwrap_or(1000), "");
                        // It sends no more, and what it is sent is on its way.
                        farewell = !conn.wire.is_settled();
                        break;
                    }
                    Message::Ping(payload) => conn.wire.send_pong(&payload),
                    Message::Pong => {}
                }
                // One that never stops sending is no reason for the others to wait.
                future::yield_now().await;
            }
            Turn::Failed(ReadError::Gone) | Turn::Close => break,
            Turn::Failed(e) => conn.wire.close(e.code(), &e.to_string()),
        }
    }
    app.hub.leave(&conn);
    app.relay.left(conn.id());
    if let Some(device) = conn.device() {
        app.devices.saw(device, None);
    }
    let end = conn.wire.closing();
    match &end {
        Some(Close { code, reason }) if !reason.is_empty() => {
            log::info!(target: PEER, "closed {} ({code} {reason})", conn.session().name());
        }
        _ => log::info!(target: PEER, "left {}", conn.session().name()),
    }
    if end.is_some() && farewell {
        let guard = app.hub.pending_conns.leaving(&conn.wire, LAST_WORDS);
        // Boxed: it is the largest part, and of thousands that are served few are at their end.
        Box::pin(linger(&guard.pending)).await;
    }
}

/// Serves `conn` as soon as there is anything to do for it. Of thousands that were carried over most say nothing for
/// long: until then they cost next to nothing, and nobody waits for their turn.
async fn rest(app: Rc<App>, conn: Rc<Conn>) {
    poll_fn(|cx| conn.wire.poll_stir(cx)).await;
    Box::pin(serve(app, conn, false)).await;
}

/// Restores a saved connection over its socket, and serves it.
pub fn restore(app: &Rc<App>, saved: SavedConn, socket: Async<TcpStream>) -> Rc<Conn> {
    let conn = Conn::restore(saved, socket, &app.admission);
    app.hub.join(&conn);
    app.spawn(rest(app.clone(), conn.clone()));
    conn
}

/// Continues to wait for a node, for a caller that does.
pub fn resume_invocation(app: &Rc<App>, saved: SavedInvocation) {
    let SavedInvocation { asked, until_ns } = saved;
    let Some(caller) = app.hub.conns.get(asked.caller) else { return };
    let Some(mut under_way) = caller.begin() else { return };
    under_way.waits(&asked.request);
    let (app, id, node) = (app.clone(), asked.request.clone(), asked.node);
    let invocation = app.hub.invocations.begin(asked, instant_of(until_ns));
    if app.hub.conns.get(node).is_none() {
        app.hub.invocations.gone(node);
    }
    app.clone().spawn(async move {
        let reply = methods::restore(invocation).await;
        answer(&app, &caller, &id, reply);
        drop(under_way);
    });
}

/// Sends what is left to say, then waits for the other side to close: a socket dropped with unread
/// input would be reset, and the last words lost with it.
pub async fn linger(pending: &PendingConn) {
    let wire = &pending.wire;
    if !matches!(*pending.stage.borrow(), Stage::Leaving) {
        pending.move_on(Stage::Leaving, LAST_WORDS);
    }
    let drained = poll_fn(|cx| wire.poll_drain(cx).map(|r| r.is_ok()));
    let late = async {
        Timer::after(pending.left()).await;
        false
    };
    if future::or(drained, late).await {
        let _ = wire.end();
        let left = poll_fn(|cx| wire.poll_discard(cx));
        let late = async {
            Timer::after(FAREWELL).await;
        };
        future::or(left, late).await;
    }
}

fn dispatch(app: &Rc<App>, conn: &Rc<Conn>, text: String) {
    let request = match RequestFrame::parse(text) {
        Ok(request) => request,
        Err((why, Some(id))) => return refuse(conn, &id, &ErrorShape::invalid(why.to_string())),
        Err((why, None)) => return conn.wire.close(1008, &why.to_string()),
    };
    let id = request.id.clone();
    if app.relay.owner(&request.method) != Owner::Own {
        return match app.relay.call(conn, &request) {
            Ok(()) => {}
            Err(error) => refuse(conn, &id, &error),
        };
    }
    let Some(mut under_way) = conn.begin() else {
        let error = ErrorShape::later("too many requests of this connection under way", BUSY_MS);
        return refuse(conn, &id, &error);
    };
    let mut call = methods::call(app.clone(), conn.clone(), request);
    // Most methods are done at once and need no task.
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(reply) = call.as_mut().poll(&mut cx) {
        return answer(app, conn, &id, reply);
    }
    under_way.waits(&id);
    let (task_app, task_conn) = (app.clone(), conn.clone());
    app.spawn(async move {
        let reply = call.await;
        answer(&task_app, &task_conn, &id, reply);
        drop(under_way);
    });
}

/// Sends the answer, and only then runs the action that follows from it.
fn answer(app: &Rc<App>, conn: &Rc<Conn>, id: &str, reply: Result<Reply, ErrorShape>) {
    match reply {
        Ok(Reply { payload, after }) => {
            if let Err(why) = conn.send(&response(id, &payload)) {
                refuse(conn, id, &ErrorShape::later(format!("the answer is not delivered: {why}"), BUSY_MS));
            }
            if let Some(after) = after {
                after(app);
            }
        }
        Err(error) => refuse(conn, id, &error),
    }
}

/// A refusal is small: where it is not delivered, the connection is closed.
fn refuse(conn: &Conn, id: &str, error: &ErrorShape) {
    let _ = conn.send(&refusal(id, error));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hub::Session, net::Wire};
    use std::mem::size_of;

    /// The size of the task that a function makes, without running it.
    fn size_of_task<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// What an attached connection is made of. `cargo test parts_of_a_connection -- --nocapture` prints the table; what the
    /// allocator and the maps add stands in `benches/README.md`.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn parts_of_a_connection() {
        let rows = [
            ("task that serves it", size_of_task(serve), 136),
            ("connection", size_of::<Conn>(), 224),
            ("its session, within that", size_of::<Session>(), 128),
            ("wire", size_of::<Wire>(), 280),
        ];
        for (part, size, most) in rows {
            println!("{part:28}{size:5} bytes");
            assert!(size <= most, "{part}: {size} bytes, and {most} were enough");
        }
    }
}
