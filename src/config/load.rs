//! From the file to the gateway's keys, whatever state the file is in.
//!
//! A file that cannot be read costs nothing that ran: its last good text is kept beside the token store,
//! and holds until the file is mended.

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
    /// Whether the keys are those that ran last, the file itself being unreadable or invalid.
    pub last: bool,
}

/// Reads the config file.
pub fn load(paths: &Paths, env: &Env) -> Loaded {
    let broken = |found| {
        if let Read::Text(last) = file::read(&paths.last_config())
            && let Ok(last) = decode(&last, paths, env)
        {
            return Loaded { found, last: true, ..last };
        }
        let nothing = Document::unwritten(&paths.config_file, "");
        let tree = Tree::new(&nothing);
        let root = tree.broken();
        Loaded { config: keys(&root, paths, env), faults: Vec::new(), found, last: false }
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
    Ok(Loaded { config, faults: tree.into_faults(), found: Found::Whole, last: false })
}

/// The text to keep as the one that runs, unless it is kept already or is no configuration.
pub fn to_keep(paths: &Paths) -> Option<String> {
    let Read::Text(running) = file::read(&paths.config_file) else { return None };
    let kept = matches!(file::read(&paths.last_config()), Read::Text(last) if last.text == running.text);
    (!kept && running.parse().is_ok()).then_some(running.text)
}

fn keys(root: &Section<'_>, paths: &Paths, env: &Env) -> GatewayConfig {
    GatewayConfig::decode(root, &Resolver { env, paths, root })
}
