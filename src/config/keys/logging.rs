//! Keys under `logging`.

use super::{Effect::Log, Key, Visibility::Public, key, one_of};
use log::LevelFilter;

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("logging.level", one_of::<LevelFilter>(Some("info"), Some("info")), Log, Public,
        "Log Level", "Least severe lines that the kept log takes."),
    key("logging.consoleLevel", one_of::<LevelFilter>(None, None), Log, Public,
        "Console Log Level", "Least severe lines that standard error takes; as logging.level without the key."),
];
