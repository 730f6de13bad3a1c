//! A connection's way in: the head of its request, then plain HTTP or the handshake, and at the end its
//! last words. Every step can be gone on with by another process image.

use super::{handshake, session};
use crate::{
    app::App,
    hub::{Conn, PendingConn, PendingGuard, Stage},
    methods,
    net::http::{self, Page},
    reactor::{Async, Timer},
    tls::Certificate,
};
use smol::future;
use std::{
    net::{SocketAddr, TcpStream},
    rc::Rc,
    time::Duration,
};

/// How long a plain HTTP connection may last.
const HTTP: Duration = Duration::from_secs(60);
/// What `/health` says, as long as there is somebody to ask.
pub const LIVE: &str = r#"{"ok":true,"status":"live"}"#;

/// Takes a new connection in; `place` is what it counts as until it attaches. It has its seat at once, so
/// that there is no moment at which a hand-over would miss it.
pub fn take_in(app: &Rc<App>, socket: Async<TcpStream>, remote: SocketAddr, place: impl Sized + 'static) {
    let settings = app.settings();
    let session = match settings.tls.certificate().map(Certificate::accept) {
        // Never without TLS where it was asked for.
        Some(None) => return,
        session => session.flatten(),
    };
    let seat = app.hub.pending_conns.welcome(socket, remote, session, settings.handshake_timeout);
    // Those of a later reload are for this connection as well: it keeps none of them alive.
    drop(settings);
    app.spawn(go_on(app.clone(), seat, place));
}

/// Goes on with a connection, new or written down.
pub async fn go_on(app: Rc<App>, seat: PendingGuard, place: impl Sized) {
    let stage = seat.pending.stage.borrow().clone();
    match stage {
        Stage::Head => head(&app, seat).await,
        Stage::Challenged(challenged) => {
            let attached = handshake::go_on(&app, &seat.pending, challenged).await;
            serve(&app, seat, attached);
        }
        Stage::Leaving => session::linger(&seat.pending).await,
    }
    drop(place);
}

async fn head(app: &Rc<App>, seat: PendingGuard) {
    let pending = seat.pending.clone();
    let Some((head, length)) = in_time(&pending, http::head(&pending.wire)).await.flatten() else {
        if pending.wire.is_tls() {
            // It was told what is wrong with its TLS.
            session::linger(&pending).await;
        }
        return;
    };
    if let (false, Some(why)) = (pending.wire.is_tls(), app.settings().tls.closed()) {
        let body = format!("This gateway lets nobody in without TLS, and has none: {why}\n");
        let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8";
        pending.wire.forget(length);
        pending.wire.queue(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        return session::linger(&pending).await;
    }
    if head.websocket_key.is_some() {
        pending.wire.forget(length);
        let attached = handshake::attach(app, &pending, &head).await;
        serve(app, seat, attached);
    } else {
        pending.move_on(Stage::Head, HTTP);
        let strict = || app.settings().config.strict_transport_security.clone();
        in_time(&pending, http::serve(&pending.wire, |path| page(app, path), strict)).await;
    }
}

/// A connection that attached is no guest any more.
fn serve(app: &Rc<App>, seat: PendingGuard, attached: Option<Rc<Conn>>) {
    drop(seat);
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

/// What plain HTTP is told. Cheap: it is polled.
fn page(app: &App, path: &str) -> Page {
    match path {
        "/health" | "/healthz" => Page::json(200, LIVE),
        "/readyz" if app.hub.is_stopping() => {
            Page::json(503, r#"{"ready":false,"reason":"gateway stopping"}"#)
        }
        "/readyz" => Page::json(200, &methods::ready(app)),
        "/" => Page {
            status: 200,
            kind: "text/plain; charset=utf-8",
            body: "This is a Barnacle gateway. Attach over WebSocket: openclaw gateway status\n".into(),
        },
        _ => Page { status: 404, kind: "text/plain; charset=utf-8", body: "no such page\n".into() },
    }
}
