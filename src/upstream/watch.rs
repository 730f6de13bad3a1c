//! Watching whether the gateway behind this one is there, by a connection of this gateway's own.

use super::{
    connect::{Failure, Persona},
    frame::{self, Frame},
    greeting::Greeting,
    hello::Hello,
    relay::Relay,
    remote::Remote,
    secrets,
    session::{self, Caller},
};
use crate::{
    config::Upstream,
    net::{Message, Wire},
    protocol::{Role, Scope},
    reactor::{Timer, on_worker},
    store::atomic,
};
use smol::future;
use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

/// Time between two attempts, the shortest and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Time between two attempts where what answers is wrong, and only a change of it or of the settings helps.
const WRONG: Duration = Duration::from_secs(3);
/// Time between two attempts once an approval has waited for long, and what long is.
const PATIENT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(900));
/// Time between two attempts with a shared token that is refused: OpenClaw locks out who guesses ten times a minute.
const SECRET: Duration = Duration::from_secs(30);
/// Time between two attempts after an approval was rejected, the shortest and the longest: each asks anew.
const REJECTED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(240));
/// Time for which a request for approval is kept there, but for a moment.
const KEPT: Duration = Duration::from_secs(290);
/// Time between two questions whether more was granted, while that waits for approval.
const MORE: Duration = Duration::from_secs(10);
/// Time without a frame after which the connection counts as lost: several of OpenClaw's ticks.
const SILENT: Duration = Duration::from_secs(180);

/// Close codes that say why.
const SERVICE_RESTART: u16 = 1012;
const AUTH_CHANGED: u16 = 4001;

fn file(relay: &Relay) -> PathBuf {
    relay.running.get().paths.barnacle_dir.join("upstream-hello.json")
}

/// Remembers what OpenClaw said of itself to an earlier process. Reads a file: for the start, before anyone is served.
pub(super) fn remember(relay: &Relay) {
    let hello = std::fs::read_to_string(file(relay)).ok().and_then(|text| Hello::read(&text));
    if let Some(hello) = hello {
        relay.availability.remember(hello);
    }
}

/// Watches, as long as the settings name a gateway behind this one.
pub(super) async fn run(relay: Rc<Relay>) {
    let file = file(&relay);
    let mut pause = AGAIN.0;
    let mut asking = Asking::default();
    while let Some(upstream) = relay.upstream() {
        let url = upstream.url.to_string();
        relay.look_no_more();
        match attach(&relay, &upstream).await {
            Ok((wire, hello)) => {
                pause = AGAIN.0;
                keep(&relay, &hello, &file).await;
                relay.availability.there(&url, relay.waiting());
                asking = Asking::default();
                let why = listen(&relay, &upstream, &wire).await;
                relay.availability.away(&url, &why, false);
            }
            Err(failure) => {
                let to_do = !matches!(failure, Failure::Away(_));
                let pairing = match &failure {
                    Failure::Pairing(pairing) => Some(pairing.clone()),
                    _ => None,
                };
                match &failure {
                    Failure::Away(_) => {}
                    Failure::Secret(_) => pause = SECRET,
                    Failure::Pairing(pairing) => {
                        pause = asking.pause(pairing.request.as_deref(), Instant::now())
                    }
                    // The two may have read different secrets only just now.
                    _ if relay.availability.is_settling() => {}
                    Failure::Refused(..) | Failure::Outdated(_) | Failure::Wrong(_) => pause = WRONG,
                }
                relay.availability.waits_for(pairing.clone());
                relay.availability.away(&url, &failure.to_string(), to_do);
                if let Some(pairing) = &pairing {
                    relay.refuse_waiting(pairing);
                }
            }
        }
        future::or(
            async {
                Timer::after(pause).await;
            },
            poll_fn(|cx| relay.poll_again(cx)),
        )
        .await;
        pause = (pause * 2).min(AGAIN.1);
    }
    relay.watching.set(false);
}

async fn attach(relay: &Relay, upstream: &Upstream) -> Result<(Rc<Wire>, Hello), Failure> {
    let settings = relay.running.get();
    if !upstream.is_local() {
        return Remote { relay, settings: &settings, upstream }.watcher().await;
    }
    loop {
        let secret = relay.secrets.shown(&settings, upstream);
        let caller = Caller {
            role: Role::Operator,
            scopes: [Scope::Read].into_iter().collect(),
            greeting: &Greeting::default(),
            persona: Persona::Backend,
            auth: secrets::auth(&secret),
        };
        match session::open(&settings, upstream, caller).await {
            Err(failure) if failure.is_of_secret() && relay.secrets.refused(&settings, upstream) => {}
            Ok(attached) => {
                if relay.secrets.is_before() {
                    log::info!(
                        "OpenClaw still goes by the shared secret that it had before; where it does not read the new \
                         one soon: openclaw gateway restart"
                    );
                }
                relay.secrets.took(&upstream.url, secret);
                return Ok(attached);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Keeps `hello`, also on disk: so clients learn what OpenClaw has while it is away.
async fn keep(relay: &Relay, hello: &Hello, file: &Path) {
    let known = relay.availability.hello();
    if let Some(health) = frame::at(&hello.text, &["snapshot", "health"]) {
        relay.health.replace(health.into());
    }
    relay.availability.remember(hello.clone());
    relay.renew();
    if known.is_some_and(|known| known.boot == hello.boot) {
        return;
    }
    let (file, text) = (file.to_owned(), hello.text.clone());
    let kept = on_worker(move || atomic::replace(&file, text.as_bytes(), 0o600)).await;
    if let Err(e) = kept {
        log::debug!("OpenClaw's hello-ok is not kept: {e}");
    }
}

/// What comes next while it is there.
enum Heard {
    Message(Message),
    /// It is time to ask whether more was granted.
    More,
    /// It is gone, or is to be looked at again; why.
    Lost(String),
}

async fn hear(relay: &Relay, wire: &Rc<Wire>) -> Heard {
    let read = poll_fn(|cx| {
        wire.watch(cx);
        if relay.poll_again(cx).is_ready() {
            return Poll::Ready(Heard::Lost("it is looked at again".into()));
        }
        let lost = |e: &dyn std::fmt::Display| Heard::Lost(format!("the connection is lost: {e}"));
        if let Poll::Ready(Err(e)) = wire.poll_drain(cx) {
            return Poll::Ready(lost(&e));
        }
        wire.poll_message(cx).map(|read| read.map_or_else(|e| lost(&e), Heard::Message))
    });
    let late = async {
        let wants_more = relay.more.borrow().is_some();
        Timer::after(if wants_more { MORE } else { SILENT }).await;
        match wants_more {
            true => Heard::More,
            false => Heard::Lost(format!("it has been silent for {} s", SILENT.as_secs())),
        }
    };
    future::or(read, late).await
}

/// Hears it until it is gone; returns why it is.
async fn listen(relay: &Relay, upstream: &Upstream, wire: &Rc<Wire>) -> String {
    loop {
        match hear(relay, wire).await {
            Heard::Message(Message::Text(text)) => match frame::read(&text) {
                Frame::Event { name, payload, .. } if name == "health" => {
                    relay.health.replace(payload.into());
                }
                Frame::Event { name, .. } if name == "shutdown" => {
                    return "it is restarting".into();
                }
                _ => {}
            },
            Heard::Message(Message::Ping(payload)) => wire.send_pong(&payload),
            Heard::Message(Message::Close(code)) => {
                return match code.unwrap_or(1005) {
                    SERVICE_RESTART => "it is restarting".into(),
                    AUTH_CHANGED => "its gateway.auth was changed".into(),
                    code => format!("it closed the connection ({code})"),
                };
            }
            Heard::Message(_) => {}
            Heard::More => ask_for_more(relay, upstream).await,
            Heard::Lost(why) => return why,
        }
        if relay.upstream().as_ref() != Some(upstream) {
            return "the settings were changed".into();
        }
    }
}

/// Asks whether more was granted; clients then get theirs by new connections.
async fn ask_for_more(relay: &Relay, upstream: &Upstream) {
    let settings = relay.running.get();
    let asked = Remote { relay, settings: &settings, upstream }.ask().await;
    if asked.is_ok() && relay.more.borrow().is_none() {
        log::info!("OpenClaw at {} has granted what was asked for", upstream.url);
        relay.reconnect("it has granted more");
    }
}

/// Attempts while an approval is waited for.
#[derive(Default)]
struct Asking {
    /// The request, and since when it waits.
    request: Option<(String, Instant)>,
    /// Time of the first attempt.
    began: Option<Instant>,
    rejected: u32,
}

impl Asking {
    /// Time to the next attempt after one that was told `request`. Another request sooner than one is kept means that
    /// the one before was rejected, and whoever did that is not to be asked again at once.
    fn pause(&mut self, request: Option<&str>, now: Instant) -> Duration {
        let known = self.request.as_ref().filter(|(known, _)| request != Some(known.as_str()));
        match known {
            Some((_, since)) if now.saturating_duration_since(*since) < KEPT => self.rejected += 1,
            Some(_) => self.rejected = 0,
            None => {}
        }
        if known.is_some() || self.request.is_none() {
            self.request = request.map(|request| (request.into(), now));
        }
        let waited = now.saturating_duration_since(*self.began.get_or_insert(now));
        match self.rejected {
            0 if waited > PATIENT.1 => PATIENT.0,
            0 => WRONG,
            n => (REJECTED.0 * 2_u32.saturating_pow(n - 1)).min(REJECTED.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rejects_is_asked_less_often() {
        let (start, mut asking) = (Instant::now(), Asking::default());
        for (at_s, request, pause_s) in [
            (0, Some("a"), 3),
            (3, Some("a"), 3),
            (299, Some("a"), 3),
            // It ran out.
            (302, Some("b"), 3),
            (305, Some("b"), 3),
            // It was rejected.
            (310, Some("c"), 30),
            (340, Some("c"), 30),
            (370, Some("d"), 60),
            (430, Some("e"), 120),
            (550, Some("f"), 240),
            (790, Some("g"), 240),
            (1100, Some("h"), 15),
        ] {
            let now = start + Duration::from_secs(at_s);
            assert_eq!(asking.pause(request, now), Duration::from_secs(pause_s), "{at_s} s");
        }
    }
}
