//! `sessions.reset`, `sessions.delete`, `sessions.compact`: what ends a conversation, or a part of it.

use super::{patch::is_kept, shapes};
use crate::{
    app::App,
    clock::wall_ms,
    hub::Audience,
    methods::{
        Answer, Call, Reply,
        chat::{run, send::stop_all},
        shape::Object,
    },
    protocol::{ErrorShape, Event},
    sessions::{NewEntry, Row, SessionKey, Transcript, Wanted},
};
use std::rc::Rc;

/// Most entries that `sessions.compact` keeps.
const KEPT: u64 = 100_000;

/// `sessions.reset`: the same session, with nothing said in it yet.
pub(super) async fn reset(call: Call) -> Answer {
    let params = call.params()?;
    let key = super::key(&call, &params, "key")?;
    let reason = match params.opt_str("reason")? {
        None | Some("reset") => "reset",
        Some("new") => "new",
        Some(_) => return Err(params.invalid("reason", "\"new\" or \"reset\"").into()),
    };
    let now = wall_ms();
    stop_all(&call.app, &key).await;
    let changed = call.app.sessions.change(|draft| {
        let there = draft.get(&key);
        super::is_expected(&params, &key, there.as_ref().map(|row| row.id), "reset")?;
        let mut row = match there {
            Some(row) => {
                draft.append(&key, row.id, vec![NewEntry::reset(now)]);
                row
            }
            None => {
                super::may_begin(&call.app, &key)?;
                Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?
            }
        };
        (row.times.started, row.times.updated) = (now, now);
        draft.put(&key, row.clone());
        Ok(row)
    });
    let (row, _) = changed.await?;
    let payload = Object::new()
        .put("ok", &true)
        .put("key", key.wire())
        .put("entry", &shapes::entry(&row))
        .opt("resolved", shapes::resolved(&call.app, &key, &row).as_ref())
        .json();
    Ok(Reply::then(payload, move |app| super::publish_changed(app, &key, reason)))
}

/// `sessions.delete`: the transcript goes too, unless `deleteTranscript` is false. No copy is kept.
pub(super) async fn delete(call: Call) -> Answer {
    let params = call.params()?;
    let key = super::key(&call, &params, "key")?;
    if is_kept(&call, &key) {
        return Err(ErrorShape::invalid(format!("Cannot delete the main session ({}).", key.wire())));
    }
    let transcript = params.opt_bool("deleteTranscript")?.unwrap_or(true);
    let only_archived = params.opt_bool("archivedOnly")?.unwrap_or(false);
    let updated = params.opt_u64("expectedSessionUpdatedAt")?;
    let there = call.app.sessions.row(&key);
    if there.is_some() {
        super::is_expected(&params, &key, there.map(|row| row.id), "deletion")?;
    }
    stop_all(&call.app, &key).await;
    let changed = call.app.sessions.change(|draft| {
        let Some(row) = draft.get(&key) else { return Ok(None) };
        super::is_expected(&params, &key, Some(row.id), "deletion")?;
        if updated.is_some_and(|expected| expected != row.times.updated) {
            return Err(ErrorShape::invalid(format!(
                "Session {} changed before deletion. Retry.",
                key.wire()
            )));
        }
        if only_archived && row.get("archivedAt").is_none() {
            return Err(ErrorShape::invalid(format!("Session {} is not archived.", key.wire())));
        }
        draft.remove(&key, row.id, transcript);
        Ok(Some(row.id.to_string()))
    });
    let (deleted, _) = changed.await?;
    let payload = Object::new()
        .put("ok", &true)
        .put("key", key.wire())
        .put("deleted", &deleted.is_some())
        .put("archived", &Vec::<String>::new())
        .json();
    Ok(Reply::then(payload, move |app| {
        if let Some(id) = deleted {
            publish_deleted(app, &key, &id);
        }
    }))
}

fn publish_deleted(app: &App, key: &SessionKey, id: &str) {
    let audience = super::all_sessions();
    let event = shapes::deleted(key, id);
    app.hub.events.publish(Event::SessionsChanged, Audience::Subscribers(&audience), &event);
}

/// Removes a session that has no run, with its transcript, and tells of it.
pub(crate) async fn forget(app: &Rc<App>, key: &SessionKey) -> Result<(), ErrorShape> {
    let changed = app.sessions.change(|draft| {
        let Some(row) = draft.get(key) else { return Ok(None) };
        draft.remove(key, row.id, true);
        Ok(Some(row.id.to_string()))
    });
    if let (Some(id), _) = changed.await? {
        publish_deleted(app, key, &id);
    }
    Ok(())
}

/// `sessions.compact` without `maxLines`: what is older is summed up.
async fn sum_up(app: &Rc<App>, key: SessionKey) -> Answer {
    let object = Object::new().put("ok", &true).put("key", key.wire());
    let done = match run::compact::now(app, &key, None).await {
        Ok(done) => done,
        Err(why) => return Ok(object.put("compacted", &false).put("reason", &why).json().into()),
    };
    let result = Object::new()
        .put("summary", &done.summary)
        .put("firstKeptEntryId", &done.first_kept)
        .put("tokensBefore", &done.before)
        .put("tokensAfter", &done.after);
    let payload = object.put("compacted", &true).put("result", &result.json()).json();
    Ok(Reply::then(payload, move |app| super::publish_changed(app, &key, "compact")))
}

/// `sessions.compact`: what is older than the last `maxLines` entries is told to no model any more. It stays in the
/// transcript.
pub(super) async fn compact(call: Call) -> Answer {
    call.app.sessions.ready().await?;
    let params = call.params()?;
    let key = super::key(&call, &params, "key")?;
    let Some(kept) = params.opt_u64("maxLines")? else {
        return sum_up(&call.app, key).await;
    };
    let kept = kept.clamp(1, KEPT);
    if !call.app.runs.of(&key).is_empty() {
        return Err(ErrorShape::invalid(format!(
            "Session {} has an active run; retry after it finishes.",
            key.wire()
        )));
    }
    let answer =
        |compacted: bool| Object::new().put("ok", &true).put("key", key.wire()).put("compacted", &compacted);
    let Some(row) = call.app.sessions.row(&key) else {
        return Ok(answer(false).put("reason", "no transcript").json().into());
    };
    let read = move |transcript: Option<Transcript>| {
        let Some(transcript) = transcript else { return Ok(None) };
        let total = transcript.tail.place.shown;
        let wanted = Wanted { offset: kept.saturating_sub(1), limit: 1, bytes: 1 };
        let first = transcript.page(wanted, |entry| entry.id.to_owned())?.entries.pop();
        // A token is some three and a half bytes.
        Ok(first.filter(|id| total > kept && !id.is_empty()).map(|id| (id, transcript.tail.bytes() * 2 / 7)))
    };
    let Some((first, tokens)) = call.app.sessions.read(&key, &row.id, read).await? else {
        return Ok(answer(false).put("reason", "there is no more than that").json().into());
    };
    let now = wall_ms();
    let changed = call.app.sessions.change(|draft| {
        let mut now_there = draft.get(&key).filter(|there| there.id == row.id).ok_or_else(|| {
            ErrorShape::invalid(format!("Session {} changed before compaction. Retry.", key.wire()))
        })?;
        draft.append(&key, row.id, vec![NewEntry::compaction(now, &first, tokens)]);
        now_there.times.updated = now;
        draft.touch(&key, now_there);
        Ok(())
    });
    changed.await?;
    let payload = answer(true).put("kept", &kept).json();
    let key = key.clone();
    Ok(Reply::then(payload, move |app| super::publish_changed(app, &key, "compact")))
}
