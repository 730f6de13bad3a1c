//! Display texts that a peer sends about itself, made safe to show in a terminal, a table or a log line.

use std::borrow::Cow;

/// The most columns of a text that is shown.
pub const COLUMNS: usize = 64;

/// A text as it is shown: on one line, without control characters and without those that change the order or the
/// place of what stands around them, and cut at [`COLUMNS`].
pub fn displayed(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.len() <= COLUMNS && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let (mut columns, mut space) = (0, false);
    for c in text.chars().filter(|c| !is_hidden(*c)).take(4 * COLUMNS) {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        let more = width(c) + usize::from(space && !out.is_empty());
        if columns + more > COLUMNS {
            break;
        }
        if space && !out.is_empty() {
            out.push(' ');
        }
        (space, columns) = (false, columns + more);
        out.push(c);
    }
    Cow::Owned(out)
}

/// Whether a character shows nothing, and changes how others are shown.
fn is_hidden(c: char) -> bool {
    let control = c.is_control() && !c.is_whitespace();
    control
        || matches!(c,
            // Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX #9).
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Zero width, deprecated format controls, the byte order mark, annotations, tags.
            | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The columns that a character takes: two for East Asian wide ones and emoji, none for marks that combine.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let wide = "語".repeat(40);
        let rows = [
            ("Kitchen Pi", "Kitchen Pi"),
            ("  Küche 🍓 \n\t Pi ", "Küche 🍓 Pi"),
            ("\u{1b}[31mred\u{7}\u{9b}", "[31mred"),
            ("admin\u{202e}txt.exe\u{2066}", "admintxt.exe"),
            ("a\u{200b}b\u{feff}c\u{e0041}", "abc"),
            ("\u{2029}\u{202d}", ""),
            (&wide, &wide[..32 * 3]),
        ];
        for (text, shown) in rows {
            assert_eq!(displayed(text), shown, "{text:?}");
        }
        assert_eq!(displayed(&"x".repeat(3000)).len(), COLUMNS);
        // A flood of marks has no columns, and is no way around the limit.
        assert!(displayed(&format!("a{}", "\u{300}".repeat(9000))).len() <= 8 * COLUMNS);
    }
}
