//! Summing up a conversation that has grown: what is kept word for word, what is summed up, and what stands in for a summary
//! where no model gives one.
//!
//! Source of the rules: OpenClaw's `docs/concepts/compaction.md`.

use super::conversation::{Line, Said};
use std::fmt::Write;

/// An entry of a transcript, as far as it concerns a summary.
#[derive(Clone, Debug)]
pub struct Part {
    /// Id of the entry.
    pub id: String,
    /// What it says.
    pub line: Line,
    /// Bytes that it takes before a model.
    pub bytes: usize,
}

/// Pieces that are summed up, one after the other: of more only the last ones are.
const PIECES: usize = 6;
/// Characters of a message and of a tool's result in a piece.
const MESSAGE: usize = 4000;
const RESULT: usize = 600;
/// Characters of an outline, and of each message in it.
const OUTLINE: usize = 2000;
const MENTION: usize = 120;

/// The standing instructions of a model that sums up.
pub const INSTRUCTIONS: &str = "You sum up a conversation between a user and an assistant, for the assistant, who goes on with it and will not see what \
     you sum up. Keep what the user wants and has decided, facts, names, numbers, identifiers and paths exactly as they are, \
     what tools have changed, and what is still open. Leave out greetings and what has been settled. Answer with the summary \
     alone, in the language of the conversation, in 400 words at most.";

/// The place from which on everything is kept: a message of a user, with at most `keep` bytes from there on, or the last one.
/// `None` where nothing is before it.
pub fn cut(parts: &[Part], keep: usize) -> Option<usize> {
    let mut bytes = 0;
    let mut at = None;
    for (n, part) in parts.iter().enumerate().rev() {
        bytes += part.bytes;
        if matches!(part.line.said, Said::User(_)) {
            if at.is_some() && bytes > keep {
                break;
            }
            at = Some(n);
        }
    }
    at.filter(|at| *at > 0)
}

/// What is to be summed up, in pieces of `most` bytes at most.
pub fn pieces(parts: &[Part], most: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for text in parts.iter().filter_map(|part| shown(&part.line.said)) {
        let text = shortened(&text, most.saturating_sub(1).max(1));
        match pieces.last_mut() {
            Some(last) if last.len() + text.len() < most => last.push_str(&text),
            _ => pieces.push(text),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    let first = pieces.len().saturating_sub(PIECES);
    pieces.split_off(first)
}

/// The request for a summary of `piece`, where `before` sums up what was before it.
pub fn request(before: Option<&str>, piece: &str, attention: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(before) = before {
        let _ = write!(text, "What was said before, summed up:\n{before}\n\n");
    }
    let _ = write!(text, "The conversation:\n{piece}\nSum up all of it, what was said before too.");
    if let Some(attention) = attention {
        let _ = write!(text, " Do not leave out: {attention}");
    }
    text
}

/// What stands in for a summary: what the user wanted, in the beginning of each message.
pub fn outline(before: Option<&str>, parts: &[Part]) -> String {
    let mut text =
        String::from("There is no summary of what was said before. The user's messages began with:\n");
    if let Some(before) = before {
        text = format!("{}\n\nThen the user's messages began with:\n", shortened(before, OUTLINE));
    }
    let said = parts.iter().filter_map(|part| match &part.line.said {
        Said::User(said) if !said.trim().is_empty() => Some(format!("- {}\n", one_line(said, MENTION))),
        _ => None,
    });
    let all: Vec<String> = said.collect();
    // The first one says what it is about; of the others the last ones count.
    let mut left = OUTLINE;
    let mut kept = Vec::new();
    for (n, line) in all.iter().enumerate().rev() {
        if line.len() > left {
            break;
        }
        left -= line.len();
        kept.push(n);
    }
    let from = kept.last().copied().unwrap_or(0);
    if from > 0 {
        text.push_str(&all[0]);
        if from > 1 {
            let _ = writeln!(text, "- ({} more)", from - 1);
        }
    }
    all[from..].iter().for_each(|line| text.push_str(line));
    text.trim_end().to_owned()
}

/// Whether `summary` may stand for `bytes` bytes: it says something, and is shorter.
pub fn reduces(summary: &str, bytes: usize) -> bool {
    !summary.trim().is_empty() && summary.len() < bytes
}

fn shown(said: &Said) -> Option<String> {
    match said {
        Said::User(text) => Some(format!("User: {}\n", shortened(text, MESSAGE))),
        Said::Assistant(text, calls) => {
            let mut line = format!("Assistant: {}", shortened(text, MESSAGE));
            for call in calls {
                let _ = write!(line, " [uses {} with {}]", call.name, shortened(&call.arguments, RESULT));
            }
            Some(line + "\n")
        }
        Said::Tool(_, text, is_error) => {
            let what = if *is_error { "failed" } else { "gave" };
            Some(format!("The tool {what}: {}\n", shortened(text, RESULT)))
        }
        Said::Brought(_, text) => Some(format!("The tool gave: {}\n", shortened(text, RESULT))),
        Said::TookIn(_) => None,
    }
}

/// The beginning of a text: `most` bytes at most.
fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub("…".len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

fn one_line(text: &str, most: usize) -> String {
    shortened(&text.split_whitespace().collect::<Vec<_>>().join(" "), most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::conversation::Call;

    fn part(id: usize, said: Said) -> Part {
        let bytes = shown(&said).map_or(0, |text| text.len());
        Part { id: format!("e{id}"), line: Line { said, run: None, failed: false }, bytes }
    }

    fn talk(turns: usize, size: usize) -> Vec<Part> {
        let turn = |n: usize| {
            let call = Call { id: format!("c{n}"), name: "look".into(), arguments: "{}".into() };
            [
                Said::User(format!("question {n} {}", "q".repeat(size))),
                Said::Assistant(String::new(), vec![call]),
                Said::Tool(format!("c{n}"), "found".into(), false),
                Said::Assistant(format!("answer {n}"), vec![]),
            ]
        };
        (0..turns).flat_map(turn).enumerate().map(|(n, said)| part(n, said)).collect()
    }

    #[test]
    fn what_is_kept_begins_with_a_user_and_keeps_the_last_one() {
        let parts = talk(10, 100);
        let exchange: usize = parts[..4].iter().map(|part| part.bytes).sum();
        for (keep, expected) in [(0, Some(36)), (exchange * 3 + 20, Some(28)), (exchange * 20, None)] {
            assert_eq!(cut(&parts, keep), expected, "{keep}");
        }
        assert_eq!(cut(&[], 10), None);
        assert_eq!(cut(&talk(1, 10), 0), None, "the only exchange is kept");
    }

    #[test]
    fn pieces_fit_and_are_the_last_ones() {
        let parts = talk(50, 300);
        for most in [1, 50, 700, 5000, 1 << 20] {
            let pieces = pieces(&parts, most);
            assert!((1..=PIECES).contains(&pieces.len()), "{most}");
            assert!(pieces.iter().all(|piece| piece.len() <= most.max("…".len())), "{most}");
        }
        assert!(pieces(&parts, 700).last().unwrap().contains("answer 49"));
        assert!(pieces(&[], 700).is_empty());
    }

    #[test]
    fn an_outline_has_the_first_message_and_the_last_ones() {
        let whole = outline(None, &talk(3, 5));
        assert!(whole.contains("question 0 qqqqq") && whole.contains("question 2"), "{whole}");
        let long = outline(Some("They spoke of pumps."), &talk(200, 500));
        assert!(long.starts_with("They spoke of pumps.") && long.len() < 2 * OUTLINE, "{long}");
        for part in ["question 0 ", "more)", "question 199 "] {
            assert!(long.contains(part), "{part}: {long}");
        }
        assert!(outline(None, &[]).contains("no summary"));
    }

    #[test]
    fn a_summary_is_shorter_than_what_it_stands_for() {
        assert!(reduces("short", 100) && !reduces("short", 5) && !reduces(" \n", 100));
    }
}
