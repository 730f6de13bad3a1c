//! Suggestions for a misspelt key.

use super::known::Known;
use crate::config::text::node::Node;

/// Longer names are no misspelling of anything.
const LONGEST: usize = 64;
/// A key that may stand in more places than these says nothing of where it belongs.
const PLACES: usize = 40;

/// The one of `names` that `name` is most like, and how many edits they differ by.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<(&'n str, usize)> {
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let own = plain(name);
    names
        .filter(|other| !matches!(*other, "*" | "[]"))
        .filter_map(|other| {
            let its = plain(other);
            let most = (own.chars().count().max(its.chars().count()) / 4).clamp(1, 3);
            let cost = edits(&own, &its);
            // `thinking` for `thinkingDefault`.
            let begun = own.len().min(its.len()) >= 5 && (its.starts_with(&own) || own.starts_with(&its));
            (cost <= most && cost < own.len()).then_some((other, cost)).or(begun.then_some((other, 4)))
        })
        .min_by_key(|(_, cost)| *cost)
}

/// Where a key called `name` is known, for one that stands at `path` of `root` and belongs elsewhere: as
/// near as can be, and in a section that is there.
pub(crate) fn elsewhere(name: &str, path: &[&str], root: &Node) -> Option<String> {
    if !(4..=LONGEST).contains(&name.len()) {
        return None;
    }
    let places = Known::paths_of(name);
    if places.len() > PLACES {
        return None;
    }
    let there = |place: &[&str]| {
        let mut node = Some(root);
        let is = |step: &&&str| {
            node = node.and_then(|n| n.get(step));
            node.is_some()
        };
        place.iter().take_while(is).count()
    };
    let shared = |place: &[&str]| place.iter().zip(path).take_while(|(a, b)| a == b).count();
    let place = places.iter().max_by_key(|p| {
        let above = &p[..p.len() - 1];
        (there(above) + shared(above), there(above), usize::MAX - p.len())
    })?;
    Some(place.join(".").replace(".[]", "[]"))
}

/// Counts the letters to change, add, drop or swap with their neighbour.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        let rows =
            [("", "", 0), ("port", "prot", 1), ("bind", "binds", 1), ("mode", "auth", 4), ("abc", "", 3)];
        for (a, b, n) in rows {
            assert_eq!(edits(a, b), n, "{a} {b}");
        }
        assert_eq!(nearest("prot", ["port", "mode"].into_iter()), Some(("port", 1)));
        assert_eq!(nearest("thinking", ["thinkingDefault"].into_iter()), Some(("thinkingDefault", 4)));
        assert_eq!(nearest("x", ["y"].into_iter()), None);
    }
}
