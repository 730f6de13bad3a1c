//! `config.schema` and `config.schema.lookup`: what may stand in the configuration.

use crate::{
    clock::{timestamp, wall_ms},
    config::{
        KeyPath,
        schema::{self, Hint},
    },
    methods::Answer,
    protocol::{ErrorShape, Json, Params},
};
use nanoserde::SerJson;

/// The longest path that is looked up, bytes; OpenClaw's bound.
const LONGEST: usize = 1024;

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Whole {
    schema: Json,
    uiHints: Json,
    version: String,
    generatedAt: String,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Found {
    path: String,
    schema: Json,
    reloadKind: String,
    hint: Option<Hint>,
    hintPath: Option<String>,
    children: Vec<Child>,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Child {
    key: String,
    path: String,
    #[nserde(rename = "type")]
    kind: Option<String>,
    required: bool,
    hasChildren: bool,
    reloadKind: String,
    hint: Option<Hint>,
    hintPath: Option<String>,
}

/// Answers `config.schema`.
pub fn whole() -> Json {
    let root = schema::root();
    Json::of(&Whole {
        schema: Json(root.document(true)),
        uiHints: Json(root.hints()),
        version: env!("CARGO_PKG_VERSION").into(),
        generatedAt: timestamp(wall_ms()),
    })
}

/// `config.schema.lookup`: the node at `path`, `.` for the root.
pub fn lookup(params: &Params<'_>) -> Answer {
    let asked = params.str("path")?.trim();
    let unknown = || ErrorShape::invalid("config schema path not found");
    if asked.len() > LONGEST {
        return Err(unknown());
    }
    let path = match asked.trim_matches('.') {
        "" => KeyPath(Vec::new()),
        keys => KeyPath::parse(keys).map_err(|e| ErrorShape::invalid(e.to_string()))?,
    };
    let root = schema::root();
    let (node, named) = root.find(&path).ok_or_else(unknown)?;
    let at_root = path.0.is_empty();
    let below = |at: &KeyPath, key: &str| KeyPath(at.0.iter().cloned().chain([key.to_owned()]).collect());
    let hint = named.0.last().and_then(|name| node.hint(name, None));
    let children = node.children().map(|(key, child)| {
        let hint = child.hint(key, None);
        let at = below(&path, key);
        Child {
            key: key.into(),
            reloadKind: schema::reload_kind(&at).into(),
            path: at.to_string(),
            kind: child.word().map(str::to_owned),
            required: false,
            hasChildren: child.has_children(),
            hintPath: hint.is_some().then(|| below(&named, key).to_string()),
            hint,
        }
    });
    let found = Found {
        path: if at_root { ".".into() } else { path.to_string() },
        schema: Json(if at_root { node.document(false) } else { node.json(false) }),
        reloadKind: schema::reload_kind(&path).into(),
        hintPath: hint.is_some().then(|| named.to_string()),
        hint,
        children: children.collect(),
    };
    Ok(Json::of(&found).into())
}
