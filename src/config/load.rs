//! From the files to the gateway's keys, whatever state the files are in.
//!
//! A file that cannot be read costs nothing that ran: its last good text is kept beside the token store,
//! and holds until the file is mended.

use super::complaint::{self, Complaint};
use super::file::Document;
use super::last::{self, last_run};
use super::model::GatewayConfig;
use super::node::Value;
use super::reference::{Resolver, Variables};
use super::source::{Broken, Gathered, Source};
use super::tree::{Fault, Tree};
use super::{Env, Paths};
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
    pub faults: Vec<Fault>,
    /// What is odd about other keys.
    pub complaints: Vec<Complaint>,
    /// How the file was found.
    pub found: Found,
    /// Whether the keys are those that ran last, the file itself being unreadable or invalid.
    pub last: bool,
    /// Whether `gateway.tls` is what ran last, since it makes no sense as it is.
    pub last_tls: bool,
    /// Every file that was looked at, there or not.
    pub files: Vec<PathBuf>,
}

/// Reads the config file and what it includes; `instead` is a text to take for the file's.
pub fn load(paths: &Paths, env: &Env, instead: Option<&str>) -> Loaded {
    let Gathered { source, files } = match instead {
        Some(text) => Source::of(Document::unwritten(&paths.config_file, text), paths, env),
        None => Source::read(paths, env),
    };
    match source.and_then(decided) {
        Ok(Some(source)) => {
            let mut loaded = decode(source, paths, env, Found::Whole, files);
            last::stand_in(&mut loaded, paths, env);
            loaded
        }
        // What ran once is not forgotten because the file is gone: nobody is locked out by a lost file.
        Ok(None) => match last_run(paths, env) {
            Some(source) => Loaded { last: true, ..decode(source, paths, env, Found::Missing, files) },
            None => decode(Source::empty(&paths.config_file), paths, env, Found::Missing, files),
        },
        Err(broken) => match last_run(paths, env) {
            Some(source) => Loaded { last: true, ..decode(source, paths, env, Found::Broken(broken), files) },
            None => {
                let source = Source::empty(&paths.config_file);
                let config = {
                    let tree = Tree::new(&source, Variables::new(env, paths, &source.root));
                    let root = tree.broken();
                    GatewayConfig::decode(&root, &Resolver { paths, root: &root })
                };
                let found = Found::Broken(broken);
                Loaded {
                    config,
                    source: source.into(),
                    faults: Vec::new(),
                    complaints: Vec::new(),
                    found,
                    last: false,
                    last_tls: false,
                    files,
                }
            }
        },
    }
}

/// A file whose `gateway` is no object says neither where to listen nor whom to let in: it is as good as
/// unreadable.
fn decided(source: Option<Source>) -> Result<Option<Source>, Broken> {
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

/// Reads the keys out of `source`.
pub fn decode(source: Source, paths: &Paths, env: &Env, found: Found, files: Vec<PathBuf>) -> Loaded {
    let variables = Variables::new(env, paths, &source.root);
    let complaints = complaint::complaints(&source, variables);
    let (config, faults) = {
        let tree = Tree::new(&source, variables);
        let config = {
            let root = tree.root();
            GatewayConfig::decode(&root, &Resolver { paths, root: &root })
        };
        (config, tree.into_faults())
    };
    Loaded { config, source: source.into(), faults, complaints, found, last: false, last_tls: false, files }
}
