//! `gateway`: the gateway itself. It reads and changes the configuration, and restarts.
//!
//! A change and a restart answer first: what follows from them (connections that close, the hand-over) waits until the result
//! is kept, so that a run which asked for it goes on knowing that it did.

use super::{
    Answered, Group, Repeat, Tool, Use,
    result::{Fault, Outcome, Problem},
};
use crate::{
    config::KeyPath,
    protocol::{Json, Object, Params, Readable, json},
};
use nanoserde::SerJson;

/// Bytes of a configuration that is shown at once.
const BYTES: usize = 64 << 10;

pub(super) const TOOL: Tool = Tool {
    name: "gateway",
    label: "Gateway",
    group: Group::Automation,
    description: "Read or change the configuration of this gateway, or restart it. config.get shows the value at path, or all; \
                  config.schema.lookup tells which keys there are at path and what they take; config.patch merges patch into \
                  the configuration (null removes a key) and applies it at once; restart is never needed after a change. Change \
                  or restart only when the user asked for it. Who gets in and what agents may do is changed by people alone.",
    parameters: r#"{"type":"object","properties":{
        "action":{"type":"string","enum":["config.get","config.schema.lookup","config.patch","restart"],"description":"What to do."},
        "path":{"type":"string","description":"Dotted path of a key, for config.get and config.schema.lookup."},
        "patch":{"type":"object","description":"The keys to change, nested, for config.patch."},
        "baseHash":{"type":"string","minLength":1,"description":"The hash that config.get gave: the patch is refused if the configuration changed since."},
        "replacePaths":{"type":"array","items":{"type":"string"},"description":"Paths of lists that the patch replaces and may shorten."},
        "note":{"type":"string","maxLength":1000,"description":"Why it is changed."},
        "reason":{"type":"string","maxLength":200,"description":"Why it is restarted."}
        },"required":["action"],"additionalProperties":false}"#,
    repeat: Repeat::ChangesTwice,
    run: |with| Box::pin(act(with)),
};

async fn act(with: Use) -> Result<Outcome, Problem> {
    let given = with.arguments.params();
    match given.str("action")? {
        "config.get" => shown(&with, &given).await,
        "config.schema.lookup" => {
            let path = given.opt_str("path")?.unwrap_or(".");
            let asked = Object::new().put("path", path).json();
            Ok(Outcome::json(with.ask("config.schema.lookup", asked).await?))
        }
        "config.patch" => patched(&with, &given).await,
        _ => {
            let reason = given.opt_str("reason")?.unwrap_or("asked for by an agent");
            let asked = Object::new().put("reason", reason).json();
            let Answered { payload, after } = (with.call)("gateway.restart.request", asked).await?;
            let answer = Readable::new("gateway.restart.request", payload);
            let status = answer.params().opt_str("status")?.unwrap_or("scheduled").to_owned();
            let text = "the gateway restarts once this result is kept; connections and this run go on";
            let object = Object::new().put("status", "ok").put("restart", &status).put("note", text);
            Ok(Outcome { after, ..Outcome::json(object.json()) })
        }
    }
}

/// The configuration as it is on disk, without its secrets.
async fn get(with: &Use) -> Result<Readable, Problem> {
    Ok(Readable::new("config.get", with.ask("config.get", Json("{}".into())).await?))
}

async fn shown(with: &Use, given: &Params<'_>) -> Result<Outcome, Problem> {
    let answer = get(with).await?;
    let answer = answer.params();
    let config = answer.value("config").unwrap_or("{}");
    let path =
        given.opt_str("path")?.map(|path| path.trim().trim_matches('.')).filter(|path| !path.is_empty());
    let value = match path {
        None => config,
        Some(path) => {
            let keys = KeyPath::parse(path).map_err(|e| Problem::arguments(format!("path: {e}")))?;
            at(config, &keys.0).ok_or_else(|| {
                Problem::arguments(format!(
                    "{path} is not set; config.schema.lookup tells which keys there are, and what holds without them"
                ))
            })?
        }
    };
    if value.len() > BYTES {
        let names: Vec<&str> = json::members(value).map(|(name, _)| name).take(50).collect();
        return Err(Problem::arguments(format!(
            "the value is {} bytes, more than the {BYTES} that are shown; give the path of a part: {}",
            value.len(),
            names.join(", ")
        )));
    }
    let mut object = Object::new().opt("path", path).put("value", &Json(value.to_owned()));
    for name in ["hash", "valid", "issues", "warnings"] {
        object = object.opt(name, answer.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    Ok(Outcome::json(object.json()))
}

/// The value at a path of names, and numbers of a list's items.
fn at<'a>(value: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, step| match value.starts_with('[') {
        true => json::items(value).nth(step.trim_matches(['[', ']']).parse().ok()?),
        false => json::members(value).find(|(name, _)| json::unescape(name) == *step).map(|(_, value)| value),
    })
}

/// Sections that a model does not change, whoever speaks to it: who gets in, where from, what stands in for a value, and
/// what agents may do. Of a section named with a dot only that part.
const KEPT: [&str; 15] = [
    "agents.list",
    "gateway.auth",
    "gateway.bind",
    "gateway.customBindHost",
    "gateway.controlUi",
    "gateway.http",
    "gateway.mode",
    "gateway.nodes",
    "gateway.port",
    "gateway.remote",
    "gateway.tls",
    "gateway.tools",
    "gateway.trustedProxies",
    "env",
    "secrets",
];

/// The first key of a patch that is kept from agents: one of [`KEPT`], any `tools`, `$include`, a whole section that has
/// such a part and is removed or replaced, or an agent that is removed with the rules for its tools.
fn kept_from_agents(patch: &str) -> Option<String> {
    fn walk(value: &str, path: &str) -> Option<String> {
        let within = |part: &str| format!("{path}{}{part}", if path.is_empty() { "" } else { "." });
        for item in json::items(value) {
            if let Some(found) = walk(item, path) {
                return Some(found);
            }
        }
        for (name, value) in json::members(value) {
            let name = json::unescape(name);
            let path = within(&name);
            let has_part = KEPT.iter().any(|kept| kept.starts_with(&format!("{path}.")));
            if KEPT.contains(&&*path)
                || matches!(&*name, "tools" | "$include")
                || has_part && !value.starts_with('{')
                || path.starts_with("agents.") && value == "null"
            {
                return Some(path);
            }
            if let Some(found) = walk(value, &path) {
                return Some(found);
            }
        }
        None
    }
    walk(patch.trim(), "")
}

async fn patched(with: &Use, given: &Params<'_>) -> Result<Outcome, Problem> {
    let Some(raw) = given.value("patch").map(str::to_owned) else {
        return Err(Problem::arguments("config.patch takes patch, an object"));
    };
    if let Some(path) = kept_from_agents(&raw) {
        return Err(Problem {
            fault: Fault::NotAllowed,
            message: format!(
                "nothing was changed: {path} decides who gets in or what agents may do, and only a person changes it, with \
                 barnacle config set or in the file"
            ),
        });
    }
    let base = match given.opt_str("baseHash")? {
        Some(base) => Some(base.to_owned()),
        None => get(with).await?.params().opt_str("hash")?.map(str::to_owned),
    };
    let note = given.value("note").map(|note| Json(note.to_owned()));
    let paths = given.value("replacePaths").map(|paths| Json(paths.to_owned()));
    let asked = Object::new()
        .put("raw", &Json(raw.serialize_json()))
        .opt("baseHash", base.as_ref())
        .opt("note", note.as_ref())
        .opt("replacePaths", paths.as_ref());
    let Answered { payload, after } = (with.call)("config.patch", asked.json()).await?;
    let answer = Readable::new("config.patch", payload);
    let answer = answer.params();
    let mut object = Object::new().put("status", "ok");
    for name in ["noop", "changedPaths", "hash"] {
        object = object.opt(name, answer.value(name).map(|value| Json(value.to_owned())).as_ref());
    }
    Ok(Outcome { after, ..Outcome::json(object.json()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_in_is_not_an_agent_s_to_change() {
        let rows = [
            (r#"{"session":{"mainKey":"home"}}"#, None),
            (r#"{"gateway":{"reload":{"mode":"off"}}}"#, None),
            (r#"{"channels":{"whatsapp":{"allowFrom":["+1"]}}}"#, None),
            (r#"{"agents":{"entries":{"a":{"model":"x/y"}}}}"#, None),
            (r#"{"gateway":{"auth":{"mode":"none"}}}"#, Some("gateway.auth")),
            (r#"{"gateway":{"reload":{},"auth":null}}"#, Some("gateway.auth")),
            (r#"{"g\u0061teway":{"\u0061uth":{"mode":"none"}}}"#, Some("gateway.auth")),
            (r#"{"gateway":null}"#, Some("gateway")),
            (r#"{"agents":{"list":[{"id":"a","tools":{"profile":"full"}}]}}"#, Some("agents.list")),
            (r#"{"agents":{"entries":{"a":{"tools":null}}}}"#, Some("agents.entries.a.tools")),
            (r#"{"agents":{"entries":{"a":null}}}"#, Some("agents.entries.a")),
            (r#"{"agents":null}"#, Some("agents")),
            (r#"{"tools":{"deny":[]}}"#, Some("tools")),
            (r#"{"$include":"/etc/x"}"#, Some("$include")),
            (r#"{"session":{"$include":"./x"}}"#, Some("session.$include")),
            (r#" {"env":{"vars":{"A":"b"}}} "#, Some("env")),
        ];
        for (patch, expected) in rows {
            assert_eq!(kept_from_agents(patch).as_deref(), expected, "{patch}");
        }
    }

    #[test]
    fn values_by_their_paths() {
        let config = r#"{"a":{"b.c":[{"d":1},2]},"e":null}"#;
        let rows = [
            (vec!["a", "b.c", "0", "d"], Some("1")),
            (vec!["a", "b.c", "[1]"], Some("2")),
            (vec!["a", "b.c", "2"], None),
            (vec!["a", "x"], None),
            (vec!["e"], Some("null")),
            (vec!["e", "f"], None),
            (vec![], Some(config)),
        ];
        for (path, expected) in rows {
            let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
            assert_eq!(at(config, &path), expected, "{path:?}");
        }
    }
}
