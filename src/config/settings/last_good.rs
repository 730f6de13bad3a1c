//! The configuration that ran last, kept beside the token store for a start at which the file makes no sense.

use super::decode::{FileState, Loaded, decode};
use crate::config::{
    Env, Paths,
    model::tree::Fault,
    text::{
        file::{self, Read},
        node::{Entry, Node, Value},
        source::Source,
    },
};

/// What ran last.
pub fn last_run(paths: &Paths, env: &Env) -> Option<Source> {
    let Read::Text(document) = file::read(&paths.last_config()) else { return None };
    Source::of(document, paths, env).source.ok().flatten()
}

/// Where keys that say where to listen, or how, make no sense, those that ran last hold: clients look for the
/// gateway where it was, and so do the commands of this host.
pub(crate) fn stand_in(loaded: &mut Loaded, paths: &Paths, env: &Env) {
    let wrong = |of: fn(&Fault) -> bool| loaded.faults.iter().any(of);
    let (listening, tls) = (wrong(Fault::is_of_listening), wrong(Fault::is_of_tls));
    if !listening && !tls {
        return;
    }
    let Some(source) = last_run(paths, env) else { return };
    let last = decode(source, paths, env, FileState::Whole, Vec::new());
    if listening && !last.faults.iter().any(Fault::is_of_listening) {
        let config = &mut loaded.config;
        (config.port, config.bind, config.custom_bind_host) =
            (last.config.port, last.config.bind, last.config.custom_bind_host);
        loaded.faults.iter_mut().filter(|fault| fault.is_of_listening()).for_each(as_before);
    }
    // Without TLS before, nobody is let in: it may have been asked for since.
    if tls && last.config.tls.enabled && !last.faults.iter().any(Fault::is_of_tls) {
        loaded.config.tls = last.config.tls;
        loaded.last_tls = true;
        loaded.faults.iter_mut().filter(|fault| fault.is_of_tls()).for_each(as_before);
    }
}

/// Says of a key that what it was before holds.
pub(crate) fn as_before(fault: &mut Fault) {
    fault.instead = "what it was before".into();
}

/// The text to keep as the one that runs, unless it is kept already; `faults` are those of its keys. Of keys that
/// make no sense and hold their value from before, that value is kept.
pub fn to_keep(paths: &Paths, env: &Env, running: &Source, faults: &[Fault]) -> Option<String> {
    let mut text = running.in_one_file();
    let listening = faults.iter().any(Fault::is_of_listening).then_some(&Fault::LISTENING[..]);
    let tls = faults.iter().any(Fault::is_of_tls).then_some(&["tls"][..]);
    let wrong = [listening, tls].into_iter().flatten().flatten();
    if let Some(last) = last_run(paths, env).filter(|_| listening.or(tls).is_some()) {
        let mut root = running.root.clone();
        wrong.for_each(|key| take_over(&mut root, &last.root, key));
        text = root.to_json();
    }
    let kept = matches!(file::read(&paths.last_config()), Read::Text(last) if last.text == text);
    (!kept).then_some(text)
}

/// Gives `gateway.<key>` of `root` the value that it has in `last`.
fn take_over(root: &mut Node, last: &Node, key: &str) {
    let Value::Object(entries) = &mut root.value else { return };
    let Some(gateway) = entries.iter_mut().find(|entry| &*entry.name == "gateway") else { return };
    let Value::Object(keys) = &mut gateway.node.value else { return };
    keys.retain(|entry| &*entry.name != key);
    if let Some(node) = last.find(["gateway", key]) {
        keys.push(Entry { name: key.into(), at: node.at, node: node.clone() });
    }
}
