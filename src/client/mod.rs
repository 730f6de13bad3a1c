//! A client of a gateway, for the command line: one connection, one request at a time, blocking.
//!
//! [`Target`] says where the gateway is and what to show it, [`Client`] connects and calls. On this host
//! it comes without a device, as OpenClaw's own CLI does; elsewhere, or where that is refused, it signs
//! with a key of its own (`identity`). Where no gateway runs at all, [`Offline`] answers the
//! `device.*` methods from the store. Source: `docs/gateway/protocol/handshake.md`.

mod error;
mod identity;
mod offline;
mod socket;
mod target;

pub use error::{CallError, ErrorResponse};
pub use offline::{Offline, open as open_store};
pub use target::{Options, Target, Url};

use crate::{
    auth::{
        identity::Identity,
        payload::{Payload, Version},
    },
    protocol::{DeviceId, Fields, PROTOCOL_MAX, PROTOCOL_MIN, Scopes, base64url_encode, raw_member},
};
use async_tungstenite::tungstenite::Utf8Bytes;
use miniserde::json::Value;
use nanoserde::SerJson;
use socket::Socket;
use std::{
    collections::VecDeque,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

/// Client id and mode of OpenClaw's CLI.
const NAME: &str = "cli";

pub struct Client<'t> {
    target: &'t Target,
    socket: Socket,
    /// Whether none of the scopes asked for was granted.
    barred: bool,
    device: Option<DeviceId>,
    next_id: u64,
    /// The event that is listened for, and those that came while something else was waited for.
    listens: Option<&'static str>,
    heard: VecDeque<Value>,
}

/// Events that are kept while nobody takes them; the oldest go first.
const HEARD: usize = 1024;
/// The longest time in which a gateway that is there says nothing at all: three ticks of OpenClaw's.
const SILENCE: Duration = Duration::from_secs(90);
/// The time for the rest of something that has begun to arrive.
const AT_ONCE: Duration = Duration::from_millis(50);

impl<'t> Client<'t> {
    /// Attaches as an operator with `scopes`.
    pub fn connect(target: &'t Target, scopes: Scopes) -> Result<Self, CallError> {
        if !target.url.is_loopback() {
            let own = identity::load_or_create(&target.dir)?;
            return Self::attach(target, scopes, Some(&own));
        }
        match Self::attach(target, scopes, None) {
            // Loopback here leads to a gateway for which it is none (a container's port, a tunnel to another host):
            // without a device nothing may be done there.
            Ok(client) if client.barred => {
                Self::attach(target, scopes, Some(&identity::load_or_create(&target.dir)?))
            }
            // The secret was not enough; a device that is paired needs none.
            Err(CallError::Refused(error)) if error.code != "UNAVAILABLE" => {
                let Ok(own) = identity::load_or_create(&target.dir) else {
                    return Err(CallError::Refused(error));
                };
                Self::attach(target, scopes, Some(&own))
            }
            other => other,
        }
    }

    fn attach(target: &'t Target, scopes: Scopes, own: Option<&Identity>) -> Result<Self, CallError> {
        let socket = Socket::open(&target.url, &target.trust, target.timeout)?;
        let device = own.map(|own| own.public_key().device_id());
        let mut client =
            Self { target, socket, barred: false, device, next_id: 1, listens: None, heard: VecDeque::new() };
        let challenge = client.socket.frame_where(|f| f.str("event") == Some("connect.challenge"))?;
        let (nonce, ts) = challenge.payload(|p| (p.text("nonce").to_owned(), p.u64("ts").unwrap_or(0)));
        let params = connect_params(target, scopes, own, &nonce, ts);
        match client.call("connect", &params) {
            Ok(hello) => {
                let granted = raw_member(&hello, "auth").and_then(|auth| raw_member(auth, "scopes"));
                client.barred = granted == Some("[]") && !scopes.is_empty();
                Ok(client)
            }
            Err(CallError::Failed(error)) => Err(CallError::Refused(error)),
            Err(other) => Err(other),
        }
    }

    /// Calls `method` with `params`, a JSON object; the answer is the payload as it came.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Failed`] where the gateway refused.
    pub fn call(&mut self, method: &str, params: &str) -> Result<String, CallError> {
        let id = self.next_id.to_string();
        self.next_id += 1;
        let method = method.to_owned().serialize_json();
        self.socket.send(format!(r#"{{"type":"req","id":"{id}","method":{method},"params":{params}}}"#))?;
        let answer = loop {
            let frame = self.socket.frame()?;
            match Fields::of(&frame.value) {
                Some(f) if f.str("type") == Some("res") && f.str("id") == Some(&id) => break frame,
                _ => self.hear(frame),
            }
        };
        match Fields::of(&answer.value) {
            Some(f) if f.is("ok") => Ok(raw_member(&answer.text, "payload").unwrap_or("null").into()),
            Some(f) => Err(CallError::Failed(Box::new(ErrorResponse::of(f.object("error"))))),
            None => Err(CallError::NotGateway(self.target.url.to_string(), "it answers no object".into())),
        }
    }

    /// Keeps the events `name` from now on, for [`event`](Self::event).
    pub fn listen(&mut self, name: &'static str) {
        self.listens = Some(name);
    }

    fn hear(&mut self, frame: Frame) {
        let name = Fields::of(&frame.value).and_then(|f| f.str("event"));
        if name.is_some() && name == self.listens {
            if self.heard.len() == HEARD {
                self.heard.pop_front();
            }
            self.heard.push_back(frame.value);
        }
    }

    /// The next event that is listened for, however long it takes to come; `None` where it does not come `until` then.
    ///
    /// # Errors
    /// [`CallError`]: the connection ended, or not even a tick came.
    pub fn event(&mut self, until: Option<Instant>) -> Result<Option<Value>, CallError> {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return Ok(Some(event));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            self.socket.renew(left.map_or(SILENCE, |left| left.min(SILENCE)));
            match self.socket.frame() {
                Ok(frame) => self.hear(frame),
                Err(CallError::TimedOut(..)) if left.is_some_and(|left| left <= SILENCE) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads what is there, so that the gateway sees that somebody is: its pings are answered, its ticks are dropped.
    ///
    /// # Errors
    /// [`CallError`]: the connection ended.
    pub fn stay(&mut self) -> Result<(), CallError> {
        self.socket.renew(AT_ONCE);
        match self.socket.frame() {
            Ok(frame) => self.hear(frame),
            // It was a ping, or the first part of something.
            Err(CallError::TimedOut(..)) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Drops the events that were kept.
    pub fn forget_events(&mut self) {
        self.heard.clear();
    }

    /// The file descriptor of the connection: readable when [`stay`](Self::stay) has something to read.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The device it attached as.
    pub fn device(&self) -> Option<DeviceId> {
        self.device
    }

    /// Gives the next calls as much time as the first had.
    pub fn renew_deadline(&mut self) {
        self.socket.renew(self.target.timeout);
    }
}

/// The device that this command line signs as, if it has a key.
pub fn own_device(target: &Target) -> Option<DeviceId> {
    identity::load(&target.dir).map(|own| own.public_key().device_id())
}

/// Reads the number of restarts in place from `/readyz` of the gateway at `target`.
pub fn restarts_of(target: &Target) -> Result<u64, CallError> {
    let body = socket::get(&target.url, &target.trust, target.timeout, "/readyz")?;
    let value: Value = miniserde::json::from_str(&body).unwrap_or_default();
    match Fields::of(&value).filter(|f| f.is("ready")) {
        Some(ready) => Ok(ready.u64("restarts").unwrap_or(0)),
        None => Err(CallError::NotGateway(target.url.to_string(), "it is not ready".into())),
    }
}

/// A frame: as text, and parsed.
struct Frame {
    text: Utf8Bytes,
    value: Value,
}

impl Frame {
    fn payload<T: Default>(&self, read: impl FnOnce(Fields<'_>) -> T) -> T {
        Fields::of(&self.value).and_then(|f| f.object("payload")).map(read).unwrap_or_default()
    }
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct ConnectParams {
    minProtocol: u64,
    maxProtocol: u64,
    client: ClientInfo,
    caps: Vec<String>,
    role: &'static str,
    scopes: Vec<String>,
    auth: Option<Auth>,
    device: Option<Device>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct ClientInfo {
    id: &'static str,
    version: &'static str,
    platform: &'static str,
    deviceFamily: &'static str,
    mode: &'static str,
}

#[derive(SerJson)]
struct Auth {
    token: Option<String>,
    password: Option<String>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Device {
    id: String,
    publicKey: String,
    signature: String,
    signedAt: u64,
    nonce: String,
}

fn connect_params(target: &Target, scopes: Scopes, own: Option<&Identity>, nonce: &str, ts: u64) -> String {
    let names = scopes.names();
    let token = target.token.as_ref().and_then(|t| t.reveal().map(str::to_owned));
    let password = target.password.as_ref().and_then(|p| p.reveal().map(str::to_owned));
    let device = own.map(|own| {
        let (key, id) = (own.public_key(), own.public_key().device_id().to_string());
        let payload = Payload {
            device_id: &id,
            client_id: NAME,
            client_mode: NAME,
            role: "operator",
            scopes: &names.iter().map(String::as_str).collect::<Vec<_>>(),
            // The gateway's own time: this host's clock may be years off.
            signed_at: ts,
            nonce,
            platform: "",
            device_family: "",
        };
        // Every gateway since 2026.2 reads version 2, those before 2026.2.24 nothing else.
        let signature = own.sign(&payload.text(Version::V2, token.as_deref().unwrap_or_default()));
        let key = base64url_encode(&key.0);
        Device { id: id.clone(), publicKey: key, signature, signedAt: ts, nonce: nonce.into() }
    });
    ConnectParams {
        minProtocol: PROTOCOL_MIN,
        maxProtocol: PROTOCOL_MAX,
        client: ClientInfo {
            id: NAME,
            version: env!("CARGO_PKG_VERSION"),
            platform: std::env::consts::OS,
            deviceFamily: "Linux",
            mode: NAME,
        },
        caps: Vec::new(),
        role: "operator",
        scopes: names,
        auth: (token.is_some() || password.is_some()).then_some(Auth { token, password }),
        device,
    }
    .serialize_json()
}
