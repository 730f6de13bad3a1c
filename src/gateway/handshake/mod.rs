//! The handshake: challenge, `connect`, and the answer.
//!
//! The steps are in order: read the frame, verify signature and credentials
//! ([`proof`]), decide ([`auth::decide`](crate::auth::decide)), write down what the
//! decision changes ([`grants`]), and only then send `hello-ok`.

mod grants;
mod hello;
mod proof;

pub(crate) use hello::SameForAll;

use crate::{
    admission::{LastingPermit, Source, limits},
    app::App,
    auth::{Lost, Refusal, Verdict, decide, prepared::PreparedKey},
    clock::wall_ms,
    hub::{
        Challenge, Challenged, Conn, PendingConn, Session, Stage,
        session::{boxed, version},
    },
    journal::PEER,
    net::{Message, Peer, ReadError, Wire, peer::Head, ws},
    protocol::{
        BadFrame, Connect, DeviceId, MAX_CONNECT_FRAME, PROTOCOL_MAX, PROTOCOL_MIN, RequestFrame, Role,
        base64url_encode, refusal,
    },
    random,
    reactor::Timer,
    reload::{lost, shared_auth},
    store::Surface,
};
use smol::future;
use std::{future::poll_fn, io::Write, rc::Rc, task::Poll, time::Instant};

/// Bytes of a nonce.
const NONCE: usize = 24;

/// Room for the text of a challenge, bytes.
const CHALLENGE: usize = 160;

/// A refusal with the id of the request it answers, if that could be read.
type Refused = (Refusal, Option<String>);

/// Takes a connection through the handshake. `None` when it was turned away or left.
pub async fn attach(app: &Rc<App>, pending: &PendingConn, mut head: Head) -> Option<Rc<Conn>> {
    let settings = app.settings();
    let (key, subprotocol) = (head.websocket_key.take()?, head.subprotocol.take());
    let wire = &pending.wire;
    let socket = wire.socket().get_ref();
    let remote = pending.remote.or_else(|| socket.peer_addr().ok())?;
    let peer = Peer::new(remote, || socket.local_addr().ok(), head, |ip| settings.config.trusts(ip));
    let nonce = match random::bytes::<NONCE>() {
        Ok(nonce) => base64url_encode(&nonce),
        Err(e) => {
            log::error!("no randomness for a nonce: {e}");
            return None;
        }
    };
    // The challenge rides on the answer to the upgrade: one packet, and the very first frame.
    wire.queue_with(|out| ws::accept(&key, subprotocol.as_deref(), out));
    wire.send_text_with(CHALLENGE, |out| {
        let ts = wall_ms();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            r#"{{"type":"event","event":"connect.challenge","payload":{{"nonce":"{nonce}","ts":{ts}}}}}"#
        );
    });
    let challenged = Challenged::new(peer, nonce);
    pending.move_on(Stage::Challenged(challenged.clone()), settings.handshake_timeout);
    go_on(app, pending, challenged).await
}

/// Continues a connection that was challenged.
pub async fn go_on(app: &Rc<App>, pending: &PendingConn, challenged: Challenged) -> Option<Rc<Conn>> {
    let whole = 2 * MAX_CONNECT_FRAME + limits::CONNECT_FREE;
    let charged = pending.wire.charge(&app.admission.connects, limits::CONNECT_FREE, whole);
    if charged.is_err() {
        turn_away(app, pending, &challenged.peer, &busy(), None).await;
        return None;
    }
    match handshake(app, pending, &challenged).await {
        Ok(conn) => Some(conn),
        Err(None) => {
            if pending.wire.closing().is_some() {
                super::session::linger(pending).await;
            }
            None
        }
        Err(Some((why, id))) => {
            turn_away(app, pending, &challenged.peer, &why, id.as_deref()).await;
            None
        }
    }
}

async fn handshake(
    app: &Rc<App>,
    pending: &PendingConn,
    challenged: &Challenged,
) -> Result<Rc<Conn>, Option<Refused>> {
    let wire = &pending.wire;
    let Challenge { peer, nonce, connect } = &**challenged;
    let request = match connect.get() {
        Some(request) => request,
        None => {
            let read = first_frame(wire);
            let late = async {
                Timer::after(pending.left()).await;
                Err(Some((Refusal::Timeout(app.settings().handshake_timeout), None)))
            };
            let text = future::or(read, late).await?;
            // Judging it may have to wait for the disk; if another process image restores it, that one judges again.
            let request = RequestFrame::parse(text).map_err(|(why, id)| bad_frame(why, id))?;
            connect.get_or_init(|| request)
        }
    };
    let refuse = |why| Some((why, Some(request.id.clone())));
    if request.method != "connect" {
        return Err(refuse(Refusal::NotConnect));
    }
    // Some clients erase their token at any refused connect, so a gateway that stops refuses none: it
    // closes without an answer, and the client knocks at the next one.
    if app.hub.is_stopping() {
        wire.close(1012, "gateway stopping");
        return Err(None);
    }
    // Their index is not kept while others are waited for.
    let connect = {
        let params = request.params().map_err(|f| refuse(Refusal::BadFrame(f.0)))?;
        Connect::read(&params).map_err(|f| refuse(Refusal::Params(f.0)))?
    };
    pending.stay();
    app.hub.unpaused().await;
    let conn = admit(app, wire, peer, nonce, (request, &connect)).await.map_err(refuse)?;
    Ok(conn)
}

/// Waits for the first text message; control frames are answered meanwhile.
async fn first_frame(wire: &Wire) -> Result<String, Option<Refused>> {
    let bad = |text: &str| Some((Refusal::BadFrame(text.into()), None));
    loop {
        let read = poll_fn(|cx| {
            if let Poll::Ready(Err(_)) = wire.poll_drain(cx) {
                return Poll::Ready(Err(ReadError::Gone));
            }
            wire.watch(cx);
            wire.poll_message(cx)
        });
        match read.await {
            Ok(Message::Text(text)) => return Ok(text),
            // OpenClaw does not tell the two apart, and some clients' JSON writers give bytes.
            Ok(Message::Binary(bytes)) => {
                return String::from_utf8(bytes).map_err(|_| bad("invalid request frame: binary, not text"));
            }
            Ok(Message::Close(code)) => {
                wire.close(code.unwrap_or(1000), "");
                return Err(None);
            }
            // So that a flood of pings holds up neither the others nor its own time limit.
            Ok(Message::Ping(payload)) => {
                wire.send_pong(&payload);
                future::yield_now().await;
            }
            Ok(Message::Pong) => future::yield_now().await,
            Err(ReadError::Gone) => return Err(None),
            Err(ReadError::TooLarge(most)) => return Err(Some((Refusal::TooLarge(most), None))),
            Err(ReadError::NoRoom) => return Err(Some((busy(), None))),
            Err(e @ ReadError::NotUtf8) => {
                wire.close(e.code(), &e.to_string());
                return Err(None);
            }
            Err(e) => return Err(bad(&format!("invalid request frame: {e}"))),
        }
    }
}

fn busy() -> Refusal {
    Refusal::Later { why: "too many connects under way".into(), after_ms: 1000 }
}

fn bad_frame(why: BadFrame, id: Option<String>) -> Option<Refused> {
    Some((Refusal::BadFrame(why.to_string()), id))
}

async fn admit(
    app: &Rc<App>,
    wire: &Rc<Wire>,
    peer: &Peer,
    nonce: &str,
    (request, connect): (&RequestFrame, &Connect<'_>),
) -> Result<Rc<Conn>, Refusal> {
    let (min, max) = (connect.min_protocol, connect.max_protocol);
    if min > PROTOCOL_MAX || max < PROTOCOL_MIN || min > max {
        return Err(Refusal::Protocol { min, max });
    }
    let role = Role::parse(connect.role).ok_or(Refusal::Role)?;
    let settings = app.settings();
    let ui = &settings.config.control_ui;
    if !peer.origin_allowed(&ui.allowed_origins, ui.host_header_origin_fallback) {
        let received = peer.origin.clone().unwrap_or_default();
        return Err(Refusal::Origin { allow: received.clone(), received });
    }
    let proof = proof::gather(app, peer, nonce, connect, role)?;
    let verdict = decide(&proof.facts());
    proof.count_guess(app);
    let outcome = match verdict {
        Verdict::Refuse(denied) => return Err(proof.refusal(app, denied).await),
        Verdict::Wait { reason, trusted, dead_token } => {
            return Err(grants::wait(app, &proof, reason, trusted, dead_token).await);
        }
        Verdict::Admit { scopes, basis, wider } => {
            if let Some(wider) = wider {
                grants::note_wider(app, &proof, wider).await;
            }
            grants::used(app, &proof);
            grants::Outcome { scopes, basis, extra: Vec::new() }
        }
        Verdict::Approve { grants, via, basis } => {
            match (grants::approve(app, &proof, grants, via, basis).await, proof.approved()) {
                // A disk that takes no more costs a paired device nothing that it has.
                (Err(refused), Some(approved)) => {
                    log::warn!("a wider request could not be granted: {}", refused.error().message());
                    let scopes = proof.requested.granted(approved);
                    grants::Outcome { scopes, basis, extra: Vec::new() }
                }
                (outcome, _) => outcome?,
            }
        }
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let declared = || Surface {
        caps: owned(&connect.caps),
        commands: owned(&connect.commands),
        permissions: connect.permissions.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect(),
    };
    let mut session = Session {
        id: app.hub.conns.next_id(),
        protocol: version(max.min(PROTOCOL_MAX)),
        role,
        requested: proof.requested,
        scopes: outcome.scopes,
        device: proof.device(),
        basis: outcome.basis,
        client: proof.display,
        instance: connect.client.instance_id.map(Box::from),
        declared: if role == Role::Node { boxed(declared()) } else { None },
        local: peer.local,
        connected_ms: wall_ms(),
        subscriptions: Default::default(),
    };
    // Behind another gateway, that one decides what its nodes may be asked.
    if role == Role::Node && !app.relay.is_on() {
        grants::declare(app, &session).await;
    }
    // While the disk was waited for, an operator may have revoked, narrowed or removed. From here to
    // `join` nothing waits, so whatever comes later finds the connection.
    if let Some(lost) = lost(&app.devices, &session, &shared_auth(&settings), &shared_auth(&app.settings())) {
        let why = match lost {
            Lost::AuthChanged => "the shared credential was changed meanwhile; connect again",
            _ => "the device was changed while it connected; connect again",
        };
        return Err(Refusal::Later { why: why.into(), after_ms: 100 });
    }
    if let Some(device) = session.device
        && let Some(grant) = app.devices.registry().device(&device).and_then(|d| d.grant(role))
    {
        session.scopes = session.requested.granted(grant.scopes);
    }
    let permit = permit(app, session.device, wire)?;
    let conn = Conn::new(wire.clone(), session, permit, &app.admission);
    hello::send(app, &conn, &request.id, &outcome.extra);
    app.hub.join(&conn);
    app.relay.greet(&conn, request, peer.host.as_deref(), peer.origin.as_deref());
    let session = conn.session();
    log::info!(
        target: PEER,
        "attached {} from {} by {} with [{}]",
        session.name(),
        peer.ip,
        session.basis.as_str(),
        session.scopes
    );
    drop(session);
    // One that is new may never come again.
    if let (Some(key), Some(_)) = (&proof.key, &proof.record) {
        keep(app, key);
    }
    Ok(conn)
}

/// Keeps the key of a paired device that came back; what takes long of that is done after whoever waits now.
fn keep(app: &Rc<App>, key: &Rc<PreparedKey>) {
    if app.handshakes.keys.borrow_mut().proved(key, Instant::now()) {
        let (task, key) = (app.clone(), key.public_key());
        app.spawn(async move { task.handshakes.keys.borrow_mut().build(&key) });
    }
}

/// Sends the refusal, closes, and waits until the peer has read it.
async fn turn_away(app: &App, pending: &PendingConn, peer: &Peer, why: &Refusal, id: Option<&str>) {
    let wire = &pending.wire;
    let error = why.error();
    let (code, reason) = why.close();
    let fix = error.details().and_then(|d| d.hint.as_deref()).unwrap_or_default();
    if app.admission.refusals.admit(Source::of(peer.ip), why.kind(), Instant::now()) {
        log::warn!(target: PEER, "refused {} (close {code}): {}; {fix}", peer.ip, error.message());
    }
    if let Some(id) = id {
        wire.send_text(&refusal(id, &error));
    }
    wire.close(code, &reason);
    super::session::linger(pending).await;
}

/// Ticks after which a connection that was not heard has missed a keepalive.
const MISSED_KEEPALIVE: u8 = 3;

/// A place among the attached connections, for one of `device`. One of its own that missed a keepalive makes room.
///
/// # Errors
/// When there is no room.
fn permit(app: &App, device: Option<DeviceId>, wire: &Wire) -> Result<LastingPermit, Refusal> {
    let attached = &app.admission.attached;
    let source = device.map_or_else(|| wire.source(), Source::Device);
    let full = device.is_some() && attached.used_by(source) >= attached.share_of(source);
    if let Some(device) = device.filter(|_| full) {
        let own = app.hub.conns.of(&device);
        let dead = own.iter().filter(|c| c.quiet() >= MISSED_KEEPALIVE && c.wire.closing().is_none());
        if let Some(dead) = dead.max_by_key(|c| c.quiet()) {
            dead.wire.close(1008, "another connection of this device took the place of this silent one");
            return Ok(attached.restore_and_stay(source));
        }
    }
    let refused = |why| Refusal::Later { why, after_ms: 5000 };
    attached.enter_and_stay(source).ok_or_else(|| match device {
        Some(_) if full => refused(format!(
            "this device has {} connections already, the most that one may have: close some",
            attached.used_by(source)
        )),
        _ => refused(format!(
            "the gateway has {} connections already, the most that its descriptors allow (ulimit -n)",
            attached.used()
        )),
    })
}
