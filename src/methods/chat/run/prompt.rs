//! What a model is sent of a transcript, and what stands before it.

use super::{Going, steer::TOOK_IN};
use crate::{
    agents::{
        conversation::{self, Line, Said, Turn, calls_of, fit, text_of},
        model::Offer,
        workspace,
    },
    app::App,
    clock::{timestamp, wall_ms},
    protocol::json,
    reactor::on_worker,
    sessions::{Entry, SessionKey, Transcript},
};
use std::{io, ops::ControlFlow, rc::Rc};

/// Bytes of a token, and the most that is sent.
pub(super) const BYTES: u64 = 3;
pub(super) const MOST: usize = 8 << 20;
/// Entries that are looked through for the message that a run began with.
const FAR: usize = 2000;

/// What limits the size of a conversation.
pub(super) struct Room<'a> {
    /// Tokens that the model takes.
    pub(super) window: u64,
    pub(super) system: &'a str,
    pub(super) offers: &'a [Offer<'a>],
    /// Times that it was too large.
    pub(super) smaller: u32,
}

impl Room<'_> {
    /// Bytes for the conversation.
    fn bytes(&self) -> usize {
        let tokens = self.window;
        // A quarter is the answer's.
        let all = usize::try_from((tokens - tokens / 4).saturating_mul(BYTES)).unwrap_or(MOST).min(MOST);
        let offers: usize =
            self.offers.iter().map(|offer| offer.description.len() + offer.parameters.len() + 60).sum();
        (all >> self.smaller).saturating_sub(self.system.len() + offers).max(1000)
    }
}

/// The standing instructions of the session's agent.
pub(super) async fn system(app: &Rc<App>, key: &SessionKey) -> String {
    let settings = app.settings();
    let (agents, paths, id) = (&settings.config.agents, &settings.paths, key.agent().to_owned());
    let workspace = match agents.workspace_of(&id) {
        Some(path) => paths.expand(&path),
        None if agents.ids.len() > 1 && id != "main" => paths.state_dir.join(format!("workspace-{id}")),
        None => paths.state_dir.join("workspace"),
    };
    let mut today = timestamp(wall_ms());
    today.truncate("2026-11-30".len());
    on_worker(move || workspace::instructions(&id, &workspace, &today)).await
}

/// What the model is sent of the conversation: the summary of what is before, and the turns.
pub(super) async fn turns(going: &Going<'_>, room: &Room<'_>) -> Result<(Option<String>, Vec<Turn>), String> {
    let waiting: Vec<String> = going.app.runs.of(going.key).iter().map(|other| other.id.clone()).collect();
    let (room, is_smaller, id) = (room.bytes(), room.smaller > 0, going.run.id.clone());
    let waiting: Vec<String> = waiting.into_iter().filter(|other| *other != id).collect();
    let read = read(going, move |transcript| {
        let Recent { lines, summary, room, is_crowded } = recent(transcript, room, &id)?;
        Ok((is_crowded, summary, fit(conversation::turns(&lines, &id, &waiting), room)))
    });
    let (is_crowded, summary, turns) = read.await?.unwrap_or_default();
    if is_crowded || is_smaller {
        going.run.crowded.set(true);
    }
    Ok((summary, turns))
}

/// The calls of a run that have no result.
pub(super) async fn unanswered(going: &Going<'_>) -> Result<Vec<conversation::Call>, String> {
    let id = going.run.id.clone();
    let read = read(going, move |transcript| {
        Ok(conversation::unanswered(&recent(transcript, MOST, &id)?.lines, &id))
    });
    read.await.map(Option::unwrap_or_default)
}

async fn read<T: Send + 'static>(
    going: &Going<'_>,
    read: impl FnOnce(&Transcript) -> io::Result<T> + Send + 'static,
) -> Result<Option<T>, String> {
    let read = move |transcript: Option<Transcript>| transcript.as_ref().map(read).transpose();
    going.app.sessions.read(going.key, &going.session, read).await.map_err(|e| e.message().to_owned())
}

/// What is recent of a conversation.
struct Recent {
    lines: Vec<Line>,
    /// The summary of what is before.
    summary: Option<String>,
    /// Bytes that are left for the lines.
    room: usize,
    /// Whether they take much of it, or all.
    is_crowded: bool,
}

/// The lines since the last reset or compaction, as many as there is room for, and in any case the message that run `id`
/// began with; where that goes on with another one's exchange, what it brings, the calls, and the message of that one.
fn recent(transcript: &Transcript, mut room: usize, id: &str) -> io::Result<Recent> {
    let (mut summary, mut is_crowded): (Option<String>, bool) = (None, false);
    let (mut all, mut bytes, mut far) = (Vec::new(), 0, 0);
    let (mut first_kept, mut begun): (Option<String>, bool) = (None, false);
    let (mut id, mut brought): (Option<String>, Vec<String>) = (Some(id.to_owned()), Vec::new());
    transcript.entries(transcript.last(), |entry| {
        match entry.kind {
            "reset" => return ControlFlow::Break(()),
            "compaction" if first_kept.is_none() => {
                let text = |name| Some(json::text(entry.member(name)?)?.into_owned());
                first_kept = text("firstKeptEntryId");
                summary = text("summary");
                room = room.saturating_sub(summary.as_ref().map_or(0, String::len)).max(room / 2);
            }
            _ => {}
        }
        if let Some((line, size)) = line(entry) {
            let is_own = line.run == id;
            let begins = match &line.said {
                Said::User(_) if is_own => {
                    begun = brought.is_empty();
                    true
                }
                Said::Brought(call, _) if is_own => {
                    brought.push(call.clone());
                    begun = false;
                    true
                }
                _ if brought.iter().any(|call| line.calls(call)) => {
                    id.clone_from(&line.run);
                    brought.clear();
                    true
                }
                _ => false,
            };
            let fits = bytes + size <= room || all.is_empty();
            if fits || begins {
                bytes += size;
                all.push(line);
            }
            is_crowded |= !fits || bytes > room / 4 * 3;
            far += 1;
            if (!fits && begun) || far == FAR {
                return ControlFlow::Break(());
            }
        }
        if first_kept.as_deref() == Some(entry.id) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    all.reverse();
    Ok(Recent { lines: all, summary, room, is_crowded })
}

/// What of an entry concerns a model, and its size in bytes.
pub(super) fn line(entry: &Entry<'_>) -> Option<(Line, usize)> {
    let text = |value: &str| Some(json::text(value)?.into_owned());
    let run = entry.member("runId").and_then(text);
    if entry.kind == "custom" {
        (entry.member("customType").and_then(text)? == TOOK_IN).then_some(())?;
        let other = text(json::member(entry.member("data")?, "run")?)?;
        return Some((Line { said: Said::TookIn(other), run, failed: false }, 0));
    }
    let message = entry.message.filter(|_| !entry.is_command())?;
    let member = |name| json::member(message, name);
    let content = member("content")?;
    let said = match &*json::text(member("role")?)? {
        "user" => Said::User(text_of(content)),
        "assistant" => Said::Assistant(text_of(content), calls_of(content)),
        "toolResult" => {
            let id = text(member("toolCallId")?)?;
            // What a client sends has a key, and what a tool of the gateway's gave has none.
            match entry.member("idempotencyKey") {
                Some(_) => Said::Brought(id, text_of(content)),
                None => Said::Tool(id, text_of(content), member("isError") == Some("true")),
            }
        }
        _ => return None,
    };
    let failed = member("stopReason") == Some("\"error\"");
    Some((Line { said, run, failed }, content.len()))
}
