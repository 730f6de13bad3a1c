//! `sessions_list`: the sessions that an agent sees.

use super::{
    Group, Repeat, Tool, Use,
    reach::judge,
    result::{Outcome, Problem},
    sessions_history,
};
use crate::{
    config::keys::words::Reach,
    protocol::{Json, Object, Params, Readable, json},
    sessions::SessionKey,
};

/// Rows where a model says nothing, and the most that it gets.
const LIMIT: (u64, u64) = (100, 200);
/// Pages of the gateway's list that one use goes through.
const PAGES: usize = 5;
/// Bytes of a result.
const BYTES: usize = 64 << 10;
/// Room in a result for what stands beside the rows, bytes.
const FRAME: usize = 1024;

pub(super) const TOOL: Tool = Tool {
    name: "sessions_list",
    label: "List sessions",
    group: Group::Sessions,
    description: "List the sessions (conversations) of this gateway, the last changed first: their keys, kinds, labels and \
                  times. While hasMore is true, pass nextOffset as offset for more.",
    parameters: r#"{"type":"object","properties":{
        "kinds":{"type":"array","items":{"type":"string","enum":["main","group","cron","hook","node","other"]},"description":"Only sessions of these kinds."},
        "limit":{"type":"integer","minimum":1,"description":"Rows at most; 100 without it, and never more than 200."},
        "offset":{"type":"integer","minimum":0,"description":"Where to go on: nextOffset of the list before."},
        "activeMinutes":{"type":"integer","minimum":1,"description":"Only sessions changed in the last minutes."},
        "activeOnly":{"type":"boolean","description":"Only sessions in which a run is under way."},
        "label":{"type":"string","minLength":1,"description":"Only the session with this label."},
        "agentId":{"type":"string","minLength":1,"description":"Only sessions of this agent."},
        "search":{"type":"string","minLength":1,"description":"Only sessions whose key, label or name holds this."},
        "archived":{"enum":[true,false,"all"],"description":"Archived sessions instead of the others, or all."},
        "pinned":{"type":"boolean","description":"Only pinned sessions, or only others."},
        "group":{"type":"string","description":"Only sessions of this sidebar group; empty for those of none."},
        "excludeSubagents":{"type":"boolean","description":"Leave out what sub-agents do."},
        "includeDerivedTitles":{"type":"boolean","description":"With a title from the first message of each."},
        "includeLastMessage":{"type":"boolean","description":"With the beginning of the last message of each."},
        "messageLimit":{"type":"integer","minimum":0,"maximum":20,"description":"With so many of the last messages of each."}
        },"additionalProperties":false}"#,
    repeat: Repeat::Harmless,
    run: |with| Box::pin(list(with)),
};

/// A list that grows row by row.
#[derive(Default)]
struct Rows {
    rows: Vec<Json>,
    bytes: usize,
    /// Where the next list goes on.
    next: u64,
    has_more: bool,
    /// Why it ends before it is full.
    cut: Option<&'static str>,
    /// Whether texts were left out, so that a row fits.
    bare: bool,
}

async fn list(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    let limit = given.opt_u64("limit")?.unwrap_or(LIMIT.0).clamp(1, LIMIT.1);
    let mut rows = Rows { next: given.opt_u64("offset")?.unwrap_or_default(), ..Rows::default() };
    for page in 0.. {
        let asked = asked(&given, rows.next)?;
        let answer = Readable::new("sessions.list", with.ask("sessions.list", asked).await?);
        let answer = answer.params();
        rows.has_more = answer.opt_bool("hasMore")?.unwrap_or(false);
        for row in answer.value("sessions").map(json::items).into_iter().flatten() {
            if rows.rows.len() as u64 == limit {
                rows.has_more = true;
                break;
            }
            if !add(&with, &given, &mut rows, row).await? {
                break;
            }
        }
        if !rows.has_more || rows.cut.is_some() || rows.rows.len() as u64 == limit {
            break;
        }
        if page + 1 == PAGES {
            rows.cut = Some("scan-limit");
            break;
        }
    }
    Ok(Outcome::json(whole(&with, limit, rows)))
}

/// The parameters of the gateway's list, from `offset` on.
fn asked(given: &Params<'_>, offset: u64) -> Result<Json, Problem> {
    let mut object = Object::new().put("limit", &LIMIT.1).put("offset", &offset).put("includeGlobal", &true);
    for name in [
        "activeMinutes",
        "label",
        "agentId",
        "search",
        "archived",
        "includeDerivedTitles",
        "includeLastMessage",
    ] {
        object = object.opt(name, given.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    Ok(object.json())
}

/// Adds a row if it is asked for and seen; false where it does not fit.
async fn add(with: &Use, given: &Params<'_>, rows: &mut Rows, row: &str) -> Result<bool, Problem> {
    let text = Readable::new("session", Json(row.to_owned()));
    let row = text.params();
    let config = &with.settings.config;
    let name = row.str("key")?;
    let agent = row.opt_str("agentId")?.filter(|_| !name.starts_with("agent:"));
    // A shared key of an agent that is configured no longer is not to be named.
    let key = SessionKey::parse(name, agent, &config.agents).ok();
    let begun = row.opt_str("parentSessionKey")? == Some(with.session.wire());
    let sees = |key: &SessionKey| judge(&config.tools, &config.agents, &with.session, key, begun).is_ok();
    let Some(key) = key.filter(sees).filter(|_| wanted(given, &row)) else {
        rows.next += 1;
        return Ok(true);
    };
    let messages = match given.opt_u64("messageLimit")?.unwrap_or_default() {
        0 => None,
        most => Some(last_messages(with, &key, most).await?),
    };
    let mut json = shown(&row, messages.as_ref(), true)?;
    if rows.rows.is_empty() && json.0.len() > BYTES - FRAME {
        json = shown(&row, None, false)?;
        rows.bare = true;
    }
    if rows.bytes + json.0.len() + 1 > BYTES - FRAME {
        if rows.rows.is_empty() {
            return Err(Problem::failed(format!(
                "the row of session {} is too large to be listed",
                key.wire()
            )));
        }
        rows.cut = Some("byte-limit");
        rows.has_more = true;
        return Ok(false);
    }
    rows.next += 1;
    rows.bytes += json.0.len() + 1;
    rows.rows.push(json);
    Ok(true)
}

/// The kind of a session, from its `classification`.
fn kind(row: &Params<'_>) -> &'static str {
    match row.opt_str("classification").ok().flatten() {
        Some("main") => "main",
        Some("group" | "channel") => "group",
        Some("cron") => "cron",
        Some("hook") => "hook",
        Some("node") => "node",
        _ => "other",
    }
}

/// Whether a row is asked for, as far as the gateway's list does not see to it.
fn wanted(given: &Params<'_>, row: &Params<'_>) -> bool {
    let flag = |name: &str| given.opt_bool(name).ok().flatten();
    let is = |name: &str| row.opt_bool(name).ok().flatten() == Some(true);
    let kinds = given.strs("kinds").unwrap_or_default();
    let group = given.opt_str("group").ok().flatten();
    (kinds.is_empty() || kinds.contains(&kind(row)))
        && flag("pinned").is_none_or(|pinned| pinned == is("pinned"))
        && (flag("activeOnly") != Some(true) || is("hasActiveRun"))
        && group.is_none_or(|group| row.opt_str("category").ok().flatten().unwrap_or_default() == group)
        && (flag("excludeSubagents") != Some(true)
            || row.opt_str("classification").ok().flatten() != Some("subagent"))
}

/// A row as a model reads it; `texts` with what was said in it.
fn shown(row: &Params<'_>, messages: Option<&Vec<Json>>, texts: bool) -> Result<Json, Problem> {
    let mut object = Object::new();
    for name in ["key", "sessionId", "agentId"] {
        object = object.opt(name, row.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    object = object.put("kind", kind(row)).put("channel", "webchat");
    for name in [
        "label",
        "displayName",
        "statusNote",
        "parentSessionKey",
        "updatedAt",
        "model",
        "contextTokens",
        "status",
    ] {
        object = object.opt(name, row.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    object = object.opt("group", row.value("category").map(|value| Json(value.to_owned())).as_ref());
    for name in ["archived", "pinned"] {
        object = object.put(name, &row.opt_bool(name)?.unwrap_or(false));
    }
    object = object.opt("hasActiveRun", row.opt_bool("hasActiveRun")?.filter(|on| *on).as_ref());
    if texts {
        for name in ["derivedTitle", "lastMessagePreview"] {
            let said = row.opt_str(name)?.map(|text| super::result::without_credentials(text).into_owned());
            object = object.opt(name, said.as_ref());
        }
        object = object.opt("messages", messages);
    }
    Ok(object.json())
}

/// The last messages of a session: who said them, and what.
async fn last_messages(with: &Use, key: &SessionKey, most: u64) -> Result<Vec<Json>, Problem> {
    // More than are asked for, since not all of them were said by somebody.
    let page = sessions_history::page(with, key, 2 * most, 0, None).await?;
    let page = page.params();
    let all = page.value("messages").map(json::items).into_iter().flatten();
    let said = all.filter(|message| {
        let message = Readable::new("message", Json((*message).to_owned()));
        sessions_history::is_said(&message.params())
    });
    let mut said: Vec<Json> = said.map(|message| Json(sessions_history::shown(message).json)).collect();
    Ok(said.split_off(said.len().saturating_sub(most as usize)))
}

fn whole(with: &Use, limit: u64, rows: Rows) -> Json {
    let reach = with.settings.config.tools.reach;
    let object = Object::new()
        .put("count", &rows.rows.len())
        .put("limitApplied", &limit)
        .put("hasMore", &rows.has_more)
        .opt("nextOffset", rows.has_more.then_some(rows.next).as_ref())
        .opt("truncationReason", rows.cut)
        .opt("enrichmentOmitted", rows.bare.then_some(true).as_ref());
    let object = match reach {
        Reach::All => object,
        _ => {
            let warning = "sessions outside of this scope are left out";
            let scope = Object::new().put("mode", reach.as_str()).put("warning", warning);
            object.put("visibility", &scope.json())
        }
    };
    object.put("sessions", &rows.rows).json()
}
