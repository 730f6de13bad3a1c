//! The task of a link: makes the client's connection to OpenClaw, and moves its frames.

use super::{
    availability::SETTLING,
    client::ClientLink,
    connect::{Choice, Failure, Persona, choose},
    relay::Relay,
    remote::{Client, Remote},
    secrets,
    session::{self, Caller},
};
use crate::{
    auth::identity::Identity,
    clock::{instant_of, monotonic_ns},
    net::{Message, ReadError, Wire},
    protocol::Role,
    reactor::Timer,
};
use smol::future;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Unsent bytes towards the client from which on OpenClaw is read no further.
const BEHIND: usize = 256 << 10;
/// Most reasons that are logged for one client until it is connected.
const LOGGED: usize = 8;
/// Time between two attempts where the gateway is there and this connection could not be made.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Time between two attempts with a shared token that is refused: OpenClaw locks out who guesses ten times a minute.
const SECRET: Duration = Duration::from_secs(60);

/// Serves `link` until its client has left.
pub(super) async fn run(relay: Rc<Relay>, link: Rc<ClientLink>) {
    let mut pause = AGAIN.0;
    // What was logged since the last connection, and since when the shared secret is refused.
    let (mut logged, mut refusing) = (Vec::new(), None);
    let listens = !link.link.borrow().wants_connection();
    let mut wanted = listens;
    while !link.left.get() {
        if !wanted && !link.link.borrow().wants_connection() {
            idle(&link).await;
            continue;
        }
        let carried = link.wire.borrow().clone();
        if carried.is_none() && !relay.availability.is_there() {
            until(&link, relay.availability.wait()).await;
            continue;
        }
        let opened = match carried {
            Some(wire) => Ok(wire),
            None => open(&relay, &link).await,
        };
        match opened {
            Ok(wire) => {
                pause = AGAIN.0;
                wanted = true;
                (logged, refusing) = (Vec::new(), None);
                let why = relay_frames(&link, &wire).await;
                link.conn.hold(false);
                link.wire.take();
                let effects = link.link.borrow_mut().closed(&why);
                link.apply(effects);
                // The watcher may need a moment to see that all of it is gone.
                until(&link, Timer::after(AGAIN.0)).await;
            }
            Err(failure) => {
                // While the secret is being changed another identity helps nobody, and it is no news.
                let settling =
                    failure.is_of_secret() && refusing.get_or_insert_with(Instant::now).elapsed() < SETTLING;
                let is_news = match &failure {
                    Failure::Outdated(page) => {
                        let effects = link.link.borrow_mut().refused(&page.error);
                        link.apply(effects);
                        link.learn(&page.build);
                        true
                    }
                    // Another identity needs no approval, on this host.
                    Failure::Pairing(pairing) if is_alone(&relay, &link) => {
                        link.pairing.replace(Some(pairing.clone()));
                        !settling
                    }
                    Failure::Refused(..) | Failure::Pairing(_) if !settling => {
                        link.refused.set(link.refused.get() + 1);
                        true
                    }
                    Failure::Secret(_) => {
                        pause = SECRET;
                        !settling
                    }
                    _ => false,
                };
                if is_news && !logged.contains(&failure) && logged.len() < LOGGED {
                    log::warn!("OpenClaw refuses {}: {failure}", link.greeting.name());
                    logged.push(failure.clone());
                }
                let effects = link.link.borrow_mut().closed(&failure.to_string());
                link.apply(effects);
                let pairing = link.pairing.borrow().clone();
                pairing.inspect(|pairing| link.refuse_waiting(pairing));
                until(&link, Timer::after(pause)).await;
                pause = (pause * 2).clamp(AGAIN.0, AGAIN.1);
            }
        }
    }
    if let Some(wire) = link.wire.take() {
        wire.close(1000, "");
    }
}

/// Whether the client of `link` is a device of its own behind this gateway, and nothing else gets it in.
fn is_alone(relay: &Relay, link: &ClientLink) -> bool {
    link.conn.role() == Role::Node || relay.upstream().is_some_and(|upstream| !upstream.is_local())
}

/// Waits for `what`, while requests that wait for too long are answered.
async fn until(link: &ClientLink, what: impl Future) {
    let mut what = pin!(what);
    let mut timer = None;
    poll_fn(|cx| {
        link.watch(cx.waker());
        if what.as_mut().poll(cx).is_ready() || link.left.get() || link.again.replace(false) {
            return Poll::Ready(());
        }
        while poll_due(link, &mut timer, cx).is_ready() {
            let effects = link.link.borrow_mut().tick(monotonic_ns());
            link.apply(effects);
        }
        Poll::Pending
    })
    .await;
}

/// Waits until something is to be done for the client.
async fn idle(link: &ClientLink) {
    poll_fn(|cx| {
        link.watch(cx.waker());
        match link.left.get() || link.link.borrow().wants_connection() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Ready when the link's next tick is due.
fn poll_due(link: &ClientLink, timer: &mut Option<(u64, Timer)>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(due) = link.link.borrow().due_ns() else { return Poll::Pending };
    if due <= monotonic_ns() {
        return Poll::Ready(());
    }
    if timer.as_ref().is_none_or(|(at, _)| *at != due) {
        let left = instant_of(due).saturating_duration_since(Instant::now());
        *timer = Some((due, Timer::after(left)));
    }
    let Some((_, timer)) = timer else { return Poll::Pending };
    pin!(timer).poll(cx).map(drop)
}

/// Makes the connection, and restores on it what was before.
async fn open(relay: &Relay, link: &ClientLink) -> Result<Rc<Wire>, Failure> {
    let settings = relay.running.get();
    let Some(upstream) = &settings.upstream else { return Err(Failure::Away("there is no upstream".into())) };
    let (role, scopes, device) = {
        let session = link.conn.session();
        (session.role, session.scopes, session.device)
    };
    let client_id = link.greeting.client("id");
    let (greeting, refused) = (&link.greeting, link.refused.get());
    let opened = async {
        if !upstream.is_local() {
            let remote = Remote { relay, settings: &settings, upstream };
            return Some(remote.client(&Client { role, scopes, device, greeting, refused }).await);
        }
        let persona = match choose(role, &client_id, device.is_some(), refused) {
            Choice::Derived => {
                let seed = relay.devices.key().upstream_seed(device.as_ref(), &client_id);
                Persona::Derived(Identity::from_seed(&seed).into())
            }
            Choice::NoDevice => Persona::NoDevice,
            Choice::Backend => Persona::Backend,
        };
        let secret = relay.secrets.shown(&settings, upstream);
        let auth = secrets::auth(&secret);
        Some(session::open(&settings, upstream, Caller { role, scopes, greeting, persona, auth }).await)
    };
    let left = async {
        until(link, std::future::pending::<()>()).await;
        None
    };
    let opened = future::or(opened, left).await;
    let (wire, hello) = opened.unwrap_or_else(|| Err(Failure::Away("the client has left".into())))?;
    if link.conn.session().scopes != scopes {
        wire.abandon();
        return Err(Failure::Away("its scopes were changed".into()));
    }
    if link.pairing.take().is_some() {
        log::info!("OpenClaw lets {} in", link.greeting.name());
    }
    link.scopes.set(scopes);
    link.max_payload.set(hello.max_payload);
    link.wire.replace(Some(wire.clone()));
    let effects = link.link.borrow_mut().opened(&hello.boot, monotonic_ns());
    link.apply(effects);
    link.learn(&hello.build);
    Ok(wire)
}

enum Turn {
    Message(Message),
    Tick,
    Gone(String),
}

/// Moves frames until the connection or the client is gone; returns why.
async fn relay_frames(link: &ClientLink, wire: &Rc<Wire>) -> String {
    let mut timer = None;
    loop {
        let turn = poll_fn(|cx| {
            wire.watch(cx);
            link.watch(cx.waker());
            if link.left.get() {
                return Poll::Ready(Turn::Gone("the client has left".into()));
            }
            if link.wire.borrow().as_ref().is_none_or(|current| !Rc::ptr_eq(current, wire)) {
                return Poll::Ready(Turn::Gone("it was given up".into()));
            }
            match wire.poll_drain(cx) {
                Poll::Ready(Ok(())) => link.conn.hold(false),
                Poll::Ready(Err(e)) => {
                    return Poll::Ready(Turn::Gone(format!("the connection is lost: {e}")));
                }
                Poll::Pending => {}
            }
            if poll_due(link, &mut timer, cx).is_ready() {
                return Poll::Ready(Turn::Tick);
            }
            // A slow client slows its own connection, and nobody else's.
            if link.conn.wire.poll_room(cx, BEHIND).is_pending() {
                return Poll::Pending;
            }
            wire.poll_message(cx).map(|read| match read {
                Ok(message) => Turn::Message(message),
                Err(ReadError::Gone) => Turn::Gone("it closed the connection".into()),
                Err(e) => Turn::Gone(format!("it breaks the protocol: {e}")),
            })
        });
        match turn.await {
            Turn::Message(Message::Text(text)) => {
                let effects = link.link.borrow_mut().frame(text, monotonic_ns());
                link.apply(effects);
                future::yield_now().await;
            }
            Turn::Message(Message::Ping(payload)) => wire.send_pong(&payload),
            Turn::Message(Message::Close(code)) => {
                wire.close(code.unwrap_or(1000), "");
                return format!("it closed the connection ({})", code.unwrap_or(1005));
            }
            Turn::Message(_) => {}
            Turn::Tick => {
                let effects = link.link.borrow_mut().tick(monotonic_ns());
                link.apply(effects);
            }
            Turn::Gone(why) => return why,
        }
    }
}
