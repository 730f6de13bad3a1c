//! The sessions of a running gateway: `sessions.list` and `chat.history`, a page at a time.

use super::{Session, Stored};
use crate::{
    config::model::agents::Agents,
    protocol::{Fields, json, raw_member},
    sessions::{NewEntry, SessionId, incoming::Draft},
};
use miniserde::json::Value;
use std::{
    collections::HashSet,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Sessions and messages that are asked for at once.
pub const PAGE: u64 = 200;

/// Reads a page of `sessions.list` into `told`; where the next one begins.
pub fn page(answer: &str, agents: &Agents, told: &mut Stored) -> Option<u64> {
    let value: Value = miniserde::json::from_str(answer).unwrap_or_default();
    let list = Fields::of(&value)?;
    let ids: HashSet<SessionId> = told.sessions.iter().map(|(session, _)| session.row.id).collect();
    for record in list.objects("sessions") {
        let agent = record.str("agentId").unwrap_or(&agents.default);
        match Session::of(record.text("key"), agent, agents, record, |id| ids.contains(id)) {
            Ok(session) => told.sessions.push((session, PathBuf::new())),
            // Nothing was ever said in it.
            Err(_) if record.str("sessionId").is_none() => {}
            Err(refused) => told.left_out.push(refused),
        }
    }
    list.u64("nextOffset").filter(|_| list.is("hasMore"))
}

/// Messages of a history as they come: the newest page first, and within a page in order. They are kept in a file without a
/// name, as there may be more of them than fit in memory.
pub struct Pages {
    file: File,
    end: u64,
    /// Where each message is.
    pages: Vec<Vec<(u64, usize)>>,
}

impl Pages {
    /// Begins; the file is made in `folder`.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        crate::store::atomic::make_directory(folder)?;
        let path = folder.join(format!("incoming-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self { file, end: 0, pages: Vec::new() })
    }

    /// Takes an answer of `chat.history`; where the next, older page begins.
    ///
    /// # Errors
    /// The system's.
    pub fn take(&mut self, answer: &str) -> io::Result<Option<u64>> {
        let mut page = Vec::new();
        for message in json::items(raw_member(answer, "messages").unwrap_or("[]")) {
            self.file.write_all_at(message.as_bytes(), self.end)?;
            page.push((self.end, message.len()));
            self.end += message.len() as u64;
        }
        let is_empty = page.is_empty();
        self.pages.push(page);
        let number = |name| raw_member(answer, name).and_then(|value| value.parse().ok());
        Ok(number("nextOffset").filter(|_| !is_empty && raw_member(answer, "hasMore") == Some("true")))
    }

    /// Writes them to `draft`, the oldest first; how many.
    ///
    /// # Errors
    /// The system's.
    pub fn copy(&self, draft: &mut Draft) -> io::Result<u64> {
        let mut count = 0;
        for (at, length) in self.pages.iter().rev().flatten() {
            let mut bytes = vec![0; *length];
            self.file.read_exact_at(&mut bytes, *at)?;
            let Ok(message) = std::str::from_utf8(&bytes) else { continue };
            if let Some(entry) = entry(message) {
                draft.append(&entry)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// The entry for a message as `chat.history` tells it: without what it says of its place there.
fn entry(message: &str) -> Option<NewEntry> {
    let mut members = Vec::new();
    let (mut id, mut at, mut role) = (String::new(), 0, "");
    for (name, value) in json::members(message) {
        match name {
            "__openclaw" => {
                let there = json::members(value).find(|(name, _)| *name == "id").map(|(_, value)| value);
                id = there.unwrap_or_default().trim_matches('"').to_owned();
                continue;
            }
            "role" => role = value.trim_matches('"'),
            "timestamp" => at = value.parse().unwrap_or_default(),
            _ => {}
        }
        members.push(format!("\"{name}\":{value}"));
    }
    // What the system says of itself there is no message of the conversation.
    let is_said = matches!(role, "user" | "assistant" | "toolResult" | "tool");
    is_said.then(|| NewEntry::imported(at, &format!("{{{}}}", members.join(",")), &id))
}
