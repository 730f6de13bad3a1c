//! What a client takes: `Accept` and `Accept-Encoding` (RFC 9110 §12.5).

/// Weight that `header` gives to the first of `names` that it has, the most exact one first.
fn weight(header: &str, names: &[&str]) -> Option<f32> {
    let of = |name: &&str| {
        header.split(',').find_map(|part| {
            let mut parts = part.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(name) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
        })
    };
    names.iter().find_map(of)
}

/// Whether a client takes a page; one that says nothing does.
pub(super) fn takes_html(accept: Option<&str>) -> bool {
    accept.is_none_or(|accept| weight(accept, &["text/html", "text/*", "*/*"]).is_some_and(|q| q > 0.0))
}

/// Encodings in which a file may lie beside itself, the smallest first: name, and ending of the file.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Those that a client takes.
pub(super) fn codings(accept: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let Some(accept) = accept else { return Vec::new() };
    let takes = |(name, _): &(&str, &str)| weight(accept, &[name, "*"]).is_some_and(|q| q > 0.0);
    CODINGS.into_iter().filter(takes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        for (accept, expected) in [
            (None, true),
            (Some("*/*"), true),
            (Some("text/html,application/xhtml+xml"), true),
            (Some("application/json"), false),
            (Some("text/html;q=0, */*"), false),
            (Some("text/*;q=0.5"), true),
            (Some(""), false),
        ] {
            assert_eq!(takes_html(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn encodings() {
        for (accept, expected) in [
            (None, ""),
            (Some("gzip, deflate, br, zstd"), "br gzip"),
            (Some("gzip"), "gzip"),
            (Some("br;q=0, *"), "gzip"),
            (Some("identity"), ""),
        ] {
            let names: Vec<&str> = codings(accept).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.join(" "), expected, "{accept:?}");
        }
    }
}
