//! Tokens that stand in systemd units.
//!
//! OpenClaw's installer of 2026.2 writes `OPENCLAW_GATEWAY_TOKEN` into the unit, where it outlives every
//! change of the file. systemd is not asked: its bus may be away, and starting must not wait for it.

use super::secret::{Kind, Secret, Source, variable};
use crate::config::Paths;
use std::path::{Path, PathBuf};

/// Every credential of `kind` on an `Environment=` line of the gateway's units and their drop-ins.
pub fn credentials(paths: &Paths, kind: Kind) -> Vec<(Secret, Source)> {
    let user = paths.os_home.join(".config/systemd/user");
    let mut found = Vec::new();
    for path in [&user, &paths.system_units].into_iter().flat_map(|dir| unit_files(dir)) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for value in assigned(&text, variable(kind)) {
            if let Some(secret) = Secret::new(&value) {
                found.push((secret, Source::Unit(kind, path.clone())));
            }
        }
    }
    found
}

fn unit_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(dir) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !(name.starts_with("openclaw-gateway") || name.starts_with("barnacle")) {
            continue;
        }
        if name.ends_with(".service") {
            files.push(path);
        } else if name.ends_with(".service.d") {
            files.extend(entries(&path).into_iter().filter(|p| p.extension().is_some_and(|e| e == "conf")));
        }
    }
    files
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Reads the value of `variable` from the `Environment=` lines of a unit. Source: systemd.exec(5), and
/// systemd.syntax(7) for quotes and continued lines.
fn assigned(text: &str, variable: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace("\\\n", " ");
    let lines =
        text.lines().filter_map(|l| l.trim().strip_prefix("Environment")?.trim_start().strip_prefix('='));
    let words = lines.flat_map(words);
    words
        .filter_map(|word| Some(word.strip_prefix(variable)?.strip_prefix('=')?.replace("%%", "%")))
        .collect()
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let word = words.len() - 1;
        match (c, quote) {
            ('\\', _) => words[word].extend(chars.next()),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.push(String::new()),
            _ => words[word].push(c),
        }
    }
    words
}
