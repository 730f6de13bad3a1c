//! `config.*`: the configuration as it stands on disk, without its secrets, and changes to it.
//!
//! Shapes as OpenClaw 2026.9.6 answers.

mod plan;
mod schema;
mod write;

use super::{Access, By, Method, Repeat};
use crate::{
    app::App,
    config::{
        redact::{self, Viewer},
        text::{
            file::{self, Read},
            node::{Node, Value},
            source::{Include, ReadError, Source},
        },
    },
    protocol::{Issue, Json, Scope},
    reactor::on_worker,
};
use nanoserde::SerJson;
use sha2::{Digest, Sha256};
use std::rc::Rc;

const READ: Access = Access::Operator(Scope::Read);
const ADMIN: Access = Access::Operator(Scope::Admin);
/// The largest parameters that hold a file's text, bytes: the largest file, and room for what JSON escapes.
const TEXT: usize = 12 << 20;

/// The methods of this family. A change names the revision that it is based on, so that the same twice is refused.
pub(super) const METHODS: &[Method] = &[
    Method::waits("config.get", READ, Repeat::Harmless, |c| {
        Box::pin(async move { Ok(get(&c.app, &c.by).await.into()) })
    }),
    Method::waits("config.plan", ADMIN, Repeat::Harmless, |c| {
        Box::pin(async move { plan::plan(&c.app, &c.by, &c.params()?).await })
    })
    .content(TEXT),
    Method::waits("config.set", ADMIN, Repeat::Harmless, |c| {
        Box::pin(async move { write::set(&c.app, &c.by, &c.params()?).await })
    })
    .content(TEXT),
    Method::waits("config.patch", ADMIN, Repeat::Harmless, |c| {
        Box::pin(async move { write::patch(&c.app, &c.by, &c.params()?).await })
    })
    .content(TEXT),
    Method::waits("config.apply", ADMIN, Repeat::Harmless, |c| {
        Box::pin(async move { write::apply(&c.app, &c.by, &c.params()?).await })
    })
    .content(TEXT),
    Method::now("config.schema", READ, Repeat::Harmless, |_| Ok(schema::whole().into())),
    Method::now("config.schema.lookup", READ, Repeat::Harmless, |c| schema::lookup(&c.params()?)),
];

/// Source of an object that `$include` brings.
#[derive(SerJson)]
#[allow(non_snake_case)]
struct Provenance {
    path: Vec<String>,
    kind: String,
    hasSiblingOverrides: bool,
    hasArrayAncestor: bool,
    targetPath: Option<String>,
    targetPaths: Option<Vec<String>>,
}

/// `null` where there is none; a plain `Option` would leave the field out.
fn or_null(json: Option<String>) -> Json {
    json.map_or_else(Json::null, Json)
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Snapshot {
    path: String,
    includedPaths: Vec<String>,
    includeProvenance: Vec<Provenance>,
    agentRosterIncludeOwned: bool,
    bindingsIncludeOwned: bool,
    exists: bool,
    raw: Json,
    parsed: Json,
    sourceConfig: Json,
    resolved: Json,
    valid: bool,
    runtimeConfig: Json,
    config: Json,
    hash: String,
    issues: Vec<Issue>,
    warnings: Vec<Issue>,
    legacyIssues: Vec<Issue>,
    configRevisionHash: String,
    appliedConfigHash: String,
}

/// `config.get`.
/// `raw`, with its comments, is for administrators alone.
pub async fn get(app: &Rc<App>, by: &By) -> Json {
    let viewer = match by.allows(Scope::Admin) {
        true => Viewer::Admin,
        false => Viewer::Reader,
    };
    let settings = app.settings();
    let (paths, env, running) = (settings.paths.clone(), settings.env().clone(), settings.source.clone());
    let warnings = settings.warnings().map(|(path, message)| issue(path, &message)).collect();
    let key = app.devices.key().clone();
    // All of it on a worker thread: the text may have megabytes.
    on_worker(move || {
        let source = Source::read(&paths, &env).source;
        // What cannot be read has a revision too.
        let digest = match &source {
            Ok(Some(source)) => source.digest(),
            Ok(None) => Source::empty(&paths.config_file).digest(),
            Err(_) => match file::read(&paths.config_file) {
                Read::Text(document) => Sha256::digest(document.bytes()).into(),
                _ => [0; 32],
            },
        };
        let shown = redact::tree(&running.root, viewer).to_json();
        let mut snapshot = Snapshot {
            path: paths.config_file.to_string_lossy().into_owned(),
            includedPaths: Vec::new(),
            includeProvenance: Vec::new(),
            agentRosterIncludeOwned: false,
            bindingsIncludeOwned: false,
            exists: !matches!(source, Ok(None)),
            raw: Json::null(),
            parsed: Json("{}".into()),
            sourceConfig: Json("{}".into()),
            resolved: Json("{}".into()),
            valid: source.is_ok(),
            runtimeConfig: Json(shown.clone()),
            config: Json(shown),
            hash: key.revision(&digest),
            issues: Vec::new(),
            warnings,
            legacyIssues: Vec::new(),
            configRevisionHash: key.revision(&digest),
            appliedConfigHash: key.revision(&running.digest()),
        };
        match &source {
            Ok(None) => {}
            Err(broken) => {
                snapshot.parsed = Json::null();
                snapshot.issues.push(issue("", &described(broken)));
            }
            Ok(Some(source)) => fill(&mut snapshot, source, viewer),
        }
        Json::of(&snapshot)
    })
    .await
}

fn issue(path: &str, message: &str) -> Issue {
    Issue { path: redact::line(path).into_owned(), message: redact::line(message).into_owned() }
}

/// Describes a file that cannot be read.
fn described(broken: &ReadError) -> String {
    format!("{broken}; what ran before holds until it is fixed")
}

fn fill(snapshot: &mut Snapshot, source: &Source, viewer: Viewer) {
    let root = &source.documents[0];
    let parsed = root.parse().ok().map(|parsed| redact::tree(&Node::of(&parsed, 0), viewer).to_json());
    let sum = redact::tree(&source.root, viewer).to_json();
    snapshot.raw =
        or_null(redact::text_of(root).filter(|_| viewer == Viewer::Admin).map(|text| text.serialize_json()));
    snapshot.parsed = or_null(parsed);
    (snapshot.sourceConfig, snapshot.resolved) = (Json(sum.clone()), Json(sum.clone()));
    (snapshot.runtimeConfig, snapshot.config) = (Json(sum.clone()), Json(sum));
    let name = |n: &u16| source.documents[usize::from(*n)].path.to_string_lossy().into_owned();
    snapshot.includedPaths = (1..source.documents.len() as u16).map(|n| name(&n)).collect();
    let provenance = |include: &Include| {
        let files: Vec<_> = include.files.iter().map(name).collect();
        let single = files.len() == 1;
        Provenance {
            path: include.path.clone(),
            kind: if single { "single" } else { "multiple" }.into(),
            hasSiblingOverrides: single && !include.whole,
            hasArrayAncestor: in_list(&source.root, &include.path),
            targetPath: single.then(|| files[0].clone()),
            targetPaths: (!single).then_some(files),
        }
    };
    snapshot.includeProvenance = source.includes.iter().map(provenance).collect();
}

/// Whether `path` leads through a list.
fn in_list(node: &Node, path: &[String]) -> bool {
    match (&node.value, path.split_first()) {
        (_, None) => false,
        (Value::List(_), _) => true,
        (_, Some((key, rest))) => node.get(key).is_some_and(|node| in_list(node, rest)),
    }
}
