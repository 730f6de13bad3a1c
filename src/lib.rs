//! Barnacle: a gateway that stays attached.
//!
//! One process on `ws://127.0.0.1:18789` that OpenClaw's CLI, Control UI, nodes and agents connect to
//! over protocol 3 and 4. A device that was paired once stays attached through config changes,
//! restarts, rotations, clock jumps and power cuts; only an explicit revoke or removal ends its access.
//!
//! The way of a frame, from the socket to the events that it causes:
//!
//! ```text
//! socket ─ net ─ gateway: accept ─ admission: is there room
//!                 ├─ GET: pages: /health, /healthz, /readyz
//!                 ├─ every other path: http: the Control UI and APIs, or proxy: the gateway behind this one, if
//!                 │  there is one
//!                 └─ upgrade: handshake ─ auth: who is it, may it ─ devices ─ store
//!                     └─ session ─ methods ─┬─ devices ─ store
//!                                           ├─ sessions: rows and transcripts, on disk
//!                                           ├─ agents: messages that a model answers ─ outbound
//!                                           ├─ tools: what an agent may do, by the gateway's own methods
//!                                           ├─ config ─ reload: a change applied while everyone stays
//!                                           ├─ handoff: a restart that nobody sees
//!                                           └─ hub: connections, and events to their audience
//! outbound ─ socket: connections that this process opens
//! cli ─ client ─ socket: the same program as a command, beside doctor, import and service
//! ```
//!
//! `app` holds the rooms of a running gateway, which `gateway::run` alone puts together. The modules below stand in the
//! order of their imports: each uses only those above it. [`cli`] is the only one that is public.
//!
//! Everything runs on one thread: no locks, `Rc` and `RefCell` borrowed for a statement and never
//! across an `await`. What may wait for a disk goes to a worker thread (see `store`).

mod allocator;
mod clock;
mod code_pages;
mod host;
mod packed;
mod random;
mod reactor;

mod journal;
mod protocol;

mod admission;
mod store;

mod auth;
mod tls;

mod net;
mod outbound;

mod sd_notify;
mod signals;

mod config;
mod hub;

mod devices;
mod sessions;
mod upstream;

mod agents;
mod tools;

mod reload;

mod app;

mod handoff;
mod methods;

mod http;

mod proxy;

mod gateway;

mod client;
mod import;
mod service;

mod doctor;

pub mod cli;

#[doc(hidden)]
pub mod internals;
