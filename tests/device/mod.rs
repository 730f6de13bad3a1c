//! A device with a key of its own that attaches over a real socket.

#![allow(dead_code)]

use async_tungstenite::tungstenite::{Message, WebSocket, connect, stream::MaybeTlsStream};
use barnacle::auth::identity::Identity;
use barnacle::auth::payload::{Payload, Version};
use barnacle::protocol::raw_member;
use std::net::TcpStream;

pub struct Device {
    key: Identity,
    pub client: &'static str,
    pub mode: &'static str,
}

impl Device {
    pub fn new(seed: u8) -> Self {
        Self::of([seed; 32])
    }

    /// The device of a secret seed.
    pub fn of(seed: [u8; 32]) -> Self {
        Self { key: Identity::from_seed(&seed), client: "test", mode: "backend" }
    }

    pub fn browser(seed: u8) -> Self {
        Self { client: "openclaw-control-ui", mode: "webchat", ..Self::new(seed) }
    }

    pub fn id(&self) -> String {
        self.key.public_key().device_id().to_string()
    }

    pub fn public_key(&self) -> String {
        self.key.public_key().to_string()
    }

    /// Connects with `token` for `role` and `scopes`; the answer to `connect`, and the connection.
    pub fn attach(&self, url: &str, token: Option<&str>, role: &str, scopes: &[&str]) -> Attached {
        let (mut socket, _) = connect(url).unwrap();
        let challenge = text(&mut socket);
        let nonce = member(raw_member(&challenge, "payload").unwrap(), "nonce").to_owned();
        let id = self.id();
        let payload = Payload {
            device_id: &id,
            client_id: self.client,
            client_mode: self.mode,
            role,
            scopes,
            signed_at: 1,
            nonce: &nonce,
            platform: "linux",
            device_family: "",
        };
        let signature = self.key.sign(&payload.text(Version::V3, token.unwrap_or_default()));
        let auth = token.map(|t| format!(r#""auth":{{"token":"{t}"}},"#)).unwrap_or_default();
        let scopes: Vec<String> = scopes.iter().map(|s| format!("\"{s}\"")).collect();
        let frame = format!(
            r#"{{"type":"req","id":"c","method":"connect","params":{{"minProtocol":3,"maxProtocol":4,{auth}
            "client":{{"id":"{}","mode":"{}","version":"1","platform":"linux"}},"role":"{role}","scopes":[{}],
            "device":{{"id":"{id}","publicKey":"{}","signature":"{signature}","signedAt":1,"nonce":"{nonce}"}}}}}}"#,
            self.client,
            self.mode,
            scopes.join(","),
            self.public_key(),
        );
        socket.send(Message::text(frame)).unwrap();
        let answer = text(&mut socket);
        Attached { answer, socket }
    }
}

pub struct Attached {
    /// The whole response frame.
    pub answer: String,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
}

impl Attached {
    /// `hello-ok`.
    #[track_caller]
    pub fn hello(&self) -> &str {
        assert_eq!(raw_member(&self.answer, "ok"), Some("true"), "{}", self.answer);
        raw_member(&self.answer, "payload").unwrap()
    }

    /// The token that `hello-ok` hands out.
    #[track_caller]
    pub fn token(&self) -> &str {
        member(raw_member(self.hello(), "auth").unwrap(), "deviceToken")
    }

    /// The error of a refused connect.
    #[track_caller]
    pub fn error(&self) -> &str {
        assert_eq!(raw_member(&self.answer, "ok"), Some("false"), "{}", self.answer);
        raw_member(&self.answer, "error").unwrap()
    }

    /// Waits until the gateway closes the connection; its code.
    pub fn closed(mut self) -> u16 {
        loop {
            match self.socket.read().unwrap() {
                Message::Close(why) => return why.unwrap().code.into(),
                _ => continue,
            }
        }
    }
}

/// A text member of the object `json`.
#[track_caller]
pub fn member<'a>(json: &'a str, name: &str) -> &'a str {
    raw_member(json, name).unwrap_or_else(|| panic!("no {name} in {json}")).trim_matches('"')
}

fn text(socket: &mut WebSocket<MaybeTlsStream<TcpStream>>) -> String {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return text.to_string();
        }
    }
}
