//! The key this host's command line signs with where it needs a device: 32 random bytes in `cli.key`.
//!
//! No token is kept beside it: the key alone gets a paired device in.

use super::CallError;
use crate::{auth::identity::Identity, store::atomic};
use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path};

/// Loads the key in `dir`, or creates it.
pub fn load_or_create(dir: &Path) -> Result<Identity, CallError> {
    let path = dir.join("cli.key");
    let failed = |why: String| CallError::Key(path.clone(), why);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let seed = <[u8; 32]>::try_from(bytes);
            let fix = format!("it is not a key of 32 bytes; to have a new one made: rm {}", path.display());
            return seed.map(|seed| Identity::from_seed(&seed)).map_err(|_| failed(fix));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e.to_string())),
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| failed(e.to_string()))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| atomic::replace(&path, &seed, 0o600))
        .map_err(|e| failed(e.to_string()))?;
    Ok(Identity::from_seed(&seed))
}

/// Loads the key in `dir`, if there is one.
pub fn load(dir: &Path) -> Option<Identity> {
    let seed = <[u8; 32]>::try_from(std::fs::read(dir.join("cli.key")).ok()?).ok()?;
    Some(Identity::from_seed(&seed))
}
