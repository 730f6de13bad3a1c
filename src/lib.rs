//! Barnacle: a gateway that stays attached.
//!
//! One process on `ws://127.0.0.1:18789` that OpenClaw's CLI, Control UI, nodes and agents connect to
//! over protocol 3 and 4. A device that was paired once stays attached through config changes,
//! restarts, rotations, clock jumps and power cuts; only an explicit revoke or removal ends its access.
//!
//! The modules stand in the order a frame travels:
//!
//! ```text
//! socket ─ net ──┬─ GET: /health, /healthz, /readyz
//!                └─ upgrade ─ gateway (handshake, session) ─ methods ─ store
//!                               └─ auth (who is it, may it)     └─ hub ─ events to every session
//! ```
//!
//! Everything runs on one thread: no locks, `Rc` and `RefCell` borrowed for a statement and never
//! across an `await`. What may wait for a disk goes to a worker thread (see [`store`]).

mod allocator;
pub mod clock;
mod code_pages;
pub(crate) mod host;
pub mod journal;
pub mod packed;
pub mod reactor;

pub mod protocol;

pub mod store;

pub mod auth;
pub mod tls;

pub mod config;

pub mod admission;
pub mod net;

#[doc(hidden)]
pub mod outbound;

pub mod devices;
pub mod hub;
pub mod reload;

pub mod app;

pub mod handoff;
pub mod methods;

pub mod sd_notify;
mod signals;

pub mod gateway;
pub(crate) mod service;

pub(crate) mod client;
pub(crate) mod doctor;
pub(crate) mod import;

pub mod cli;
