//! `config.set`, `config.patch` and `config.apply`: a change of the file, applied before it is answered.
//!
//! While one is under way nobody else reloads: else the watcher could apply the change, and close the
//! connection of the one who made it, before that one has an answer.

use crate::{
    app::App,
    clock::wall_ms,
    config::{
        ConfigError, KeyPath, Refused,
        change::{
            merge,
            write::{Present, WriteOptions, WriteTarget, Written, has_include, write},
        },
        redact::{self, Viewer},
        text::{file, node::Value},
    },
    methods::{Answer, By, Reply},
    protocol::{Details, ErrorCode, ErrorShape, Issue, Json, Params},
    reactor::on_worker,
    reload::Trigger,
};
use nanoserde::SerJson;
use std::rc::Rc;

/// Retry time where the disk or another writer prevents a write, milliseconds.
const LATER_MS: u64 = 2000;

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Done {
    ok: bool,
    noop: Option<bool>,
    path: String,
    hash: Option<String>,
    config: Json,
    changedPaths: Option<Vec<String>>,
    sentinel: Option<Sentinel>,
}

#[derive(SerJson)]
struct Sentinel {
    persisted: bool,
    payload: SentinelPayload,
}

#[derive(SerJson)]
struct SentinelPayload {
    kind: String,
    status: String,
    ts: u64,
    message: Json,
    stats: Stats,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Stats {
    mode: String,
    root: String,
    requiresRestart: bool,
}

/// Answers `config.set`: replaces the whole text.
pub async fn set(app: &Rc<App>, by: &By, params: &Params<'_>) -> Answer {
    let raw = params.str("raw")?.to_owned();
    let want = move |_: &Present<'_>| Ok(WriteTarget::Root(raw.clone()));
    change(app, by, params, "config.set", want).await
}

/// `config.apply`: the same, reported as applied.
pub async fn apply(app: &Rc<App>, by: &By, params: &Params<'_>) -> Answer {
    let raw = params.str("raw")?.to_owned();
    let want = move |_: &Present<'_>| Ok(WriteTarget::Root(raw.clone()));
    change(app, by, params, "config.apply", want).await
}

/// `config.patch`: what is to change.
pub async fn patch(app: &Rc<App>, by: &By, params: &Params<'_>) -> Answer {
    let raw = params.str("raw")?.to_owned();
    let patch =
        on_worker(move || file::value(&raw)).await.map_err(|invalid| refusal(&Refused::BadText(invalid)))?;
    if !matches!(patch.value, Value::Object(_)) {
        return Err(ErrorShape::invalid("config.patch raw must be an object"));
    }
    if has_include(&patch) {
        return Err(ErrorShape::invalid(
            "config.patch cannot set $include; use config.set with the file's text",
        ));
    }
    let replace = params.strs("replacePaths")?.into_iter().map(KeyPath::parse).collect::<Result<Vec<_>, _>>();
    let replace = replace
        .map_err(|e| ErrorShape::invalid(format!("invalid config.patch params: at /replacePaths: {e}")))?;
    let want = move |present: &Present<'_>| {
        let root = &present.source.root;
        let mut sum = merge::patched(root, &patch, &replace)?;
        merge::restore(&mut sum, root)?;
        Ok(WriteTarget::Sum(sum))
    };
    change(app, by, params, "config.patch", want).await
}

async fn change(
    app: &Rc<App>,
    by: &By,
    params: &Params<'_>,
    method: &'static str,
    want: impl Fn(&Present<'_>) -> Result<WriteTarget, Refused> + Send + 'static,
) -> Answer {
    let base = params.opt_str("baseHash")?.map(str::to_owned);
    let note = params.opt_str("note")?.map(str::to_owned);
    let settings = app.settings();
    let (paths, env) = (settings.paths.clone(), settings.env().clone());
    let turn = app.reloads.turn().await;
    // A file that is gone is written anew from what runs.
    let file = paths.config_file.clone();
    if settings.found.is_whole() && !on_worker(move || file.exists()).await {
        app.reloads.keep_config().await;
    }
    let key = app.devices.key().clone();
    let patches = method == "config.patch";
    let written = on_worker(move || {
        let options = WriteOptions { may_shrink: patches, ..WriteOptions::default() };
        write(&paths, &env, options, |present| {
            let wanted = want(present)?;
            // What changes nothing needs no base.
            let noop = matches!(&wanted, WriteTarget::Sum(sum) if sum.same(&present.source.root));
            if present.exists && !(patches && noop) {
                let now = key.revision(&present.source.digest());
                match &base {
                    None => return Err(Refused::NoBase),
                    Some(base) if *base != now => return Err(Refused::Changed),
                    Some(_) => {}
                }
            }
            Ok(wanted)
        })
        .map(|written| (redact::tree(&written.now.source.root, Viewer::Admin).to_json(), written))
    });
    let (shown, Written { file, changed, now, .. }) = written.await.map_err(|refused| refusal(&refused))?;
    let noop = file.is_none();
    let names: Vec<_> = changed.iter().map(KeyPath::to_string).collect();
    let path = settings.paths.config_file.to_string_lossy().into_owned();
    let mut done = Done {
        ok: true,
        noop: (noop && patches).then_some(true),
        path: path.clone(),
        hash: (!noop || !patches).then(|| app.devices.key().revision(&now.source.digest())),
        config: Json(shown),
        changedPaths: patches.then(|| names.clone()),
        sentinel: None,
    };
    if noop {
        return Ok(Json::of(&done).into());
    }
    log::info!("{method} by {}: {}", by.name(), redact::line(&names.join(", ")));
    let outcome = app.reloads.reload_in(&turn, Trigger::Asked).await;
    if let Some(broken) = &outcome.broken {
        let message = format!("written, but not applied: {broken}; re-run config.get and see its issues");
        return Err(ErrorShape::new(ErrorCode::Unavailable, message));
    }
    done.sentinel = (method != "config.set").then(|| Sentinel {
        persisted: false,
        payload: SentinelPayload {
            kind: method.replace('.', "-"),
            status: "ok".into(),
            ts: wall_ms(),
            message: note.map_or_else(Json::null, |note| Json(note.serialize_json())),
            stats: Stats {
                mode: method.into(),
                root: path,
                requiresRestart: outcome.waits || outcome.restart,
            },
        },
    });
    Ok(Reply::then(Json::of(&done), move |app| {
        outcome.conclude(&app.reloads);
        drop(turn);
    }))
}

/// Maps a refused write to the error that clients know.
fn refusal(refused: &Refused) -> ErrorShape {
    let message = redact::line(&refused.to_string()).into_owned();
    match refused {
        Refused::Invalid(errors) => {
            let issue = |error: &ConfigError| Issue {
                path: error.path.clone(),
                message: format!("is {}, must be {}", redact::line(&error.found), error.expected),
            };
            let issues = Some(errors.iter().map(issue).collect());
            ErrorShape::invalid(message).with(Details { issues, ..Details::default() })
        }
        Refused::Changed
        | Refused::NoBase
        | Refused::BadText(_)
        | Refused::Own(..)
        | Refused::Merge(_)
        | Refused::Ownership(_) => ErrorShape::invalid(message),
        Refused::Clobber { .. } => ErrorShape::never(format!("Error: {message}")),
        Refused::Busy(_) | Refused::Io(..) => ErrorShape::later(message, LATER_MS),
        Refused::ManagedElsewhere(_)
        | Refused::ReadOnly { .. }
        | Refused::Anothers { .. }
        | Refused::Broken(_)
        | Refused::NotText(_)
        | Refused::NoPlace(_) => ErrorShape::never(message),
    }
}
