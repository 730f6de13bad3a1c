//! `sessions.patch`: fields of a session, each by the scope of its row.

use super::shapes;
use crate::{
    agents::selection::{CHOSEN, whole_name},
    clock::wall_ms,
    methods::{Answer, Call, Reply, chat::send::stop_all, shape::Object},
    protocol::{ErrorShape, Json, Params},
    sessions::{Row, SessionKey, rows::fields::settable},
};
use nanoserde::SerJson;

/// Parameters that say which session is meant, and what it must be.
const WHICH: [&str; 8] = [
    "key",
    "agentId",
    "expectedSessionId",
    "expectedLifecycleRevision",
    "expectedMarkedUnreadAt",
    "expectedPermissionMode",
    "expectedToolOverrides",
    "ttlMinutes",
];
/// Fields of OpenClaw that say how runs are to be, which no run of this version heeds. Clearing them changes nothing.
const NOT_HERE: [&str; 21] = [
    "contextWindow",
    "thinkingLevel",
    "fastMode",
    "toolOverrides",
    "verboseLevel",
    "traceLevel",
    "reasoningLevel",
    "responseUsage",
    "elevatedLevel",
    "execHost",
    "execSecurity",
    "execAsk",
    "execNode",
    "permissionMode",
    "completionOwnerSessionKey",
    "inheritedToolPolicyVersion",
    "inheritedToolAllow",
    "inheritedToolDeny",
    "sendPolicy",
    "groupActivation",
    "visibility",
];

/// What a request changes.
#[derive(Default)]
struct Wanted<'a> {
    /// Fields, and their values as JSON; `None` clears.
    fields: Vec<(&'static str, Option<&'a str>)>,
    archived: Option<bool>,
    pinned: Option<bool>,
    unread: Option<bool>,
    /// The model's whole name; `None` for the agent's own.
    model: Option<Option<String>>,
}

/// `sessions.patch`.
pub(super) async fn patch(call: Call) -> Answer {
    let params = call.params()?;
    let key = super::key(&call, &params, "key")?;
    let wanted = read(&call, &params)?;
    let now = wall_ms();
    let is_main = key.is_main(&call.app.settings().config.agents);
    if wanted.archived == Some(true) && !is_main {
        let there = call.app.sessions.row(&key);
        super::is_expected(&params, &key, there.map(|row| row.id), "patch")?;
        stop_all(&call.app, &key).await;
    }
    let changed = call.app.sessions.change(|draft| {
        let there = draft.get(&key);
        super::is_expected(&params, &key, there.as_ref().map(|row| row.id), "patch")?;
        if wanted.archived.is_some() {
            if params.opt_str("expectedSessionId")?.is_none() {
                return Err(ErrorShape::invalid(format!(
                    "expectedSessionId required for session lifecycle patch: {}",
                    key.wire()
                )));
            }
            if is_main && wanted.archived == Some(true) {
                return Err(ErrorShape::invalid(format!(
                    "Cannot archive the main session ({}).",
                    key.wire()
                )));
            }
        }
        let mut row = match &there {
            Some(row) => row.clone(),
            None => {
                super::may_begin(&call.app, &key)?;
                Row::new(now).map_err(|e| ErrorShape::later(format!("no randomness: {e}"), 1000))?
            }
        };
        if let Some(label) = params.opt_str("label")?
            && let Some(other) = draft.labelled(label).filter(|other| *other != key)
        {
            return Err(ErrorShape::invalid(format!("label already in use: {label} ({})", other.wire())));
        }
        apply(&mut row, &wanted, marked(&params), now);
        if there.as_ref() != Some(&row) {
            row.times.updated = now;
            draft.put(&key, row.clone());
        }
        Ok(row)
    });
    let (row, _) = changed.await?;
    let payload = Object::new()
        .put("ok", &true)
        .put("path", &*call.app.sessions.path().to_string_lossy())
        .put("key", key.wire())
        .put("entry", &shapes::entry(&row))
        .put("resolved", &shapes::resolved(&call.app, &key, &row).unwrap_or_else(|| Json("{}".into())))
        .json();
    Ok(Reply::then(payload, move |app| super::publish_changed(app, &key, "patch")))
}

/// Reads what is to change.
fn read<'a>(call: &Call, params: &Params<'a>) -> Result<Wanted<'a>, ErrorShape> {
    let mut wanted = Wanted::default();
    for (name, value) in params.entries() {
        let cleared = value == "null";
        match name {
            _ if WHICH.contains(&name) => {}
            "archived" => wanted.archived = params.opt_bool(name)?,
            "pinned" => wanted.pinned = params.opt_bool(name)?,
            "unread" => wanted.unread = params.opt_bool(name)?,
            "model" => wanted.model = Some(chosen(call, params)?),
            _ => match settable(name) {
                Some(field) => {
                    call.by.need(field.scope)?;
                    if let Some(must) = field.refuse(value).filter(|_| !cleared) {
                        return Err(params.invalid(name, &must).into());
                    }
                    wanted.fields.push((field.name, Some(value).filter(|_| !cleared)));
                }
                None if NOT_HERE.contains(&name) && cleared => {}
                None if NOT_HERE.contains(&name) => {
                    return Err(ErrorShape::never(format!(
                        "sessions.patch: {name} says how runs are to be, and no run of this version of Barnacle heeds it"
                    )));
                }
                None => {
                    return Err(ErrorShape::invalid(format!(
                        "invalid sessions.patch params: at root: unexpected property '{name}'"
                    )));
                }
            },
        }
    }
    Ok(wanted)
}

/// The model that a request chooses: its whole name, or `None` for the agent's own.
fn chosen(call: &Call, params: &Params<'_>) -> Result<Option<String>, ErrorShape> {
    let Some(model) = params.opt_str("model")? else { return Ok(None) };
    let settings = call.app.settings();
    whole_name(&settings.config.providers, model).map(Some).map_err(ErrorShape::invalid)
}

/// What the client saw of the mark that `unread` sets: `None` if it does not say, 0 for no mark.
fn marked(params: &Params<'_>) -> Option<u64> {
    let (_, value) = params.entries().filter(|(name, _)| *name == "expectedMarkedUnreadAt").last()?;
    Some(value.parse().unwrap_or_default())
}

/// Changes the row as wanted at `now`, where the client saw the mark `marked`.
fn apply(row: &mut Row, wanted: &Wanted<'_>, marked: Option<u64>, now: u64) {
    let at = now.to_string();
    if let Some(model) = &wanted.model {
        row.set(CHOSEN, model.as_ref().map(|model| model.serialize_json()).as_deref());
    }
    for (name, value) in &wanted.fields {
        row.set(name, *value);
    }
    for (name, on) in [("pinnedAt", wanted.pinned), ("archivedAt", wanted.archived)] {
        match on {
            Some(true) if row.get(name).is_none() => row.set(name, Some(&at)),
            Some(false) => row.set(name, None),
            _ => {}
        }
    }
    if wanted.archived.is_some() {
        // What a person archived is not removed to spare the disk.
        row.set("archiveReason", None);
    }
    if wanted.archived == Some(true) {
        row.set("pinnedAt", None);
    }
    match wanted.unread {
        Some(true) => row.set("markedUnreadAt", Some(&at)),
        // A mark that was set meanwhile is not for this client to take away.
        Some(false) if marked.is_none_or(|marked| marked == row.time("markedUnreadAt")) => {
            row.set("markedUnreadAt", None);
            row.times.read = now;
        }
        _ => {}
    }
}

/// Whether `key` may be archived and removed: all but an agent's main session.
pub(super) fn is_kept(call: &Call, key: &SessionKey) -> bool {
    key.is_main(&call.app.settings().config.agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_pins() {
        let wanted = |archived, pinned, unread| Wanted { archived, pinned, unread, ..Wanted::default() };
        let mut row = Row::new(1).unwrap();
        apply(&mut row, &wanted(None, Some(true), Some(true)), None, 5);
        assert_eq!((row.time("pinnedAt"), row.time("markedUnreadAt"), row.is_unread()), (5, 5, true));
        apply(&mut row, &wanted(None, Some(true), None), None, 6);
        assert_eq!(row.time("pinnedAt"), 5, "it was pinned before");
        apply(&mut row, &wanted(None, None, Some(false)), Some(0), 7);
        assert_eq!((row.is_unread(), row.times.read), (true, 0), "it was marked after the client looked");
        apply(&mut row, &wanted(None, None, Some(false)), Some(5), 8);
        assert_eq!((row.is_unread(), row.times.read), (false, 8));
        apply(&mut row, &wanted(Some(true), None, None), None, 9);
        assert_eq!((row.time("archivedAt"), row.time("pinnedAt")), (9, 0));
        apply(&mut row, &wanted(Some(false), None, None), None, 10);
        assert_eq!(row.get("archivedAt"), None);
    }

    #[test]
    fn no_field_is_both_here_and_not() {
        assert!(NOT_HERE.iter().all(|name| settable(name).is_none() && !WHICH.contains(name)));
    }
}
