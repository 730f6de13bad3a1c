//! `openclaw.json` as text and as a tree: JSON5, what it includes, and edits that touch nothing else.

pub mod edit;
pub mod file;
pub mod json5;
pub mod layout;
pub mod node;
pub mod path;
pub mod source;
pub mod trivia;
