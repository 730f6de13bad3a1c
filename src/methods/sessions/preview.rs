//! `sessions.preview`: the last of what was said in sessions.

use super::shapes::{FromTranscript, shortened, text_of};
use crate::{
    app::App,
    clock::wall_ms,
    methods::{Answer, Call, shape::Object},
    protocol::{ErrorShape, Json},
    sessions::{Row, SessionKey, Transcript, Wanted},
};
use std::{io, ops::ControlFlow, rc::Rc};

/// Sessions of one request.
const KEYS: usize = 64;
/// Entries that are looked through for the first message.
const FIRST: u64 = 16;
/// Characters of a title and of a last message.
const TITLE: usize = 60;
const LAST: usize = 240;
/// Entries that are looked through for the last message.
const LOOKED_THROUGH: usize = 32;

/// `sessions.preview`.
pub(super) async fn preview(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let keys = params.strs("keys")?;
    if keys.is_empty() || keys.len() > KEYS {
        return Err(params.invalid("keys", &format!("an array of 1 to {KEYS} strings")).into());
    }
    let limit = params.opt_u64("limit")?.unwrap_or(12).clamp(1, 50) as usize;
    let most = params.opt_u64("maxChars")?.unwrap_or(LAST as u64).clamp(20, 2000) as usize;
    let settings = call.app.settings();
    let mut previews = Vec::with_capacity(keys.len());
    for text in keys {
        let key = SessionKey::parse(text, None, &settings.config.agents);
        let key = key.map_err(|e| ErrorShape::invalid(e.to_string()))?;
        let (status, items) = match call.app.sessions.row(&key) {
            None => ("missing", Vec::new()),
            Some(row) => {
                let read = move |transcript: Option<Transcript>| items(transcript, limit, most);
                match call.app.sessions.read(&key, &row.id, read).await {
                    Ok(items) if items.is_empty() => ("empty", items),
                    Ok(items) => ("ok", items),
                    Err(_) => ("error", Vec::new()),
                }
            }
        };
        previews.push(Object::new().put("key", text).put("status", status).put("items", &items).json());
    }
    Ok(Object::new().put("ts", &wall_ms()).put("previews", &previews).json().into())
}

fn items(transcript: Option<Transcript>, limit: usize, most: usize) -> io::Result<Vec<Json>> {
    let Some(transcript) = transcript else { return Ok(Vec::new()) };
    let wanted = Wanted { offset: 0, limit, bytes: 1 << 20 };
    let page = transcript.page(wanted, |entry| match text_of(entry) {
        Some((role, text)) => Object::new().put("role", &role).put("text", &shortened(&text, most)).json().0,
        None => String::new(),
    })?;
    Ok(page.entries.into_iter().filter(|json| !json.is_empty()).map(Json).collect())
}

/// The title of a session and the last message in it, as far as they are wanted.
pub(super) async fn texts(
    app: &Rc<App>,
    key: &SessionKey,
    row: &Row,
    title: bool,
    last: bool,
) -> FromTranscript {
    let named = row.text("label").or_else(|| row.text("displayName"));
    let derive = title && named.is_none();
    if !derive && !last {
        return FromTranscript { title: named.filter(|_| title), last: None };
    }
    let read = move |transcript: Option<Transcript>| {
        let Some(transcript) = transcript else { return Ok(FromTranscript::default()) };
        let last = if last { last_said(&transcript)? } else { None };
        Ok(FromTranscript { title: if derive { first_said(&transcript)? } else { None }, last })
    };
    let found = app.sessions.read(key, &row.id, read).await.unwrap_or_default();
    FromTranscript { title: found.title.or(named).filter(|_| title), ..found }
}

/// The last message that has a text.
fn last_said(transcript: &Transcript) -> io::Result<Option<String>> {
    let (mut found, mut left) = (None, LOOKED_THROUGH);
    transcript.entries(transcript.last(), |entry| {
        found = text_of(entry).map(|(_, text)| shortened(&text, LAST)).filter(|text| !text.is_empty());
        left -= 1;
        if found.is_some() || left == 0 || entry.kind == "reset" {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// The first message of a person since the last reset.
fn first_said(transcript: &Transcript) -> io::Result<Option<String>> {
    let total = transcript.tail.place.shown;
    let wanted = Wanted { offset: total.saturating_sub(FIRST), limit: FIRST as usize, bytes: 64 << 10 };
    let page = transcript.page(wanted, |entry| match text_of(entry) {
        Some((role, text)) if role == "user" && !entry.is_command() => shortened(&text, TITLE),
        _ => String::new(),
    })?;
    Ok(page.entries.into_iter().find(|text| !text.is_empty()))
}
