//! What a path means: a file, a page of the app, or nothing. A path in, the meaning out.

/// Meaning of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Nothing is there.
    Nothing,
    /// The base path without the slash behind it.
    Base,
    /// The app's own settings.
    Config,
    /// The app's first page.
    Entry,
    /// A page of the app, for who takes a page.
    Page,
    /// A file, by its name below the folder.
    File(String),
}

/// First parts of paths that are no page's: APIs, plugins' routes and their like.
const NO_PAGES: &[&str] = &["v1", "tools", "api", "hooks", "plugins", "__openclaw__", "j", "debug"];

/// Endings of files, and their types.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "application/javascript; charset=utf-8"),
    ("mjs", "application/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json; charset=utf-8"),
    ("map", "application/json; charset=utf-8"),
    ("webmanifest", "application/manifest+json; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("wasm", "application/wasm"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
];

/// The type of a file by the ending of its name.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    let found = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(end));
    found.map(|(_, kind)| *kind)
}

/// Whether OpenClaw has something at `path` that no page is.
pub(super) fn is_openclaws(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    NO_PAGES.contains(&first)
}

/// The meaning of `path` where the app is below `base`.
pub(super) fn wanted(path: &str, base: &str) -> Wanted {
    let Some(below) = path.strip_prefix(base) else { return Wanted::Nothing };
    if below.is_empty() && !base.is_empty() {
        return Wanted::Base;
    }
    let Some(name) = below.strip_prefix('/').and_then(decoded) else { return Wanted::Nothing };
    let plain = |part: &str| !matches!(part, "." | "..") && !part.contains(['\\', '\0']);
    if !name.split('/').all(plain) || is_openclaws(&name) {
        return Wanted::Nothing;
    }
    match &*name {
        "" | "index.html" => Wanted::Entry,
        "control-ui-config.json" => Wanted::Config,
        // A part without a name would be another path for the disk.
        name if kind(name).is_some() => match name.split('/').any(str::is_empty) {
            true => Wanted::Nothing,
            false => Wanted::File(name.to_owned()),
        },
        _ => Wanted::Page,
    }
}

/// `text` with its percent codes resolved (RFC 3986 §2.1); `None` where it is no text then.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let code = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Wanted::*, *};

    #[test]
    fn what_a_path_means() {
        let file = |name: &str| File(name.to_owned());
        for (path, base, expected) in [
            ("/", "", Entry),
            ("/index.html", "", Entry),
            ("/chat", "", Page),
            ("/chat/agent%3Amain%3Amain", "", Page),
            ("/chat/a.b", "", Page),
            ("/assets/", "", Page),
            ("/assets/x.js", "", file("assets/x.js")),
            ("/a%20b.SVG", "", file("a b.SVG")),
            ("/control-ui-config.json", "", Config),
            ("/v1/models", "", Nothing),
            ("/api/users/x/avatar", "", Nothing),
            ("/v1x", "", Page),
            ("/..%2f..%2fetc/passwd.txt", "", Nothing),
            ("/%2e%2e/x.json", "", Nothing),
            ("/a/../x.js", "", Nothing),
            ("/a/./x.js", "", Nothing),
            ("/a%5c..%5cx.js", "", Nothing),
            ("//etc/x.txt", "", Nothing),
            ("/%2fetc/x.txt", "", Nothing),
            ("/x%00.js", "", Nothing),
            ("/x%", "", Nothing),
            ("/x%zz", "", Nothing),
            ("/%ff.js", "", Nothing),
            ("/ui", "/ui", Base),
            ("/ui/", "/ui", Entry),
            ("/ui/chat", "/ui", Page),
            ("/ui/assets/x.js", "/ui", file("assets/x.js")),
            ("/ui/control-ui-config.json", "/ui", Config),
            ("/ui/api/x", "/ui", Nothing),
            ("/uix", "/ui", Nothing),
            ("/", "/ui", Nothing),
            ("/control-ui-config.json", "/ui", Nothing),
        ] {
            assert_eq!(wanted(path, base), expected, "{path} below {base:?}");
        }
    }
}
