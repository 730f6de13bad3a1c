//! Sessions of OpenClaw: their rows, and their transcripts entry by entry.
//!
//! Of 2026.2 both are files (`store`, `transcript`); of later versions a running gateway tells them (`wire`). A session keeps its
//! id where that is a UUID and nobody else's, so that what was brought before is known again.

mod store;
mod transcript;
pub mod wire;

pub use store::{Stored, stored};
pub use transcript::Source;

use crate::{
    config::model::agents::Agents,
    protocol::Fields,
    sessions::{Row, SessionId, SessionKey},
};
use sha2::{Digest, Sha256};

/// A session that may be brought.
pub struct Session {
    pub key: SessionKey,
    pub row: Row,
}

/// A session that stays out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    pub key: String,
    pub why: String,
}

/// Texts of a record of OpenClaw's that name its session, and what they are called here.
const NAMES: [(&str, &str); 4] = [
    ("label", "label"),
    ("displayName", "displayName"),
    ("subject", "displayName"),
    ("category", "category"),
];

impl Session {
    /// The session that OpenClaw keeps as `record` under `key` in the store of `agent`. `taken` says whether its id is another
    /// session's.
    fn of(
        key: &str,
        agent: &str,
        agents: &Agents,
        record: Fields<'_>,
        taken: impl FnOnce(&SessionId) -> bool,
    ) -> Result<Self, LeftOut> {
        let refuse = |why: &str| LeftOut { key: key.to_owned(), why: why.to_owned() };
        let found = key_of(key, agent, agents).ok_or_else(|| refuse("its key is none that is valid here"))?;
        let text = record.str("sessionId").ok_or_else(|| refuse("it has no session id"))?;
        let id = SessionId::parse(text).filter(|id| !taken(id)).unwrap_or_else(|| id_of(&found, text));
        let updated = record.u64("updatedAt").unwrap_or_default();
        let mut row = Row::of(id);
        let begun =
            record.u64("createdAt").or(record.u64("sessionStartedAt")).unwrap_or(updated).min(updated);
        row.times.created = begun;
        row.times.started = record.u64("sessionStartedAt").unwrap_or(begun);
        (row.times.updated, row.times.activity, row.times.read) = (updated, updated, updated);
        row.times.interaction = record.u64("lastInteractionAt").unwrap_or(updated);
        for (there, here) in NAMES {
            if let Some(text) = record.str(there).filter(|_| row.get(here).is_none()) {
                use nanoserde::SerJson;
                let text: String = text.chars().take(500).collect();
                row.set(here, Some(&text.serialize_json()));
            }
        }
        Ok(Self { key: found, row })
    }
}

/// The key here of what is called `key` in the store of `agent`.
fn key_of(key: &str, agent: &str, agents: &Agents) -> Option<SessionKey> {
    let known = agents.and(agent);
    let named = (!key.to_ascii_lowercase().starts_with("agent:")).then_some(agent);
    SessionKey::parse(key, named, &known).ok()
}

/// An id for what has none of its own: the same one each time.
fn id_of(key: &SessionKey, there: &str) -> SessionId {
    let digest = Sha256::digest(format!("{}\n{there}", key.as_str()));
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    // RFC 9562 version 8: made of something else.
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    SessionId(id)
}
