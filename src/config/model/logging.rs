//! `logging`: log levels.

use super::tree::Section;
use log::LevelFilter;

/// Levels of the kept log and of standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// `logging.level`: the log that `logs.tail` returns.
    pub kept: LevelFilter,
    /// `logging.consoleLevel`: standard error; `logging.level` without that key.
    pub printed: LevelFilter,
}

impl Levels {
    /// Levels of a start with `--verbose`, whatever the file says.
    pub const VERBOSE: Self = Self { kept: LevelFilter::Debug, printed: LevelFilter::Debug };
    /// Levels where no key sets them.
    pub const USUAL: Self = Self { kept: LevelFilter::Info, printed: LevelFilter::Info };

    /// Reads the keys out of `root`.
    pub(crate) fn decode(root: &Section<'_>) -> Self {
        let logging = root.section("logging");
        let kept = logging.word("level").unwrap_or(LevelFilter::Info);
        Self { kept, printed: logging.word("consoleLevel").unwrap_or(kept) }
    }
}
