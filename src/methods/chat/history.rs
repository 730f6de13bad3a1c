//! `chat.history`, `chat.startup`, `chat.message.get`: transcripts, read a page at a time.

use super::message::{CHARS, message as shown};
use crate::{
    app::App,
    methods::{
        Answer, By, Call,
        sessions::{
            key,
            shapes::{self, FromTranscript},
        },
        shape::Object,
    },
    protocol::{ErrorShape, Json, Params},
    sessions::{Cursor, Page, Row, SessionId, SessionKey, Transcript, Wanted},
};
use std::{io, rc::Rc};

/// Messages of a page where the client says nothing, and the most that it gets.
const LIMIT: (u64, u64) = (200, 1000);
/// Bytes of a page's messages.
const BYTES: usize = 1 << 20;
/// What a client that comes back is sent at once; if there is more, it begins anew.
const CAUGHT_UP: Wanted = Wanted { offset: 0, limit: 200, bytes: 1 << 20 };

/// What is asked of a transcript.
enum Asked {
    /// A page.
    Page(Wanted),
    /// The page in whose middle the message with this id is.
    Around(String, Wanted),
    /// What was said after this entry.
    After(u64),
}

/// What a transcript holds of it.
enum Found {
    Page(Page<String>, Option<Cursor>),
    After(Vec<String>, Cursor),
    /// The client's place is no place in this conversation any more.
    Reset,
}

/// `chat.history`.
pub(super) async fn history(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let key = key(&call, &params, "sessionKey")?;
    let most = params.opt_u64("maxChars")?.unwrap_or(CHARS as u64).clamp(1, 500_000) as usize;
    let row = call.app.sessions.row(&key);
    let reset = || Ok(Object::new().put("kind", "reset").json().into());
    let asked = match asked(&params, row.as_ref())? {
        Some(asked) => asked,
        None => return reset(),
    };
    let offset = params.opt_u64("offset")?;
    let found = match &row {
        None => Found::Page(Page::default(), None),
        Some(row) => {
            let id = row.id;
            let read = move |transcript: Option<Transcript>| look(transcript, &id, &asked, most);
            call.app.sessions.read(&key, &id, read).await?
        }
    };
    match found {
        Found::Reset => reset(),
        Found::After(messages, cursor) => Ok(caught_up(&call.app, &call.by, &key, messages, cursor).into()),
        Found::Page(page, cursor) => {
            let object = Object::new()
                .put("sessionKey", params.str("sessionKey")?)
                .opt("sessionId", row.as_ref().map(|row| row.id.to_string()).as_ref());
            Ok(whole(&call.app, &call.by, &key, row.as_ref(), object, offset, page, cursor).into())
        }
    }
}

/// What is asked; `None` where the client's cursor is of another conversation.
fn asked(params: &Params<'_>, row: Option<&Row>) -> Result<Option<Asked>, ErrorShape> {
    if let Some(text) = params.opt_str("cursor")? {
        let cursor = Cursor::parse(text).filter(|cursor| row.is_some_and(|row| row.id == cursor.session));
        return Ok(cursor.map(|cursor| Asked::After(cursor.seq)));
    }
    let wanted = Wanted {
        offset: params.opt_u64("offset")?.unwrap_or_default(),
        limit: params.opt_u64("limit")?.unwrap_or(LIMIT.0).clamp(1, LIMIT.1) as usize,
        bytes: BYTES,
    };
    Ok(Some(match params.opt_str("messageId")? {
        Some(id) => Asked::Around(id.to_owned(), wanted),
        None => Asked::Page(wanted),
    }))
}

/// Reads what is asked; on a worker thread.
fn look(transcript: Option<Transcript>, id: &SessionId, asked: &Asked, most: usize) -> io::Result<Found> {
    let Some(transcript) = transcript else {
        return Ok(match asked {
            Asked::After(_) => Found::Reset,
            _ => Found::Page(Page::default(), None),
        });
    };
    let project = |entry: &crate::sessions::Entry<'_>| shown(entry, id, most);
    let cursor = Cursor { session: *id, seq: transcript.tail.place.seq };
    match asked {
        Asked::After(seq) => Ok(match transcript.after(*seq, CAUGHT_UP, project)? {
            Some(messages) => Found::After(messages, cursor),
            None => Found::Reset,
        }),
        Asked::Page(wanted) => {
            let page = transcript.page(*wanted, project)?;
            Ok(Found::Page(page, (wanted.offset == 0).then_some(cursor)))
        }
        Asked::Around(message, wanted) => {
            let place = transcript.find(message, |entry| entry.place.clone())?;
            let tail = &transcript.tail.place;
            let newer = place.filter(|p| p.since == tail.since).map_or(0, |place| tail.shown - place.shown);
            let offset = newer.saturating_sub(wanted.limit as u64 / 2);
            let page = transcript.page(Wanted { offset, ..*wanted }, project)?;
            Ok(Found::Page(page, (offset == 0).then_some(cursor)))
        }
    }
}

/// The answer that holds a page.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
fn whole(
    app: &Rc<App>,
    by: &By,
    key: &SessionKey,
    row: Option<&Row>,
    object: Object,
    offset: Option<u64>,
    page: Page<String>,
    cursor: Option<Cursor>,
) -> Json {
    let settings = app.settings();
    let has_more = page.next_offset < page.total;
    let messages: Vec<Json> = page.entries.into_iter().map(Json).collect();
    let pending = Object::new().put("items", &Vec::<Json>::new()).put("total", &0_u64).json();
    object
        .put("messages", &messages)
        .put("pendingInputs", &pending)
        .opt("deltaCursor", cursor.map(|cursor| cursor.text()).as_ref())
        .opt("offset", offset.as_ref())
        .opt("nextOffset", has_more.then_some(page.next_offset).as_ref())
        .put("hasMore", &has_more)
        .put("totalMessages", &page.total)
        .opt("inFlightRun", under_way(app, key).as_ref())
        .put("defaults", &shapes::defaults(&settings.config.agents))
        .put("sessionInfo", &shapes::row(app, Some(by), key, row, &FromTranscript::default()).json())
        .json()
}

/// The run of a session that is under way, and what its model has said so far.
fn under_way(app: &App, key: &SessionKey) -> Option<Json> {
    let run = app.runs.of(key).into_iter().next()?;
    let object = Object::new().put("runId", &run.id).put("text", &*run.said.borrow());
    Some(object.put("startedAt", &run.accepted_ms).json())
}

/// The answer to a client that comes back: events as it would have heard them.
fn caught_up(app: &Rc<App>, by: &By, key: &SessionKey, messages: Vec<String>, cursor: Cursor) -> Json {
    let events = messages.iter().map(|message| {
        let (id, seq) = place_of(message);
        shapes::said(app, key, message, &id, seq)
    });
    let events: Vec<Json> = events.collect();
    let row = app.sessions.row(key);
    Object::new()
        .put("kind", "delta")
        .put("messages", &events)
        .put("deltaCursor", &cursor.text())
        .put("sessionInfo", &shapes::row(app, Some(by), key, row.as_ref(), &FromTranscript::default()).json())
        .json()
}

/// Id and number of a message, out of what [`shown`] added to it.
fn place_of(message: &str) -> (String, u64) {
    use crate::protocol::json::members;
    let place = members(message).find(|(name, _)| *name == "__openclaw").map_or("{}", |(_, value)| value);
    let member = |wanted: &str| members(place).find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let id = member("id").and_then(|v| v.strip_prefix('"')?.strip_suffix('"')).unwrap_or_default();
    (id.to_owned(), member("seq").and_then(|v| v.parse().ok()).unwrap_or_default())
}

/// `chat.message.get`.
pub(super) async fn message(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let key = key(&call, &params, "sessionKey")?;
    let wanted = params.str("messageId")?.to_owned();
    let most = params.opt_u64("maxChars")?.unwrap_or(500_000).clamp(1, 2_000_000) as usize;
    let found = match call.app.sessions.row(&key) {
        None => None,
        Some(row) => {
            let id = row.id;
            let read = move |transcript: Option<Transcript>| match transcript {
                None => Ok(None),
                Some(transcript) => transcript.find(&wanted, |entry| shown(entry, &id, most)),
            };
            call.app.sessions.read(&key, &id, read).await?
        }
    };
    Ok(match found {
        Some(message) => Object::new().put("ok", &true).put("message", &Json(message)),
        None => Object::new().put("ok", &false).put("unavailableReason", "not_found"),
    }
    .json()
    .into())
}
