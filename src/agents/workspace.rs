//! The standing instructions of an agent: files of its workspace that people write.
//!
//! Source of the names and limits: OpenClaw's `docs/concepts/system-prompt.md`, "Workspace bootstrap injection".

use std::{fs::File, io::Read, path::Path};

/// The files, in the order in which a model reads them, and the most characters of each.
const FILES: [(&str, usize); 5] = [
    ("AGENTS.md", 20_000),
    ("SOUL.md", 20_000),
    ("IDENTITY.md", 20_000),
    ("USER.md", 4_000),
    ("MEMORY.md", 20_000),
];
/// The most characters of all.
const ALL: usize = 60_000;
/// The most bytes that are read of one.
const BYTES: u64 = 4 * 20_000;

const CUT: &str = "\n…(the file goes on; it is longer than what is shown here)";

/// The instructions of the agent `id`, whose workspace is `workspace`; blocks. The same for a day, so that a server that
/// keeps what it has read need not read it again.
pub fn instructions(id: &str, workspace: &Path, today: &str) -> String {
    let mut prompt = format!(
        "You are the agent {id:?} of a personal assistant that runs on a gateway called Barnacle. Do what the user asks; use \
         tools where you have some, and say it where you cannot. Today is {today} (UTC).\n"
    );
    let mut left = ALL;
    for (name, most) in FILES {
        let Some(text) = read(&workspace.join(name)) else { continue };
        let text = shortened(text.trim(), most.min(left));
        if text.is_empty() {
            continue;
        }
        left = left.saturating_sub(text.chars().count());
        prompt.push_str(&format!("\n## {name}\n\n{text}\n"));
    }
    prompt
}

/// The beginning of a file; `None` where there is none that is regular and can be read.
fn read(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    file.metadata().ok().filter(|meta| meta.is_file())?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_within_limits() {
        let dir = std::env::temp_dir().join(format!("barnacle-workspace-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("IDENTITY.md")).unwrap();
        for (name, text) in
            [("SOUL.md", "soul"), ("AGENTS.md", "ä"), ("USER.md", &"u".repeat(5000)), ("OTHER.md", "no")]
        {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let prompt = instructions("main", &dir, "today");
        let places: Vec<usize> = ["## AGENTS.md\n\nä\n", "## SOUL.md\n\nsoul\n", "## USER.md"]
            .iter()
            .map(|part| prompt.find(part).unwrap())
            .collect();
        assert!(places.is_sorted() && !prompt.contains("OTHER") && !prompt.contains("IDENTITY"), "{prompt}");
        assert!(prompt.contains(CUT) && prompt.chars().count() < 4600, "{}", prompt.chars().count());
        std::fs::write(dir.join("AGENTS.md"), "ä".repeat(1 << 20)).unwrap();
        assert!(instructions("main", &dir, "today").chars().count() < 25_000);
        std::fs::remove_dir_all(dir).unwrap();
        assert!(instructions("main", Path::new("/nowhere"), "today").ends_with("today (UTC).\n"));
    }
}
