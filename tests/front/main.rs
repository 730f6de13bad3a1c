//! `gateway install --in-front-of-openclaw` and the way back, with a real systemd (`support/host`): once with the real
//! OpenClaw, and where things go wrong with a [stand-in](scene) that starts at once.

#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/wire/mod.rs"]
mod wire;

mod attacks;
mod failures;
mod real;
mod scene;
