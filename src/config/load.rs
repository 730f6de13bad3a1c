//! From the file to the gateway's keys, whatever state the file is in.

use super::file::{self, Document, Invalid, Read, Unreadable};
use super::model::GatewayConfig;
use super::reference::Resolver;
use super::tree::{Fault, Section, Tree};
use super::{Env, Paths};

/// How the file was found.
pub enum Found {
    /// Not there.
    Missing,
    /// There, but closed to us.
    Unreadable(Unreadable),
    /// There, but no JSON5: half written, say.
    Invalid(Invalid),
    /// Read.
    Whole,
}

/// The gateway's keys, and how they were come by.
pub struct Loaded {
    /// The keys; every one at its closed value where the file could not be read.
    pub config: GatewayConfig,
    /// Keys that were wrong.
    pub faults: Vec<Fault>,
    /// How the file was found.
    pub found: Found,
}

/// Reads the config file.
pub fn load(paths: &Paths, env: &Env) -> Loaded {
    let broken = |found| {
        let nothing = Document::unwritten(&paths.config_file, "");
        let tree = Tree::new(&nothing);
        let root = tree.broken();
        Loaded { config: keys(&root, paths, env), faults: Vec::new(), found }
    };
    match file::read(&paths.config_file) {
        Read::Text(source) => decode(&source, paths, env).unwrap_or_else(|e| broken(Found::Invalid(e))),
        Read::Unreadable(fault) => broken(Found::Unreadable(fault)),
        Read::Missing => {
            let empty = Document::unwritten(&paths.config_file, "{}");
            let loaded = decode(&empty, paths, env);
            loaded.map_or_else(|e| broken(Found::Invalid(e)), |l| Loaded { found: Found::Missing, ..l })
        }
    }
}

/// Reads the keys out of a text.
///
/// # Errors
/// [`Invalid`] where it is no JSON5 object.
pub fn decode(source: &Document, paths: &Paths, env: &Env) -> Result<Loaded, Invalid> {
    let object = source.parse()?;
    let tree = Tree::new(source);
    let config = keys(&tree.root(&object), paths, env);
    Ok(Loaded { config, faults: tree.into_faults(), found: Found::Whole })
}

fn keys(root: &Section<'_>, paths: &Paths, env: &Env) -> GatewayConfig {
    GatewayConfig::decode(root, &Resolver { env, paths, root })
}
