//! Standing in front of OpenClaw: what goes through, what waits while it is away, and what nobody behind this gateway can
//! do to its clients. Behind it is a [stand-in](stand_in), not OpenClaw; `tests/peers` has the real one.

#[path = "../support/wire/mod.rs"]
mod wire;

mod away;
mod descriptors;
mod hostile;
mod introduced;
mod remote;
mod restarted;
mod rights;
mod stand_in;
mod through;
mod updated;
