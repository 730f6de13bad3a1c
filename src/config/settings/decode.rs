//! From a source to the gateway's keys, with all that is to be said of them.

use crate::config::{
    Env, Paths,
    credentials::{reference::Resolver, variables::Variables},
    keys::words::Bind,
    lint::{self, Warning},
    model::{
        GatewayConfig,
        tree::{ConfigError, Tree},
    },
    text::source::{Broken, Source},
};
use std::path::PathBuf;
use std::sync::Arc;

/// How the file was found.
#[derive(Debug)]
pub enum Found {
    /// Not there.
    Missing,
    /// There, but it or what it includes cannot be read: closed to us, or half written, say.
    Broken(Broken),
    /// Read.
    Whole,
}

impl Found {
    /// Whether it was read.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }
}

/// The gateway's keys, and how they were come by.
pub struct Loaded {
    /// The keys; every one at its closed value where the file could not be read.
    pub config: GatewayConfig,
    /// What they were read from.
    pub source: Arc<Source>,
    /// Keys that were wrong.
    pub errors: Vec<ConfigError>,
    /// What is odd about other keys.
    pub lint: Vec<Warning>,
    /// How the file was found.
    pub found: Found,
    /// Whether the keys are those that ran last, the file itself being unreadable or invalid.
    pub last: bool,
    /// Whether `gateway.tls` is what ran last, since it makes no sense as it is.
    pub last_tls: bool,
    /// Where the gateway listened that ran last, where `gateway.bind` makes no sense.
    pub last_bind: Option<Bind>,
    /// Every file that was looked at, there or not.
    pub files: Vec<PathBuf>,
}

/// Reads the keys out of `source`.
pub fn decode(source: Source, paths: &Paths, env: &Env, found: Found, mut files: Vec<PathBuf>) -> Loaded {
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
pub(crate) fn closed(paths: &Paths, env: &Env, broken: Broken, files: Vec<PathBuf>) -> Loaded {
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
        found: Found::Broken(broken),
        last: false,
        last_tls: false,
        last_bind: None,
        files,
    }
}
