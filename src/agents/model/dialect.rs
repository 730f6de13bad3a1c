//! The dialects of model servers: one row each.
//!
//! A dialect says where a request goes, how it names the key, how turns and tools are written, and how an event of the answer
//! is read. What servers of one dialect do differently is met where the pieces are put together ([`super::reply`]).

use super::{anthropic, error::ModelError, openai, reply::Piece};
use crate::agents::conversation::Turn;

/// A tool as a model is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its name: letters, digits, `_` and `-`.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// JSON Schema of its arguments.
    pub parameters: &'a str,
}

/// Whether a model must call one of the tools that it is offered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Choice {
    /// As it likes.
    #[default]
    Free,
    /// One of them.
    Any,
    /// The one of this name.
    This(String),
}

/// What a model is asked.
pub struct Prompt<'a> {
    /// The standing instructions; empty for none.
    pub system: &'a str,
    /// The conversation.
    pub turns: &'a [Turn],
    /// The tools that it may call.
    pub tools: &'a [Offer<'a>],
    /// Whether it must.
    pub choice: &'a Choice,
}

/// A dialect: one row of the table.
pub struct Dialect {
    /// Its name, `models.providers.*.api`.
    pub name: &'static str,
    /// The path of a request below `baseUrl`.
    pub path: fn(&str) -> String,
    /// Name and value of the header that the key goes in.
    pub key: fn(&str) -> (&'static str, String),
    /// Other headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body of a request: model, most tokens of the answer, and what is asked.
    pub body: fn(&str, Option<u64>, &Prompt<'_>) -> String,
    /// Reads the data of an event.
    pub read: fn(&str) -> Result<Vec<Piece>, ModelError>,
}

/// The dialects, the usual one first.
pub static DIALECTS: [Dialect; 2] = [openai::COMPLETIONS, anthropic::MESSAGES];

/// The dialect of this name; the usual one without a name.
pub fn dialect(name: Option<&str>) -> Option<&'static Dialect> {
    match name {
        None => DIALECTS.first(),
        Some(name) => DIALECTS.iter().find(|dialect| dialect.name == name),
    }
}
