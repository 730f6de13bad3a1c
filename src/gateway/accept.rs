//! Accepting a connection: the head of its request, then plain HTTP or the handshake, and at the end the reason of its
//! close. Every step can be continued by another process image.

use super::{handshake, pages::routes, session};
use crate::{
    app::App,
    hub::{Conn, PendingConn, PendingGuard, Stage},
    journal::PEER,
    net::{
        Listeners,
        http::{self, First, Host, Phase},
    },
    proxy,
    reactor::{Async, Timer},
    tls::Certificate,
};
use smol::future;
use std::{
    future::poll_fn,
    net::{SocketAddr, TcpStream},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Time-out between two requests of a plain HTTP connection.
const IDLE: Duration = Duration::from_secs(15);
/// Time-out for a client that reads nothing of an answer.
const STALL: Duration = Duration::from_secs(30);

/// Accepts connections on `listeners`.
pub fn accept(app: &Rc<App>, listeners: &Listeners) {
    let to = Rc::downgrade(app);
    listeners.serve(app.tasks.clone(), move |socket, remote| {
        if let Some(app) = to.upgrade() {
            take_in(&app, socket, remote);
        }
    });
}

/// Registers a new connection as pending at once, so that no hand-over can miss it.
fn take_in(app: &Rc<App>, socket: Async<TcpStream>, remote: SocketAddr) {
    let settings = app.settings();
    let session = match settings.tls.certificate().map(Certificate::accept) {
        // Never without TLS where it was asked for.
        Some(None) => return,
        session => session.flatten(),
    };
    let guard = app.hub.pending_conns.welcome(socket, remote, session, settings.handshake_timeout);
    // Those of a later reload are for this connection as well: it keeps none of them alive.
    drop(settings);
    if let Some(guard) = guard {
        app.spawn(go_on(app.clone(), guard));
    }
}

/// Continues a connection, new or written down.
pub async fn go_on(app: Rc<App>, guard: PendingGuard) {
    let stage = guard.pending.stage.borrow().clone();
    match stage {
        Stage::Head => head(&app, guard).await,
        Stage::Challenged(challenged) => {
            let attached = handshake::go_on(&app, &guard.pending, challenged).await;
            serve(&app, guard, attached);
        }
        Stage::Leaving => session::linger(&guard.pending).await,
    }
}

async fn head(app: &Rc<App>, guard: PendingGuard) {
    let pending = guard.pending.clone();
    let (head, length) = match in_time(&pending, http::first(&pending.wire)).await {
        Some(First::Upgrade(head, length) | First::Request(head, length)) => (head, length),
        Some(First::Refused(why)) => {
            let remote = pending.remote.or_else(|| pending.wire.socket().get_ref().peer_addr().ok());
            let from = remote.map_or_else(String::new, |at| format!(" from {}", at.ip()));
            if app.admission.refusals.admit(pending.wire.source(), "invalid HTTP request", Instant::now()) {
                log::warn!(target: PEER, "refused an HTTP request{from}: {why}");
            }
            pending.wire.queue(why.answer().as_bytes());
            return session::linger(&pending).await;
        }
        Some(First::Gone) | None => {
            if pending.wire.is_tls() {
                // The TLS alert is sent already.
                session::linger(&pending).await;
            }
            return;
        }
    };
    if let (false, Some(why)) = (pending.wire.is_tls(), app.settings().tls.closed()) {
        let body = format!("This gateway lets nobody in without TLS, and has none: {why}\n");
        let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8";
        pending.wire.forget(length);
        pending.wire.queue(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        return session::linger(&pending).await;
    }
    if head.websocket_key.is_some() {
        if let Some(tunnel) = proxy::Tunnel::wanted(app, &pending.wire, length) {
            // Boxed, as below.
            Box::pin(tunnel.serve(app, &pending)).await;
            return session::linger(&pending).await;
        }
        pending.wire.forget(length);
        let attached = handshake::attach(app, &pending, head).await;
        serve(app, guard, attached);
    } else {
        // Boxed: it is larger than the handshake, which every task of this kind has room for.
        Box::pin(plain(app, &pending)).await;
    }
}

async fn plain(app: &Rc<App>, pending: &Rc<PendingConn>) {
    pending.move_on(Stage::Head, IDLE);
    let host = Rc::new(PlainHost { app: app.clone(), pending: pending.clone() });
    let served = async { Some(http::serve(&pending.wire, host, app.clone(), routes).await) };
    let silent = async {
        loop {
            let left = pending.left();
            if left.is_zero() {
                // Nothing waits for the client while the gateway works on its request.
                if !pending.has_request() || pending.wire.unsent() > 0 {
                    return None;
                }
                pending.move_on(Stage::Head, STALL);
            } else {
                Timer::after(left.min(IDLE)).await;
            }
        }
    };
    if future::or(served, silent).await == Some(true) {
        session::linger(pending).await;
    }
}

/// Connects the HTTP server to the gateway.
struct PlainHost {
    app: Rc<App>,
    pending: Rc<PendingConn>,
}

impl Host for PlainHost {
    fn enter(&self, phase: Phase) {
        self.pending.request.set(phase);
        self.pending.move_on(Stage::Head, if phase == Phase::Idle { IDLE } else { STALL });
    }

    fn progress(&self) {
        if self.pending.request.get() != Phase::Idle {
            self.pending.move_on(Stage::Head, STALL);
        }
    }

    fn begin(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            poll_fn(|cx| self.app.hub.pending_conns.poll_begin(&self.pending, cx)).await;
            self.app.hub.unpaused().await;
        })
    }

    fn poll_refused(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.pending.poll_refused(cx)
    }

    fn strict(&self) -> Option<String> {
        self.app.settings().config.strict_transport_security.clone()
    }
}

/// A connection that attached is no longer pending.
fn serve(app: &Rc<App>, guard: PendingGuard, attached: Option<Rc<Conn>>) {
    drop(guard);
    if let Some(conn) = attached {
        // A task of its own: this one's memory was sized for the handshake.
        app.spawn(session::serve(app.clone(), conn, true));
    }
}

async fn in_time<T>(pending: &PendingConn, what: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(pending.left()).await;
        None
    };
    future::or(async { Some(what.await) }, late).await
}
