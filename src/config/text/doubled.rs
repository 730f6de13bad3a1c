//! Keys that stand twice in one object of a file. The tree of plain values has each but once, so the texts
//! are read again for them.

use super::{node::At, source::Source};
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;
use std::collections::HashSet;

/// The path of every key that stands again later in its object, and where, from the top down.
pub fn doubled(source: &Source) -> Vec<(Vec<String>, At)> {
    let mut all = Vec::new();
    for (file, document) in source.documents.iter().enumerate() {
        let file = file as u16;
        let Ok(root) = document.parse() else { continue };
        let included = source.includes.iter().find(|i| i.files.contains(&file));
        let mut path = included.map(|i| i.path.clone()).unwrap_or_default();
        let mut found = Vec::new();
        object(&root, &mut path, &mut found);
        found.sort_by_key(|(_, start)| *start);
        all.extend(found.into_iter().map(|(path, start)| (path, At { file, start: start as u32 })));
    }
    all
}

fn object(node: &Object<'_>, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
    let mut names = HashSet::new();
    for property in node.properties.iter().rev() {
        let name = property.name.as_str();
        path.push(name.into());
        if names.insert(name) {
            value(&property.value, path, found);
        } else {
            found.push((path.clone(), property.start()));
        }
        path.pop();
    }
}

fn value(node: &Value<'_>, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
    match node {
        Value::Object(inner) => object(inner, path, found),
        Value::Array(list) => {
            path.push("[]".into());
            list.elements.iter().for_each(|item| value(item, path, found));
            path.pop();
        }
        _ => {}
    }
}
