//! `chat`, `agent`, `sessions`, `models`: talking with agents, and what there is of it.

pub(super) mod agent;
pub(super) mod chat;
pub(super) mod models;
pub(super) mod sessions;
mod turn;
