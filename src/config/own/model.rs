//! Values of the keys of Barnacle's own file.

use crate::{
    config::{
        Credential, Env, RevokeOnRotate, Secret, Upstream,
        credentials::reference::Resolver,
        model::tree::Section,
        settings::upstream::{BadUpstream, upstream_url},
        text::{file, node::Value},
    },
    net::url::Url,
    tls::Trust,
};
use std::{path::PathBuf, time::Duration};

/// Decoded values of all keys of the file.
pub(super) struct OwnKeys {
    /// `upstream.url`.
    pub(super) url: Option<Url>,
    /// `upstream.token`, else what `upstream.tokenFile` holds.
    token: Option<Secret>,
    /// `upstream.tlsFingerprint`, else `upstream.caFile`.
    trust: Trust,
    wait: Duration,
    waiting: usize,
    waiting_bytes: usize,
    sockets: Vec<String>,
    /// `auth.deviceKeyProof`, where it is there.
    pub(super) device_key_proof: Option<bool>,
    /// `auth.revokeOnRotate`, where it is there.
    pub(super) revoke_on_rotate: Option<RevokeOnRotate>,
    /// The files that the keys lead to, there or not.
    pub(super) files: Vec<PathBuf>,
}

/// What holds instead of a key without which a connection would be another than is meant.
const NONE_MADE: &str = "no connection is made to it";

impl OwnKeys {
    /// Decodes the keys below `root`; secrets are resolved by `resolver`, which belongs to `openclaw.json`.
    pub(super) fn decode(root: &Section<'_>, resolver: &Resolver<'_>, env: &Env) -> Self {
        let (upstream, auth) = (root.section("upstream"), root.section("auth"));
        let mut files = Vec::new();
        let count = |name| usize::try_from(upstream.number_or_default(name)).unwrap_or(usize::MAX);
        Self {
            url: url(&upstream),
            token: token(&upstream, resolver, env, &mut files),
            trust: trust(&upstream, resolver, &mut files),
            wait: Duration::from_millis(upstream.number_or_default("waitMs")),
            waiting: count("waitRequests"),
            waiting_bytes: count("waitBytes"),
            sockets: sockets(&upstream),
            device_key_proof: auth.value("deviceKeyProof").map(|_| auth.flag("deviceKeyProof")),
            revoke_on_rotate: match auth.value("revokeOnRotate") {
                None if !auth.is_broken() => None,
                _ => auth.word("revokeOnRotate"),
            },
            files,
        }
    }

    /// The gateway at `url`, by these keys; `closed` says why no connection is made to it.
    pub(super) fn upstream(&self, url: Url, closed: Option<String>) -> Upstream {
        let (trust, token) = (self.trust.clone(), self.token.clone());
        let (wait, sockets) = (self.wait, Vec::new());
        self.kept(Upstream { url, trust, token, closed, wait, waiting: 0, waiting_bytes: 0, sockets })
    }

    /// `upstream`, and all that these keys say but for how connections to it are made.
    pub(super) fn kept(&self, upstream: Upstream) -> Upstream {
        let Self { wait, waiting, waiting_bytes, .. } = *self;
        Upstream { wait, waiting, waiting_bytes, sockets: self.sockets.clone(), ..upstream }
    }
}

fn url(upstream: &Section<'_>) -> Option<Url> {
    let (node, text) = (upstream.value("url")?, upstream.text("url")?);
    let wrong = |bad: BadUpstream| {
        upstream.error("url", node, bad.found(), BadUpstream::EXPECTED, "as if it were not there");
    };
    upstream_url(&text).map_err(wrong).ok()
}

/// The roots of paths whose WebSockets belong to plugins: not all of them, since the gateway's own clients choose theirs.
fn sockets(upstream: &Section<'_>) -> Vec<String> {
    const NAME: &str = "webSocketPaths";
    let is_root = |path: &str| {
        path.strip_prefix('/').is_some_and(|rest| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
            rest.chars().all(plain) && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
        })
    };
    let (roots, wrong): (Vec<_>, Vec<_>) =
        upstream.list(NAME, "no path is").items.into_iter().partition(|path| is_root(path));
    if let (Some(path), Some(node)) = (wrong.first(), upstream.value(NAME)) {
        let expected = "a list of paths such as \"/voice/stream\"";
        upstream.error(
            NAME,
            node,
            format!("{path:?}"),
            expected,
            "that path belongs to the gateway's own clients",
        );
    }
    roots
}

fn token(
    upstream: &Section<'_>,
    resolver: &Resolver<'_>,
    env: &Env,
    files: &mut Vec<PathBuf>,
) -> Option<Secret> {
    match resolver.credential(upstream, "token", "upstream.token", NONE_MADE) {
        Credential::Given(secret) => return Some(secret),
        Credential::Absent => {}
        Credential::Unresolved { why, .. } => {
            // One of another kind is reported already.
            let node =
                upstream.value("token").filter(|n| matches!(n.value, Value::Text(_) | Value::Object(_)));
            let found = format!("a secret that cannot be had ({why})");
            node.inspect(|node| {
                upstream.error("token", node, found, "the token, or what leads to it", NONE_MADE)
            });
            return None;
        }
    }
    let (node, text) = (upstream.value("tokenFile")?, upstream.text("tokenFile")?);
    let path = resolver.paths.expand(&text);
    files.push(path.clone());
    let why = match Secret::in_file(&path, env) {
        Ok(Some(secret)) => return Some(secret),
        Ok(None) => "holds no token".into(),
        Err(e) => format!("cannot be read ({e})"),
    };
    let found = format!("{}, which {why}", path.display());
    upstream.error("tokenFile", node, found, "a file that holds the token and nothing else", NONE_MADE);
    None
}

fn trust(upstream: &Section<'_>, resolver: &Resolver<'_>, files: &mut Vec<PathBuf>) -> Trust {
    const LARGEST: u64 = 4 << 20;
    if let Some((node, text)) = upstream.value("tlsFingerprint").zip(upstream.text("tlsFingerprint")) {
        return Trust::only(&text).unwrap_or_else(|| {
            let expected = "the SHA-256 fingerprint of a certificate: 64 hexadecimal digits";
            upstream.error("tlsFingerprint", node, format!("{text:?}"), expected, NONE_MADE);
            Trust::Authorities
        });
    }
    let Some((node, text)) = upstream.value("caFile").zip(upstream.text("caFile")) else {
        return Trust::Authorities;
    };
    let path = resolver.paths.expand(&text);
    files.push(path.clone());
    let why = match file::bytes(&path, LARGEST) {
        Ok(pem) if String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") => None,
        Ok(_) => Some("holds no certificate".into()),
        Err(e) => Some(format!("cannot be read ({e})")),
    };
    if let Some(why) = why {
        let found = format!("{}, which {why}", path.display());
        upstream.error("caFile", node, found, "a file of certificates, PEM", NONE_MADE);
    }
    Trust::CaFile(path)
}
