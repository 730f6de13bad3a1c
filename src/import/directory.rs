//! Reads the paired devices in a state directory of OpenClaw; never writes there.

use super::{NodeSurface, Record, devices, surfaces};
use miniserde::json::Value;
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

#[derive(Default)]
pub struct Listed {
    pub devices: Vec<Record>,
    /// Commands that its nodes may be invoked with.
    pub surfaces: Vec<NodeSurface>,
    /// Notice for the operator.
    pub notice: Option<String>,
}

/// Why a directory gives no devices.
#[derive(Debug)]
pub enum BadSource {
    /// There is nothing of that name.
    Missing(PathBuf),
    /// The devices are in a SQLite database, which only OpenClaw reads.
    Sqlite(PathBuf),
    /// The directory never paired a device.
    Empty(PathBuf),
    /// A file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A file is not JSON.
    NotJson(PathBuf),
}

/// The way to devices that are in a database.
const THROUGH_GATEWAY: &str =
    "start that OpenClaw and ask it: barnacle import --from ws://127.0.0.1:18789 --token <its token>";

impl fmt::Display for BadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(
                    f,
                    "{} is not there; name OpenClaw's state directory: --from ~/.openclaw",
                    path.display()
                )
            }
            Self::Sqlite(path) => write!(f, "devices are in {}; {THROUGH_GATEWAY}", path.display()),
            Self::Empty(path) => write!(
                f,
                "{} is not there: this OpenClaw paired no device, or is of a version that keeps them elsewhere; \
                 {THROUGH_GATEWAY}",
                path.display()
            ),
            Self::Unreadable(path, e) => write!(f, "{} cannot be read: {e}", path.display()),
            Self::NotJson(path) => write!(
                f,
                "{} is not JSON: cut short, perhaps. OpenClaw may have put a copy beside it; name that file: \
                 --from <file>",
                path.display()
            ),
        }
    }
}

impl std::error::Error for BadSource {}

/// Reads the devices of the state directory `path`, or of a file that is one's `devices/paired.json`.
pub fn read(path: &Path, now_ms: u64) -> Result<Listed, BadSource> {
    if path.is_file() {
        let list = json(path)?.ok_or_else(|| BadSource::Missing(path.into()))?;
        return Ok(Listed { devices: devices(&list, now_ms), ..Listed::default() });
    }
    if !path.is_dir() {
        return Err(BadSource::Missing(path.into()));
    }
    let (paired, sqlite) = (path.join("devices/paired.json"), path.join("state/openclaw.sqlite"));
    let Some(list) = json(&paired)? else {
        return Err(if sqlite.exists() { BadSource::Sqlite(sqlite) } else { BadSource::Empty(paired) });
    };
    let nodes = json(&path.join("nodes/paired.json"))?.unwrap_or_default();
    let newer = || {
        format!("{} is there too, and newer versions keep devices in it: {THROUGH_GATEWAY}", sqlite.display())
    };
    Ok(Listed {
        devices: devices(&list, now_ms),
        surfaces: surfaces(&nodes),
        notice: sqlite.exists().then(newer),
    })
}

fn json(path: &Path) -> Result<Option<Value>, BadSource> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| BadSource::NotJson(path.into()))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(BadSource::Unreadable(path.into(), e)),
    };
    miniserde::json::from_str(&text).map(Some).map_err(|_| BadSource::NotJson(path.into()))
}
