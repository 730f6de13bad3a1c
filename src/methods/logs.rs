//! `logs.tail`: the journal's last lines, each a JSON object.
//!
//! A line has what OpenClaw's Control UI and CLI look for: `time`, `level`, `subsystem`, `message`.

use super::{Access, Answer, Call, Method, Repeat, shape::Object};
use crate::{
    journal::{Line, Tail},
    protocol::{Json, Scope},
};
use nanoserde::SerJson;

/// The methods of this family.
pub(super) const METHODS: &[Method] =
    &[Method::now("logs.tail", Access::Operator(Scope::Read), Repeat::Harmless, tail)];

/// `LogsTailResult`.
#[derive(SerJson)]
struct Result {
    file: &'static str,
    cursor: u64,
    size: u64,
    lines: Vec<String>,
    truncated: bool,
    reset: bool,
}

/// The journal is in memory; it has no path.
const FILE: &str = "(memory)";

/// `logs.tail`.
fn tail(call: &Call) -> Answer {
    let params = call.params()?;
    let cursor = params.opt_u64("cursor")?;
    let limit = params.opt_u64("limit")?.unwrap_or(500).clamp(1, 5000);
    let bytes = params.opt_u64("maxBytes")?.unwrap_or(250_000).clamp(1, 1_000_000);
    let Tail { lines, cursor, reset, truncated } =
        call.app.journal.tail(cursor, limit as usize, bytes as usize);
    let lines = lines.iter().map(json).collect();
    Ok(Json::of(&Result { file: FILE, cursor, size: cursor, lines, truncated, reset }).into())
}

fn json(line: &Line) -> String {
    let (time, level, message) = line.parts();
    Object::new()
        .put("time", time)
        .put("level", &level.to_ascii_lowercase())
        .put("subsystem", if line.peer { "gateway/peers" } else { "gateway" })
        .put("message", message)
        .json()
        .0
}
