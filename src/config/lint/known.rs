//! The keys that OpenClaw's configuration knows, of the newest release and of those before it.
//!
//! `known-keys.txt` is walked as it stands: nothing of it is kept in memory. Its own head says how it is
//! written.

/// A key that is known, or the root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Name of the key; `*` for any, `[]` for an entry of a list.
    pub(crate) name: &'static str,
    /// Whether the newest release has it no more.
    pub(crate) gone: bool,
    /// Path of the key whose children it shares.
    like: Option<&'static str>,
    below: &'static str,
    /// Indentation of its children.
    depth: usize,
}

impl Known {
    /// Root of the tree of known keys.
    pub(crate) const ROOT: Self =
        Self { name: "", gone: false, like: None, below: include_str!("known-keys.txt"), depth: 0 };

    fn leaf(word: &'static str) -> Self {
        let (name, gone) = word.strip_suffix('-').map_or((word, false), |name| (name, true));
        Self { name, gone, like: None, below: "", depth: 0 }
    }

    /// The keys that may stand in it; none where anything may.
    pub(crate) fn children(self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut rest = self.below;
        while let Some((line, below)) = rest.split_once('\n') {
            rest = below;
            let text = line.trim_start_matches(' ');
            let depth = line.len() - text.len();
            if depth < self.depth {
                break;
            }
            if depth > self.depth || text.starts_with('#') {
                continue;
            }
            match text.strip_prefix("+ ") {
                Some(leaves) => all.extend(leaves.split(' ').map(Self::leaf)),
                None => {
                    let (word, like) = text.split_once(" = ").map_or((text, None), |(w, l)| (w, Some(l)));
                    all.push(Self { like, below, depth: depth + 1, ..Self::leaf(word) });
                }
            }
        }
        if let Some(other) = self.like.and_then(|path| Self::find(path.split('.'))) {
            all.extend(other.children());
        }
        all
    }

    /// The key `name` of those that may stand in it.
    pub(crate) fn child(self, name: &str) -> Option<Self> {
        pick(&self.children(), name)
    }

    /// The key at `path` from the root.
    pub(crate) fn find<'p>(path: impl IntoIterator<Item = &'p str>) -> Option<Self> {
        path.into_iter().try_fold(Self::ROOT, |known, name| known.child(name))
    }

    /// The paths at which a key is called `name`, in their order; not those that are written by reference.
    pub(crate) fn paths_of(name: &str) -> Vec<Vec<&'static str>> {
        let (mut above, mut paths): (Vec<&'static str>, Vec<_>) = (Vec::new(), Vec::new());
        for line in Self::ROOT.below.lines().filter(|l| !l.starts_with('#')) {
            let text = line.trim_start_matches(' ');
            above.truncate(line.len() - text.len());
            let mut note = |key: Self| {
                if key.name == name {
                    paths.push(above.iter().copied().chain([key.name]).collect());
                }
            };
            match text.strip_prefix("+ ") {
                Some(leaves) => leaves.split(' ').map(Self::leaf).for_each(note),
                None => {
                    let key = Self::leaf(text.split(' ').next().unwrap_or(text));
                    note(key);
                    above.push(key.name);
                }
            }
        }
        paths
    }
}

/// The one of `keys` that `name` is: itself, or any.
pub(crate) fn pick(keys: &[Known], name: &str) -> Option<Known> {
    let called = |wanted| keys.iter().find(|k| k.name == wanted).copied();
    called(name).or_else(|| called("*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference leads somewhere, and every line is reached.
    #[test]
    fn the_list_holds_together() {
        let mut names = 0;
        for line in Known::ROOT.below.lines().filter(|l| !l.starts_with('#')) {
            let text = line.trim_start();
            let (text, like) = text.split_once(" = ").map_or((text, None), |(t, l)| (t, Some(l)));
            names += text.strip_prefix("+ ").map_or(1, |leaves| leaves.split(' ').count());
            let leads = |path: &str| Known::find(path.split('.')).is_some_and(|k| !k.children().is_empty());
            assert!(like.is_none_or(leads), "{line}");
        }
        fn count(known: Known) -> usize {
            Known { like: None, ..known }.children().into_iter().map(|child| 1 + count(child)).sum()
        }
        assert_eq!(count(Known::ROOT), names);
    }

    #[test]
    fn keys_are_found() {
        let find = |path: &str| Known::find(path.split('.'));
        assert!(find("gateway.auth.token").is_some_and(|k| !k.gone));
        assert!(find("channels.whatsapp.ackReaction").is_some_and(|k| k.gone));
        assert!(find("channels.whatsapp.accounts.work.groups.123.requireMention").is_some());
        assert!(find("agents.list.[].thinkingDefault").is_some());
        assert!(find("gateway.nonsense").is_none());
        assert!(Known::paths_of("mdns").contains(&vec!["discovery", "mdns"]));
        assert!(Known::paths_of("sshVerify").contains(&vec!["gateway", "nodes", "pairing", "sshVerify"]));
    }
}
