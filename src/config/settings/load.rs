//! From the files to the gateway's keys, whatever state the files are in.
//!
//! A file that cannot be read costs nothing that ran: its last good text is kept beside the token store,
//! and holds until the file is mended.

use super::{
    decode::{FileState, Loaded, closed, decode},
    last_good::{self, last_run},
};
use crate::config::{
    Env, Paths,
    text::{
        file::Document,
        node::Value,
        source::{ReadError, Gathered, Source},
    },
};

/// Reads the config file and what it includes; `instead` is a text to take for the file's.
pub fn load(paths: &Paths, env: &Env, instead: Option<&str>) -> Loaded {
    let Gathered { source, files } = match instead {
        Some(text) => Source::of(Document::unwritten(&paths.config_file, text), paths, env),
        None => Source::read(paths, env),
    };
    match source.and_then(decided) {
        Ok(Some(source)) => {
            let mut loaded = decode(source, paths, env, FileState::Whole, files);
            last_good::stand_in(&mut loaded, paths, env);
            loaded
        }
        // What ran once is not forgotten because the file is gone: nobody is locked out by a lost file.
        Ok(None) => match last_run(paths, env) {
            Some(source) => Loaded { last: true, ..decode(source, paths, env, FileState::Missing, files) },
            None => decode(Source::empty(&paths.config_file), paths, env, FileState::Missing, files),
        },
        Err(broken) => match last_run(paths, env) {
            Some(source) => Loaded { last: true, ..decode(source, paths, env, FileState::Broken(broken), files) },
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
