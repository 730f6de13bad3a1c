//! Trivia of a JSON5 text: blanks, line ends and comments between its values.

/// Bytes of blanks at the start of `text`.
pub(crate) fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}

/// Bytes of the comment that `text` begins with; 0 if there is none.
pub(crate) fn comment(text: &str) -> usize {
    if text.starts_with("//") {
        text.find(['\n', '\r']).unwrap_or(text.len())
    } else if text.starts_with("/*") {
        text.find("*/").map_or(text.len(), |n| n + 2)
    } else {
        0
    }
}

/// Bytes of blanks, line ends and comments at the start of `text`.
pub(crate) fn trivia(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text[at..].trim_start();
        let comment = comment(rest);
        at = text.len() - rest.len() + comment;
        if comment == 0 {
            return at;
        }
    }
}
