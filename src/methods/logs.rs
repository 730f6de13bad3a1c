//! `logs.tail`: the journal's last lines.

use super::Answer;
use crate::{
    app::App,
    journal::Tail,
    protocol::{Json, Params},
};
use nanoserde::SerJson;
use std::rc::Rc;

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
pub fn tail(app: &Rc<App>, params: &Params<'_>) -> Answer {
    let cursor = params.opt_u64("cursor")?;
    let limit = params.opt_u64("limit")?.unwrap_or(500).clamp(1, 5000);
    let bytes = params.opt_u64("maxBytes")?.unwrap_or(250_000).clamp(1, 1_000_000);
    let Tail { lines, cursor, reset, truncated } = app.journal.tail(cursor, limit as usize, bytes as usize);
    Ok(Json::of(&Result { file: FILE, cursor, size: cursor, lines, truncated, reset }).into())
}
