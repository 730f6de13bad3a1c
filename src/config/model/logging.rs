//! `logging`: log levels.

use super::tree::Section;
use crate::journal::Levels;
use log::LevelFilter;

impl Levels {
    /// Reads the keys out of `root`.
    pub(crate) fn decode(root: &Section<'_>) -> Self {
        let logging = root.section("logging");
        let kept = logging.word("level").unwrap_or(LevelFilter::Info);
        Self { kept, printed: logging.word("consoleLevel").unwrap_or(kept) }
    }
}
