//! Sessions and transcripts of a gateway that stands alone: over the socket, through crashes, and large.

#[path = "../support/wire/mod.rs"]
mod wire;

mod crash;
mod full_disk;
mod large;
mod lists;
mod rights;
mod said;
