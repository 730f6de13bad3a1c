//! Having a conversation summed up: by its model where it can, without one where it cannot.
//!
//! What is summed up stays in the transcript; models are sent the summary in its place. A session that has grown is summed up
//! after an answer, while nobody waits, and what comes meanwhile ends it. Each question to the model has its own deadline, and
//! a conversation is never asked about twice for the same length: where there is no summary, an outline stands in.

use super::{
    prompt::{BYTES, MOST, line},
    step,
};
use crate::{
    agents::{
        budget,
        compaction::{INSTRUCTIONS, Part, cut, outline, pieces, reduces, request},
        conversation::Turn,
        model::{Choice, Cure, Endpoint, ModelError, Prompt},
    },
    app::App,
    clock::wall_ms,
    methods::{sessions::publish_changed, usage},
    protocol::{ErrorShape, json},
    reactor::Timer,
    sessions::{NewEntry, SessionId, SessionKey, Transcript},
};
use smol::future;
use std::{fmt, io, ops::ControlFlow, rc::Rc, time::Duration};

/// Times that a piece is made smaller for a model that takes less than it says.
const SMALLER: u32 = 3;
/// The longest text that says why there is no summary, characters.
const WHY: usize = 200;

/// What was summed up.
pub(in crate::methods) struct Done {
    /// Tokens of the conversation before and after, about.
    pub(in crate::methods) before: u64,
    pub(in crate::methods) after: u64,
    /// The entry from which on everything is kept.
    pub(in crate::methods) first_kept: String,
    pub(in crate::methods) summary: String,
    /// Why an outline stands in for a summary.
    why: Option<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Summed up: about {} tokens are {} now.", self.before, self.after)?;
        match &self.why {
            Some(why) => write!(
                f,
                " The model gave no summary ({why}), so an outline of your messages stands in for it."
            ),
            None => Ok(()),
        }
    }
}

/// What of a conversation there is.
struct Grown {
    parts: Vec<Part>,
    /// The summary of what was before.
    before: Option<String>,
}

/// Sums a session up that has grown, unless a message comes first.
pub(super) async fn later(app: &Rc<App>, key: &SessionKey) {
    if !app.settings().config.agents.compaction.enabled {
        return;
    }
    let begun = async {
        app.runs.begun(key).await;
        Err("a message came".to_owned())
    };
    match future::or(begun, now(app, key, None)).await {
        Ok(done) => {
            log::info!("{}: {done}", key.wire());
            publish_changed(app, key, "compact");
        }
        Err(why) => log::debug!("{}: not summed up: {why}", key.wire()),
    }
}

/// Sums a session up, with attention to what the caller says.
///
/// # Errors
/// In words, why that changes nothing.
pub(in crate::methods) async fn now(
    app: &Rc<App>,
    key: &SessionKey,
    attention: Option<String>,
) -> Result<Done, String> {
    let row = app.sessions.row(key).ok_or("nothing was said yet")?;
    if !app.runs.of(key).is_empty() {
        return Err(format!("session {} is being answered; try again once it is", key.wire()));
    }
    usage::count_past(app).await;
    let used = app.runs.spending.used(key.agent(), wall_ms());
    if let Some(why) = budget::refusal(app.settings().own.budget(), key.agent(), used) {
        return Err(why);
    }
    let endpoint = step::endpoint(app, key);
    let window = match &endpoint {
        Ok(endpoint) => app.runs.windows.of(endpoint).await,
        Err(_) => u64::MAX,
    };
    let compaction = app.settings().config.agents.compaction.clone();
    let keep = compaction.keep.min(window / 4).saturating_mul(BYTES);
    let grown =
        app.sessions.read(key, &row.id, |transcript| transcript.as_ref().map(grown).transpose()).await;
    let Grown { parts, before } = grown.map_err(words)?.ok_or("nothing was said yet")?;
    let bytes: usize = parts.iter().map(|part| part.bytes).sum();
    let at =
        cut(&parts, usize::try_from(keep).unwrap_or(usize::MAX)).ok_or("there is nothing to sum up yet")?;
    let (older, kept) = parts.split_at(at);
    let older_bytes: usize = older.iter().map(|part| part.bytes).sum();
    let summed = match endpoint {
        Err(why) => Err(why),
        Ok(endpoint) => {
            let _turn = app.runs.turn(app.settings().config.agents.runs_at_once()).await;
            let (before, attention) = (before.as_deref(), attention.as_deref());
            let summing = Summing {
                app,
                key,
                endpoint: &endpoint,
                window,
                before,
                attention,
                deadline: compaction.deadline,
            };
            summing.sum_up(older).await.and_then(|summary| {
                match reduces(&summary, older_bytes + before.map_or(0, str::len)) {
                    true => Ok(summary),
                    false => Err("its summary is longer than what it was asked about".to_owned()),
                }
            })
        }
    };
    let (summary, why) = match summed {
        Ok(summary) => (summary, None),
        Err(why) => (outline(before.as_deref(), older), Some(why.chars().take(WHY).collect::<String>())),
    };
    let tokens = |bytes: usize| bytes as u64 / BYTES;
    let done = Done {
        before: tokens(bytes + before.as_ref().map_or(0, String::len)),
        after: tokens(bytes - older_bytes + summary.len()),
        first_kept: kept.first().map(|part| part.id.clone()).unwrap_or_default(),
        summary,
        why,
    };
    write(app, key, &row.id, row.times.started, &done).await?;
    Ok(done)
}

/// Writes the summary down, unless the conversation began anew meanwhile.
async fn write(
    app: &Rc<App>,
    key: &SessionKey,
    id: &SessionId,
    started: u64,
    done: &Done,
) -> Result<(), String> {
    let now = wall_ms();
    let changed = app.sessions.change(|draft| {
        let there = draft.get(key).filter(|there| there.id == *id && there.times.started == started);
        let mut row = there.ok_or_else(|| {
            ErrorShape::invalid(format!("session {} changed meanwhile; try again", key.wire()))
        })?;
        let entry = NewEntry::compaction(now, &done.first_kept, done.before);
        draft.append(key, row.id, vec![entry.summed_up(&done.summary, done.why.as_deref())]);
        row.times.updated = now;
        draft.touch(key, row);
        Ok(())
    });
    changed.await.map(|_| ()).map_err(words)
}

fn words(error: ErrorShape) -> String {
    error.message().to_owned()
}

/// The conversation since the last reset or summary, and that summary.
fn grown(transcript: &Transcript) -> io::Result<Grown> {
    let mut grown = Grown { parts: Vec::new(), before: None };
    let (mut first_kept, mut bytes): (Option<String>, usize) = (None, 0);
    let text = |value: &str| json::text(value).map(|text| text.into_owned());
    transcript.entries(transcript.last(), |entry| {
        match entry.kind {
            "reset" => return ControlFlow::Break(()),
            "compaction" if first_kept.is_none() => {
                first_kept = entry.member("firstKeptEntryId").and_then(text);
                grown.before = entry.member("summary").and_then(text);
            }
            _ => {}
        }
        if let Some((line, size)) = line(entry) {
            bytes += size;
            grown.parts.push(Part { id: entry.id.to_owned(), line, bytes: size });
        }
        match first_kept.as_deref() == Some(entry.id) || bytes > MOST {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    grown.parts.reverse();
    Ok(grown)
}

/// A model that is asked for a summary.
struct Summing<'a> {
    app: &'a App,
    key: &'a SessionKey,
    endpoint: &'a Endpoint,
    /// Tokens that it takes.
    window: u64,
    /// The summary of what was before.
    before: Option<&'a str>,
    /// What must not be left out.
    attention: Option<&'a str>,
    /// Time for each question.
    deadline: Duration,
}

impl Summing<'_> {
    /// Has `older` summed up, in smaller pieces where the model takes less than it says.
    async fn sum_up(&self, older: &[Part]) -> Result<String, String> {
        // A quarter of the window is the answer's, and a half what is summed up.
        let most = usize::try_from(self.window.saturating_mul(BYTES) / 2).unwrap_or(MOST).min(MOST);
        for smaller in 0..=SMALLER {
            match self.in_pieces(&pieces(older, most >> smaller)).await {
                Err(error) if error.cure() == Cure::Less && smaller < SMALLER => {}
                Err(error) => return Err(error.to_string()),
                Ok(Some(summary)) => return Ok(summary),
                Ok(None) => return Err(format!("it took longer than {} s", self.deadline.as_secs())),
            }
        }
        Err("it takes less than it says".into())
    }

    /// The summary of all pieces; `None` where a question was not answered in time.
    async fn in_pieces(&self, pieces: &[String]) -> Result<Option<String>, ModelError> {
        let mut summary = self.before.map(str::to_owned);
        for piece in pieces {
            let turns = [Turn::User(request(summary.as_deref(), piece, self.attention))];
            let prompt = Prompt { system: INSTRUCTIONS, turns: &turns, tools: &[], choice: &Choice::Free };
            let asked = async { self.endpoint.ask(&prompt, |_| {}).await.map(Some) };
            let late = async {
                Timer::after(self.deadline).await;
                Ok(None)
            };
            let Some(reply) = future::or(asked, late).await? else { return Ok(None) };
            let tokens = reply.usage.input + reply.usage.output;
            self.app.runs.spending.add(self.key.agent(), tokens, wall_ms());
            summary = Some(reply.text.trim().to_owned());
        }
        Ok(summary)
    }
}
