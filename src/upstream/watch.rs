//! Watching whether the gateway behind this one is there, by a connection of this gateway's own.

use super::{
    connect::{Choice, Failure},
    frame::{self, Frame},
    greeting::Greeting,
    hello::Hello,
    relay::Relay,
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
    time::Duration,
};

/// Time between two attempts, the shortest and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Time between two attempts where what answers is wrong, and only a change of it or of the settings helps.
const WRONG: Duration = Duration::from_secs(3);
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
    while let Some(upstream) = relay.upstream() {
        let url = upstream.url.to_string();
        match attach(&relay, &upstream).await {
            Ok((wire, hello)) => {
                pause = AGAIN.0;
                keep(&relay, &hello, &file).await;
                relay.availability.there(&url, relay.waiting());
                let why = listen(&relay, &upstream, &wire).await;
                relay.availability.away(&url, &why, false);
            }
            Err(failure) => {
                let to_do = !matches!(failure, Failure::Away(_));
                relay.availability.away(&url, &failure.to_string(), to_do);
                if to_do && !relay.availability.is_settling() {
                    pause = WRONG;
                }
            }
        }
        Timer::after(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
    relay.watching.set(false);
}

async fn attach(relay: &Relay, upstream: &Upstream) -> Result<(Rc<Wire>, Hello), Failure> {
    let caller = Caller {
        role: Role::Operator,
        scopes: [Scope::Read].into_iter().collect(),
        greeting: &Greeting::default(),
        choice: Choice::Backend,
        seed: [0; 32],
    };
    session::open(&relay.running.get(), upstream, &caller).await
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

/// Hears it until it is gone; returns why it is.
async fn listen(relay: &Relay, upstream: &Upstream, wire: &Rc<Wire>) -> String {
    loop {
        let read = poll_fn(|cx| {
            wire.watch(cx);
            if let Poll::Ready(Err(e)) = wire.poll_drain(cx) {
                return Poll::Ready(Err(e.to_string()));
            }
            wire.poll_message(cx).map_err(|e| e.to_string())
        });
        let silent = async {
            Timer::after(SILENT).await;
            Err(format!("it has been silent for {} s", SILENT.as_secs()))
        };
        match future::or(read, silent).await {
            Ok(Message::Text(text)) => match frame::read(&text) {
                Frame::Event { name, payload, .. } if name == "health" => {
                    relay.health.replace(payload.into());
                }
                Frame::Event { name, .. } if name == "shutdown" => {
                    return "it is restarting".into();
                }
                _ => {}
            },
            Ok(Message::Ping(payload)) => wire.send_pong(&payload),
            Ok(Message::Close(code)) => {
                return match code.unwrap_or(1005) {
                    SERVICE_RESTART => "it is restarting".into(),
                    AUTH_CHANGED => "its gateway.auth was changed".into(),
                    code => format!("it closed the connection ({code})"),
                };
            }
            Ok(_) => {}
            Err(why) => return format!("the connection is lost: {why}"),
        }
        if relay.upstream().as_ref() != Some(upstream) {
            return "the settings were changed".into();
        }
    }
}
