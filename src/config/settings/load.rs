//! Loads the gateway's keys from the files, whatever state the files are in.
//!
//! A file that cannot be read changes nothing that ran: its last good text is kept beside the token store
//! and holds until the file is fixed.

use crate::config::{
    Env, Paths,
    credentials::{reference::Resolver, variables::Variables},
    keys::words::Bind,
    lint::{self, Warning},
    model::{
        GatewayConfig,
        tree::{ConfigError, Tree},
    },
    text::{
        file::{self, Document, Read},
        node::{Entry, Node, Value},
        source::{Gathered, ReadError, Source},
    },
};
use std::path::PathBuf;
use std::sync::Arc;

/// State in which the file was found.
#[derive(Debug)]
pub enum FileState {
    /// The file does not exist.
    Missing,
    /// There, but it or what it includes cannot be read: closed to us, or half written, say.
    Broken(ReadError),
    /// The file was read completely.
    Whole,
}

impl FileState {
    /// Whether the file was read completely.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }
}

/// The gateway's keys, and how they were obtained.
pub struct Loaded {
    /// The keys; every one at its closed value where the file could not be read.
    pub config: GatewayConfig,
    /// Text and tree that the keys were decoded from.
    pub source: Arc<Source>,
    /// Errors of keys that were not accepted.
    pub errors: Vec<ConfigError>,
    /// Lint warnings of other keys.
    pub lint: Vec<Warning>,
    /// State in which the file was found.
    pub found: FileState,
    /// Whether the keys are those that ran last, the file itself being unreadable or invalid.
    pub last: bool,
    /// Whether `gateway.tls` is what ran last, since it makes no sense as it is.
    pub last_tls: bool,
    /// Bind of the settings that ran last, where `gateway.bind` is invalid.
    pub last_bind: Option<Bind>,
    /// Every file that was looked at, there or not.
    pub files: Vec<PathBuf>,
}

/// Reads the keys out of `source`.
pub fn decode(source: Source, paths: &Paths, env: &Env, found: FileState, mut files: Vec<PathBuf>) -> Loaded {
    let variables = Variables::new(env, paths, &source.root);
    let lint = lint::warnings(&source, variables);
    let (config, errors) = {
        let tree = Tree::new(&source, variables);
        let config = {
            let root = tree.root();
            let resolver = Resolver { paths, root: &root };
            files.extend(resolver.files());
            GatewayConfig::decode(&root, &resolver)
        };
        (config, tree.into_errors())
    };
    Loaded {
        config,
        source: source.into(),
        errors,
        lint,
        found,
        last: false,
        last_tls: false,
        last_bind: None,
        files,
    }
}

/// The keys of a file that cannot be read, with nothing that ran before: every one at its closed value.
pub(crate) fn closed(paths: &Paths, env: &Env, broken: ReadError, files: Vec<PathBuf>) -> Loaded {
    let source = Source::empty(&paths.config_file);
    let config = {
        let tree = Tree::new(&source, Variables::new(env, paths, &source.root));
        let root = tree.broken();
        GatewayConfig::decode(&root, &Resolver { paths, root: &root })
    };
    Loaded {
        config,
        source: source.into(),
        errors: Vec::new(),
        lint: Vec::new(),
        found: FileState::Broken(broken),
        last: false,
        last_tls: false,
        last_bind: None,
        files,
    }
}

/// Reads the config file and what it includes; `instead` is a text to take for the file's.
pub fn load(paths: &Paths, env: &Env, instead: Option<&str>) -> Loaded {
    let Gathered { source, files } = match instead {
        Some(text) => Source::of(Document::unwritten(&paths.config_file, text), paths, env),
        None => Source::read(paths, env),
    };
    match source.and_then(decided) {
        Ok(Some(source)) => {
            let mut loaded = decode(source, paths, env, FileState::Whole, files);
            stand_in(&mut loaded, paths, env);
            loaded
        }
        // What ran once is not forgotten because the file is gone: nobody is locked out by a lost file.
        Ok(None) => match last_run(paths, env) {
            Some(source) => Loaded { last: true, ..decode(source, paths, env, FileState::Missing, files) },
            None => decode(Source::empty(&paths.config_file), paths, env, FileState::Missing, files),
        },
        Err(broken) => match last_run(paths, env) {
            Some(source) => {
                Loaded { last: true, ..decode(source, paths, env, FileState::Broken(broken), files) }
            }
            None => closed(paths, env, broken, files),
        },
    }
}

/// A file whose `gateway` is no object says neither where to listen nor whom to let in: it is as good as
/// unreadable.
fn decided(source: Option<Source>) -> Result<Option<Source>, ReadError> {
    let Some(source) = source else { return Ok(None) };
    let gateway =
        source.root.get("gateway").filter(|node| !matches!(node.value, Value::Object(_) | Value::Null));
    match gateway {
        Some(node) => {
            Err(source.invalid(node, format!("gateway is {}, must be an object {{…}}", node.kind())))
        }
        None => Ok(Some(source)),
    }
}

/// Reads the configuration that ran last.
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
    let last = decode(source, paths, env, FileState::Whole, Vec::new());
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
