//! What a model is sent of a transcript.

use crate::{
    agents::{
        Run,
        conversation::{Said, messages, text_of},
    },
    app::App,
    protocol::json,
    sessions::{Entry, SessionId, SessionKey, Transcript},
};
use std::{io, ops::ControlFlow, rc::Rc};

/// Tokens of a model that does not say what it takes, and bytes of a token.
const WINDOW: u64 = 8192;
const BYTES: u64 = 3;

/// Bytes of a conversation that the model takes, beside its answer.
fn room(app: &App) -> usize {
    let settings = app.settings();
    let wanted = settings.config.agents.model.as_deref().unwrap_or_default();
    let (provider, model) = wanted.split_once('/').unwrap_or_default();
    let provider = settings.config.providers.iter().find(|known| known.id == provider);
    let window = provider.and_then(|known| known.models.iter().find(|known| known.id == model)?.window);
    let tokens = window.or(settings.config.agents.context_tokens).unwrap_or(WINDOW);
    // A quarter is the answer's.
    usize::try_from((tokens - tokens / 4).saturating_mul(BYTES)).unwrap_or(usize::MAX).min(8 << 20)
}

/// What the model is sent.
pub(super) async fn prompt(
    app: &Rc<App>,
    key: &SessionKey,
    session: &SessionId,
    run: &Run,
) -> Result<String, String> {
    let waiting: Vec<String> =
        app.runs.of(key).iter().map(|other| other.id.clone()).filter(|id| *id != run.id).collect();
    let (room, id) = (room(app), run.id.clone());
    let read = move |transcript: Option<Transcript>| {
        let Some(transcript) = transcript else { return Ok(String::from("[]")) };
        Ok(messages("", &recent(&transcript, room)?, &id, &waiting))
    };
    app.sessions.read(key, session, read).await.map_err(|e| e.message().to_owned())
}

/// The messages since the last reset or compaction, as many as there is room for.
fn recent(transcript: &Transcript, room: usize) -> io::Result<Vec<Said>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut first_kept: Option<String> = None;
    transcript.entries(transcript.last(), |entry| {
        let flow = match entry.kind {
            "reset" => return ControlFlow::Break(()),
            "compaction" if first_kept.is_none() => {
                let text =
                    entry.member("firstKeptEntryId").and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
                first_kept = text.map(str::to_owned);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        };
        if let Some(said) = said(entry) {
            bytes += said.text.len();
            if bytes > room && !all.is_empty() {
                return ControlFlow::Break(());
            }
            all.push(said);
        }
        if first_kept.as_deref() == Some(entry.id) { ControlFlow::Break(()) } else { flow }
    })?;
    all.reverse();
    Ok(all)
}

/// The message of an entry.
fn said(entry: &Entry<'_>) -> Option<Said> {
    let message = entry.message?;
    let member =
        |wanted: &str| json::members(message).find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let text = |value: &str| Some(json::unescape(value.strip_prefix('"')?.strip_suffix('"')?).into_owned());
    Some(Said {
        role: text(member("role")?)?,
        text: text_of(member("content")?),
        run: entry.member("runId").and_then(text),
        stop: member("stopReason").and_then(text),
    })
}
