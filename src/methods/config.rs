//! `config.get`: the configuration file as it stands on disk, without its secrets. It is not written over
//! RPC in this version.

use crate::{config::show, live::Hub, protocol::Json};
use nanoserde::SerJson;
use std::rc::Rc;

/// A complaint about the file.
#[derive(SerJson)]
struct Issue {
    path: String,
    message: String,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Snapshot {
    path: String,
    exists: bool,
    /// The text itself is not shown: comments may hold secrets.
    raw: Json,
    parsed: Json,
    config: Json,
    valid: bool,
    hash: Option<String>,
    issues: Vec<Issue>,
    warnings: Vec<Issue>,
    legacyIssues: Vec<Issue>,
}

/// `config.get`.
pub async fn get(hub: &Rc<Hub>) -> Json {
    let settings = hub.settings();
    let path = settings.paths.config_file.clone();
    let name = path.to_string_lossy().into_owned();
    let shown = smol::unblock(move || show::show(&path)).await;
    let issue = |message| Issue { path: String::new(), message };
    Json::of(&Snapshot {
        path: name,
        exists: shown.exists,
        raw: Json::null(),
        parsed: Json(shown.json.clone()),
        config: Json(shown.json),
        valid: shown.issue.is_none(),
        hash: shown.hash,
        issues: shown.issue.into_iter().map(issue).collect(),
        warnings: settings.faults.iter().map(|f| issue(f.to_string())).collect(),
        legacyIssues: Vec::new(),
    })
}
