//! HTTP, WebSocket and TLS both ways: what the gateway serves over plain HTTP, and the client by which it is to call
//! others, each against a real peer over a socket.

#[path = "../sessions/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../support/wire/mod.rs"]
mod wire;

#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod client_errors;
mod client_tools;
mod handoff;
mod heads;
mod join;
mod openai;
#[cfg(feature = "tls")]
mod peer;
mod proxy;
mod server;
mod tools;
mod ui;
#[cfg(feature = "tls")]
mod upgrade;
#[cfg(feature = "tls")]
mod websocket;
