//! `agents/<agent>/sessions/sessions.json` of 2026.2: a record by key.

use super::{LeftOut, Session};
use crate::{config::model::agents::Agents, protocol::Fields, sessions::SessionId, store::atomic};
use miniserde::json::Value;
use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::{Path, PathBuf},
};

/// What a state directory holds of sessions, or a running gateway tells of them.
#[derive(Default)]
pub struct Stored {
    /// Each, the one that changed last first, with its transcript if that is a file.
    pub sessions: Vec<(Session, PathBuf)>,
    pub left_out: Vec<LeftOut>,
    /// Notices for the operator.
    pub notices: Vec<String>,
}

/// Reads the sessions of the state directory `path`.
pub fn stored(path: &Path, agents: &Agents) -> Stored {
    let mut stored = Stored::default();
    let Ok(entries) = std::fs::read_dir(path.join("agents")) else { return stored };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for agent in names {
        let folder = path.join("agents").join(&agent).join("sessions");
        let database = path.join("agents").join(&agent).join("agent/openclaw-agent.sqlite");
        let file = folder.join("sessions.json");
        if database.exists() {
            stored.notices.push(format!(
                "the sessions of agent {agent} are in {}, which only OpenClaw reads; start it and ask it: barnacle import \
                 --from ws://127.0.0.1:18789 --token <its token>",
                database.display()
            ));
            continue;
        }
        match read(&file) {
            Ok(None) => {}
            Ok(Some(Value::Object(records))) => {
                let records =
                    records.iter().filter_map(|(key, record)| Some((key.as_str(), Fields::of(record)?)));
                stored.take(&agent, &folder, records.collect(), agents);
            }
            Ok(Some(_)) => stored.notices.push(format!("{} is no object of sessions", file.display())),
            Err(e) => stored
                .notices
                .push(format!("{} cannot be read, and its sessions stay out: {e}", file.display())),
        }
    }
    stored
}

fn read(file: &Path) -> io::Result<Option<Value>> {
    let bytes = match atomic::read(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let bad = || io::Error::other("it is not JSON: cut short, perhaps");
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    miniserde::json::from_str(&text).map(Some).map_err(|_| bad())
}

impl Stored {
    fn take(&mut self, agent: &str, folder: &Path, mut records: Vec<(&str, Fields<'_>)>, agents: &Agents) {
        // Of two that mean the same, the one that changed last is it; so that is the first to have its id.
        let updated = |record: &Fields<'_>| record.u64("updatedAt").unwrap_or_default();
        records.sort_by_key(|(key, record)| (std::cmp::Reverse(updated(record)), *key));
        let mut ids: HashSet<SessionId> = self.sessions.iter().map(|(session, _)| session.row.id).collect();
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for (key, record) in records {
            let left_out = |why: String| LeftOut { key: key.to_owned(), why };
            let found = Session::of(key, agent, agents, record, |id| ids.contains(id)).and_then(|session| {
                let other = keys.get(session.key.as_str());
                let path = transcript(folder, record).map_err(left_out)?;
                match other {
                    Some(other) => {
                        Err(left_out(format!("it is the same session as {other}, which is newer")))
                    }
                    None => Ok((session, path)),
                }
            });
            match found {
                Ok((session, path)) => {
                    ids.insert(session.row.id);
                    keys.insert(session.key.as_str().to_owned(), key.to_owned());
                    self.sessions.push((session, path));
                }
                Err(left_out) => self.left_out.push(left_out),
            }
        }
    }
}

/// The transcript that a record names; it has to be in the folder of its store.
fn transcript(folder: &Path, record: Fields<'_>) -> Result<PathBuf, String> {
    let id = record.text("sessionId");
    let name = match record.str("sessionFile").map(Path::new) {
        None => format!("{id}.jsonl"),
        Some(file) => {
            // Where the directory was moved or copied, its name is another than it was.
            let parents = file.parent().map_or(0, |parent| parent.components().count());
            let within = parents == 0 || file.parent().is_some_and(|parent| parent.ends_with("sessions"));
            let name = file.file_name().and_then(|name| name.to_str()).filter(|_| within);
            name.ok_or_else(|| format!("its transcript {} is not in {}", file.display(), folder.display()))?
                .into()
        }
    };
    if name.contains('/') || !name.ends_with(".jsonl") {
        return Err("its transcript has no name that is one".into());
    }
    let path = folder.join(name);
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() => Ok(path),
        Ok(_) => Err(format!("{} is no regular file", path.display())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(format!("{} is not there", path.display())),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}
