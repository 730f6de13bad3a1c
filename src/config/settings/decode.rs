//! From a source to the gateway's keys, with all that is to be said of them.

use crate::config::{
    Env, Paths,
    credentials::{reference::Resolver, variables::Variables},
    lint::{self, Complaint},
    model::{
        GatewayConfig,
        tree::{Fault, Tree},
    },
    text::source::{ReadError, Source},
};
use std::path::PathBuf;
use std::sync::Arc;

/// How the file was found.
#[derive(Debug)]
pub enum FileState {
    /// Not there.
    Missing,
    /// There, but it or what it includes cannot be read: closed to us, or half written, say.
    Broken(ReadError),
    /// Read.
    Whole,
}

impl FileState {
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
    pub faults: Vec<Fault>,
    /// What is odd about other keys.
    pub complaints: Vec<Complaint>,
    /// How the file was found.
    pub found: FileState,
    /// Whether the keys are those that ran last, the file itself being unreadable or invalid.
    pub last: bool,
    /// Whether `gateway.tls` is what ran last, since it makes no sense as it is.
    pub last_tls: bool,
    /// Every file that was looked at, there or not.
    pub files: Vec<PathBuf>,
}

/// Reads the keys out of `source`.
pub fn decode(source: Source, paths: &Paths, env: &Env, found: FileState, mut files: Vec<PathBuf>) -> Loaded {
    let variables = Variables::new(env, paths, &source.root);
    let complaints = lint::complaints(&source, variables);
    let (config, faults) = {
        let tree = Tree::new(&source, variables);
        let config = {
            let root = tree.root();
            let resolver = Resolver { paths, root: &root };
            files.extend(resolver.files());
            GatewayConfig::decode(&root, &resolver)
        };
        (config, tree.into_faults())
    };
    Loaded { config, source: source.into(), faults, complaints, found, last: false, last_tls: false, files }
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
        faults: Vec::new(),
        complaints: Vec::new(),
        found: FileState::Broken(broken),
        last: false,
        last_tls: false,
        files,
    }
}
