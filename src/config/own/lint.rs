//! Lint of Barnacle's own file: unknown keys, keys that stand twice, and those that are still in `openclaw.json`.

use crate::config::{
    Paths, Warning,
    keys::own::{MOVED, OWN},
    lint::{self, Rule, dotted, near, placed},
    text::{
        node::{Node, Value},
        source::Source,
    },
};

/// Lints the file.
pub(super) fn warnings(source: &Source) -> Vec<Warning> {
    let mut found = Vec::new();
    unknown(source, &source.root, &mut Vec::new(), &mut found);
    found.extend(lint::doubled(source));
    found.extend(lint::unlike_variables(source, |path| OWN.exact(path).is_some()));
    found
}

/// Warns of keys below `node` that have no row.
fn unknown<'s>(source: &'s Source, node: &'s Node, path: &mut Vec<&'s str>, found: &mut Vec<Warning>) {
    for entry in node.entries() {
        let above = dotted(path);
        path.push(&entry.name);
        let has_row = OWN.exact(path).is_some();
        let is_section = OWN.has_below(path);
        match &entry.node.value {
            Value::Object(_) if is_section && !has_row => unknown(source, &entry.node, path, found),
            _ if has_row || is_section => {}
            _ if found.len() >= lint::MOST => {}
            _ => {
                let own = dotted(path);
                let meant = meant(&above, &entry.name).map(|m| format!("; did you mean {m}?"));
                let message = format!(
                    "{own} ({}) is no key of Barnacle's, and is ignored{}",
                    entry.node.kind(),
                    meant.unwrap_or_default()
                );
                let place = Some(placed(source, entry.at));
                found.push(Warning { rule: Rule::Unknown, path: own, place, message });
            }
        }
        path.pop();
    }
}

/// The key that `name`, in the object at `above`, was meant to be: one like it there, else one of that name elsewhere.
fn meant(above: &str, name: &str) -> Option<String> {
    let beside = OWN.all().filter_map(|key| match above {
        "" => key.path.split('.').next(),
        above => key.path.strip_prefix(above)?.strip_prefix('.'),
    });
    let join = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    let elsewhere = || {
        let leaves = OWN.all().map(|key| key.path.rsplit('.').next().unwrap_or_default());
        let (leaf, _) = near::nearest(name, leaves)?;
        OWN.all().find(|key| key.path.ends_with(&format!(".{leaf}"))).map(|key| key.path.to_owned())
    };
    near::nearest(name, beside).map(|(name, _)| join(name)).or_else(elsewhere)
}

/// Warns of keys that stand in `openclaw.json` and belong into the file `own`.
pub(super) fn moved(openclaw: &Source, own: &Source, paths: &Paths) -> Vec<Warning> {
    let warning = |path: &&str| {
        let node = openclaw.root.get("gateway")?.find(path.split('.'))?;
        let counts = match own.root.find(path.split('.')) {
            Some(_) => "; it is there too, and counts",
            None => "",
        };
        let message = format!(
            "gateway.{path} is Barnacle's own key, and OpenClaw refuses a file that has it; `barnacle doctor --fix` moves \
             it to {path} in {}{counts}",
            paths.own_file().display()
        );
        let place = Some(placed(openclaw, node.at));
        Some(Warning { rule: Rule::Own, path: format!("gateway.{path}"), place, message })
    };
    MOVED.iter().filter_map(warning).collect()
}
