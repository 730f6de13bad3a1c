//! The configuration that ran last, kept beside the token store for a start at which the file makes no sense.

use super::decode::{Found, Loaded, decode};
use crate::config::{
    Env, Paths, Settings,
    model::tree::ConfigError,
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

/// Takes the port and TLS from what ran last where they make no sense: clients look for the gateway where it
/// was, and so do the commands of this host. The address does not come back with a start: it may have been open
/// wider than is meant now.
pub(crate) fn stand_in(loaded: &mut Loaded, paths: &Paths, env: &Env) {
    let wrong = |of: fn(&ConfigError) -> bool| loaded.errors.iter().any(of);
    let (port, bind, tls) =
        (wrong(ConfigError::is_of_port), wrong(ConfigError::is_of_bind), wrong(ConfigError::is_of_tls));
    if !port && !bind && !tls {
        return;
    }
    let Some(source) = last_run(paths, env) else { return };
    let last = decode(source, paths, env, Found::Whole, Vec::new());
    let right = |of: fn(&ConfigError) -> bool| !last.errors.iter().any(of);
    if port && right(ConfigError::is_of_port) {
        loaded.config.port = last.config.port;
        loaded.errors.iter_mut().filter(|error| error.is_of_port()).for_each(ConfigError::keep);
    }
    if loaded.errors.iter().any(|error| error.path == "gateway.bind") && right(ConfigError::is_of_bind) {
        loaded.last_bind = Some(last.config.bind);
    }
    // Without TLS before, nobody is let in: it may have been asked for since.
    if tls && last.config.tls.enabled && right(ConfigError::is_of_tls) {
        loaded.config.tls = last.config.tls;
        loaded.last_tls = true;
        loaded.errors.iter_mut().filter(|error| error.is_of_tls()).for_each(ConfigError::keep);
    }
}

impl Settings {
    /// Listens where the gateway did that this process continues, where `gateway.bind` makes no sense.
    pub(crate) fn keep_last_bind(&mut self) {
        let Some(bind) = self.last_bind.take() else { return };
        self.bind = bind;
        self.errors.iter_mut().filter(|error| error.is_of_bind()).for_each(ConfigError::keep);
        self.close_what_is_open();
    }
}

/// The text to keep as the one that runs, unless it is kept already; `errors` are those of its keys. Of keys that
/// make no sense and hold their value from before, that value is kept.
pub fn to_keep(paths: &Paths, env: &Env, running: &Source, errors: &[ConfigError]) -> Option<String> {
    let mut text = running.in_one_file();
    let kept = |of: fn(&ConfigError) -> bool| errors.iter().any(|error| error.kept && of(error));
    let port = kept(ConfigError::is_of_port).then_some(&["port"][..]);
    let bind = kept(ConfigError::is_of_bind).then_some(&["bind", "customBindHost"][..]);
    let tls = errors.iter().any(ConfigError::is_of_tls).then_some(&["tls"][..]);
    let wrong: Vec<&str> = [port, bind, tls].into_iter().flatten().flatten().copied().collect();
    if let Some(last) = last_run(paths, env).filter(|_| !wrong.is_empty()) {
        let mut root = running.root.clone();
        wrong.into_iter().for_each(|key| take_over(&mut root, &last.root, key));
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
