//! `openclaw.json` as text and as a tree: JSON5, what it includes, and edits that touch nothing else.

pub(crate) mod edit;
pub mod file;
pub(crate) mod json5;
pub(crate) mod layout;
pub mod node;
pub(crate) mod path;
pub(crate) mod source;
pub(crate) mod trivia;
