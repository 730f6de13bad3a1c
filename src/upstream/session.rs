//! Making a connection to the gateway behind this one, up to its `hello-ok`.

use super::{
    connect::{self, Auth, Failure, Introduction, Persona},
    greeting::Greeting,
    hello::Hello,
};
use crate::{
    config::{Settings, Upstream},
    net::{Message, ReadError, Wire},
    outbound::{DialError, Limits, WebSocketError, open_wire},
    protocol::{MAX_PAYLOAD, Role, Scopes},
    reactor::Timer,
    tls::TlsError,
};
use smol::future;
use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

/// Time for TCP, TLS, the upgrade and `hello-ok` each; a busy board's OpenClaw takes several seconds.
const TIME: Duration = Duration::from_secs(20);

/// A client, as it is to be introduced.
pub(super) struct Caller<'a> {
    pub role: Role,
    pub scopes: Scopes,
    pub greeting: &'a Greeting,
    pub persona: Persona,
    pub auth: Auth<'a>,
}

/// Connects to `upstream`, and attaches there as `caller`.
pub(super) async fn open(
    settings: &Settings,
    upstream: &Upstream,
    caller: Caller<'_>,
) -> Result<(Rc<Wire>, Hello), Failure> {
    let late = async {
        Timer::after(TIME).await;
        Err(Failure::Away(format!("it does not answer within {} s", TIME.as_secs())))
    };
    future::or(attach(settings, upstream, caller), late).await
}

async fn attach(
    settings: &Settings,
    upstream: &Upstream,
    caller: Caller<'_>,
) -> Result<(Rc<Wire>, Hello), Failure> {
    if upstream.is_local() && upstream.url.port() == settings.port {
        return Err(Failure::Wrong(format!(
            "port {} is this gateway's own: give OpenClaw another, and name that",
            settings.port
        )));
    }
    // Requests wait until its keys make sense.
    if let Some(why) = &upstream.closed {
        return Err(Failure::Away(why.clone()));
    }
    let mut headers: Vec<(&str, &str)> = Vec::new();
    if caller.persona.is_client() {
        // What stands before one on another host chooses by the name in the URL.
        let host = caller.greeting.host.as_deref().filter(|_| upstream.is_local());
        headers.extend(host.map(|host| ("Host", host)));
        headers.extend(caller.greeting.origin.as_deref().map(|origin| ("Origin", origin)));
    }
    let limits = Limits { connect: TIME, idle: None, deadline: None };
    let wire = open_wire(&upstream.url, &upstream.trust, &limits, &headers, MAX_PAYLOAD).await;
    let wire = wire.map_err(|e| failure(&e))?;
    let challenge = loop {
        let text = next(&wire).await?;
        if let Some(challenge) = connect::challenge(&text) {
            break challenge;
        }
    };
    let introduction = Introduction {
        role: caller.role,
        scopes: caller.scopes,
        greeting: caller.greeting,
        auth: caller.auth,
    };
    wire.send_text(&introduction.request(&caller.persona, &challenge));
    loop {
        if let Some(answer) = connect::answer(&next(&wire).await?) {
            return answer.map(|hello| (wire, hello));
        }
    }
}

/// The next text of a connection that is being made.
async fn next(wire: &Wire) -> Result<String, Failure> {
    loop {
        let read = poll_fn(|cx| {
            wire.watch(cx);
            if let Poll::Ready(Err(_)) = wire.poll_drain(cx) {
                return Poll::Ready(Err(ReadError::Gone));
            }
            wire.poll_message(cx)
        });
        match read.await {
            Ok(Message::Text(text)) => return Ok(text),
            Ok(Message::Ping(payload)) => wire.send_pong(&payload),
            Ok(Message::Close(code)) => {
                return Err(Failure::Away(format!("it closed the connection ({})", code.unwrap_or(1005))));
            }
            Ok(_) => {}
            Err(e) => return Err(Failure::Away(format!("the connection is lost: {e}"))),
        }
    }
}

/// What a connection that cannot be opened means.
fn failure(e: &WebSocketError) -> Failure {
    match e {
        WebSocketError::NotWebSocket(_) | WebSocketError::BadRequest(_) => {
            Failure::Wrong(format!("{e}; is it an OpenClaw gateway?"))
        }
        WebSocketError::Refused(status, _) if *status != 503 => {
            Failure::Wrong(format!("{e}; is it an OpenClaw gateway?"))
        }
        WebSocketError::Dial(DialError::Tls(peer, why)) if why.is_of_trust() => {
            Failure::Wrong(format!("{peer}: {why}{}", advice(why)))
        }
        // The advice of these is for somebody who dialled by hand.
        WebSocketError::Dial(DialError::Refused(_)) => Failure::Away("nothing listens there".into()),
        WebSocketError::Cut | WebSocketError::Io(_) => {
            Failure::Away("it closed the connection at once".into())
        }
        _ => Failure::Away(e.to_string()),
    }
}

/// What to do about a certificate that is not trusted.
fn advice(why: &TlsError) -> &'static str {
    match why {
        TlsError::UnknownIssuer | TlsError::WrongFingerprint(..) | TlsError::BadCertificate(_) => {
            ": upstream.tlsFingerprint, or upstream.caFile, in barnacle.json. On its host `openssl x509 -noout \
             -fingerprint -sha256 -in ~/.openclaw/gateway/tls/gateway-cert.pem` shows the fingerprint"
        }
        TlsError::Roots(..) => ": upstream.caFile or upstream.tlsFingerprint in barnacle.json",
        _ => "",
    }
}
