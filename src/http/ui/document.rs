//! The app's one document, made fit to be sent: it is told where it is, and its scripts are named in the policy.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// A document that is ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Document {
    /// Its text.
    pub html: String,
    /// Build of the app that it belongs to; empty where it does not say.
    pub build: String,
    /// SHA-256 of each script that stands in it, base64.
    pub scripts: Vec<String>,
}

/// Attribute of `<html>` that names the build.
const BUILD: &str = "data-openclaw-control-ui-build-id=\"";

impl Document {
    /// Makes `html` fit for an app below `base`.
    pub fn of(html: &str, base: &str) -> Self {
        let named = html.split_once(BUILD).and_then(|(_, rest)| Some(rest.split_once('"')?.0));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let build = named.filter(|build| build.chars().all(fits)).unwrap_or_default().to_owned();
        let version = if build.is_empty() { String::new() } else { format!("?v={build}") };
        // Pages are folders deep, and it names its files from where it stands.
        let mut html = html.replace("=\"./assets/", &format!("=\"{base}/assets/"));
        for attribute in ["href=\"", "src=\""] {
            html = absolute(&html, attribute, base, &version);
        }
        let place = format!(
            "<html data-openclaw-control-ui-base-path=\"{base}\" data-openclaw-terminal-enabled=\"false\""
        );
        html = html.replacen("<html", &place, 1);
        let scripts = inline(&html).map(|text| Base64::encode_string(&Sha256::digest(text))).collect();
        Self { html, build, scripts }
    }
}

/// Replaces each `<attribute>./name"` by the path of that file, of this version.
fn absolute(html: &str, attribute: &str, base: &str, version: &str) -> String {
    let relative = format!("{attribute}./");
    let mut parts = html.split(&relative);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('"').unwrap_or((part, ""));
        out.push_str(&format!("{attribute}{base}/{name}{version}\"{rest}"));
    }
    out
}

/// The texts of the scripts that stand in `html` itself.
fn inline(html: &str) -> impl Iterator<Item = &str> {
    html.split("<script").skip(1).filter_map(|part| {
        let (attributes, rest) = part.split_once('>')?;
        let (text, _) = rest.split_once("</script>")?;
        (!attributes.contains(" src=") && !text.is_empty()).then_some(text)
    })
}

/// `Content-Security-Policy` of what is served; only a document has scripts of its own.
pub(super) fn policy(scripts: &[String]) -> String {
    let own: String = scripts.iter().map(|hash| format!(" 'sha256-{hash}'")).collect();
    format!(
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; frame-src 'self' http: https:; \
         script-src 'self'{own}; style-src 'self' 'unsafe-inline' https://fonts.googleapis.com; \
         img-src 'self' data: blob: https:; media-src 'self' data: blob:; font-src 'self' https://fonts.gstatic.com; \
         worker-src 'self'; connect-src 'self' ws: wss: data:"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_told_where_it_is() {
        let html = "<!doctype html>\n<html data-openclaw-control-ui-build-id=\"1.2-a\" lang=\"en\">\
                    <link href=\"./x.svg\" /><script>let a = 1;</script>\
                    <script type=\"module\" src=\"./assets/i.js\"></script><script>b()</script>";
        let document = Document::of(html, "/ui");
        assert_eq!(document.build, "1.2-a");
        let expected = "<!doctype html>\n<html data-openclaw-control-ui-base-path=\"/ui\" \
                        data-openclaw-terminal-enabled=\"false\" data-openclaw-control-ui-build-id=\"1.2-a\" \
                        lang=\"en\"><link href=\"/ui/x.svg?v=1.2-a\" /><script>let a = 1;</script>\
                        <script type=\"module\" src=\"/ui/assets/i.js\"></script><script>b()</script>";
        assert_eq!(document.html, expected);
        // printf 'b()' | openssl dgst -sha256 -binary | base64
        assert_eq!(document.scripts.len(), 2);
        assert_eq!(document.scripts[1], "cf242PFc/kb7xD0Qzhsmd9vvRkc+cWFmbi+k+YvtdKc=");
        assert!(policy(&document.scripts).contains("script-src 'self' 'sha256-"));
        let plain = Document::of("<html><p>x</p>", "");
        assert_eq!((&*plain.build, plain.scripts.len()), ("", 0));
    }
}
