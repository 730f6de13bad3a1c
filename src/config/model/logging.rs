//! `logging`: how much is said, and where.

use super::tree::Section;
use log::LevelFilter;

/// What is kept and what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// `logging.level`: what `logs.tail` gives.
    pub kept: LevelFilter,
    /// `logging.consoleLevel`: what goes to stderr; the same unless it says otherwise.
    pub printed: LevelFilter,
}

impl Levels {
    /// Those of a start with `--verbose`, whatever the file says.
    pub const VERBOSE: Self = Self { kept: LevelFilter::Debug, printed: LevelFilter::Debug };
    /// Those of a file that says nothing.
    pub const USUAL: Self = Self { kept: LevelFilter::Info, printed: LevelFilter::Info };

    /// Reads the keys out of `root`.
    pub fn decode(root: &Section<'_>) -> Self {
        let logging = root.section("logging");
        let kept = logging.word("level").unwrap_or(LevelFilter::Info);
        Self { kept, printed: logging.word("consoleLevel").unwrap_or(kept) }
    }
}
