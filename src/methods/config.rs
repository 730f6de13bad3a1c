//! `config.get`: the configuration file as it stands on disk, without its secrets. It is not written over
//! RPC in this version.

use crate::{
    config::{show, source::Source},
    live::Hub,
    protocol::{Json, hex},
};
use nanoserde::SerJson;
use sha2::{Digest, Sha256};
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
    let (paths, env) = (settings.paths.clone(), settings.env().clone());
    let name = paths.config_file.to_string_lossy().into_owned();
    let read = smol::unblock(move || Source::read(&paths, &env).source).await;
    let (shown, hash, broken) = match &read {
        Ok(Some(source)) => {
            let hash = hex(&Sha256::digest(source.documents[0].text.as_bytes()));
            (show::redacted(&source.root), Some(hash), None)
        }
        Ok(None) => ("{}".into(), None, None),
        Err(broken) => ("{}".into(), None, Some(broken.to_string())),
    };
    let issue = |message| Issue { path: String::new(), message };
    Json::of(&Snapshot {
        path: name,
        exists: !matches!(read, Ok(None)),
        raw: Json::null(),
        parsed: Json(shown.clone()),
        config: Json(shown),
        valid: broken.is_none(),
        hash,
        issues: broken.into_iter().map(issue).collect(),
        warnings: settings.warnings().map(|(path, message)| Issue { path: path.into(), message }).collect(),
        legacyIssues: Vec::new(),
    })
}
