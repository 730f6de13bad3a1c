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
    protocol::{Scope, Scopes},
    tls::Trust,
};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Tokens that runs may use; 0 is without a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// `budget.perRun`.
    pub run: u64,
    /// `budget.perDay`: of all agents.
    pub day: u64,
    /// `budget.perAgentDay`.
    pub agent: u64,
}

/// Decoded values of all keys of the file.
pub(super) struct OwnKeys {
    /// `upstream.url`.
    pub(super) url: Option<Url>,
    /// `upstream.token`, else what `upstream.tokenFile` holds.
    token: Option<Secret>,
    /// `upstream.tlsFingerprint`, else `upstream.caFile`.
    trust: Trust,
    /// `upstream.scopes`, and `operator.read`.
    scopes: Scopes,
    wait: Duration,
    waiting: usize,
    waiting_bytes: usize,
    sockets: Vec<String>,
    /// `auth.deviceKeyProof`, where it is there.
    pub(super) device_key_proof: Option<bool>,
    /// `auth.revokeOnRotate`, where it is there.
    pub(super) revoke_on_rotate: Option<RevokeOnRotate>,
    /// `budget`.
    pub(super) budget: Budget,
    /// The file of the token with its mode, where every account can read it.
    pub(super) open: Option<(PathBuf, u32)>,
    /// The files that the keys lead to, there or not.
    pub(super) files: Vec<PathBuf>,
}

/// What holds instead of a key without which a connection would be another than is meant.
const NONE_MADE: &str = "no connection is made to it";

impl OwnKeys {
    /// Decodes the keys below `root`; secrets are resolved by `resolver`, which belongs to `openclaw.json`.
    pub(super) fn decode(root: &Section<'_>, resolver: &Resolver<'_>, env: &Env) -> Self {
        let (upstream, auth, budget) =
            (root.section("upstream"), root.section("auth"), root.section("budget"));
        let (mut files, mut open) = (Vec::new(), None);
        let count = |name| usize::try_from(upstream.number_or_default(name)).unwrap_or(usize::MAX);
        Self {
            url: url(&upstream),
            scopes: scopes(&upstream),
            token: token(&upstream, resolver, env, &mut files, &mut open),
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
            budget: Budget {
                run: budget.number_or_default("perRun"),
                day: budget.number_or_default("perDay"),
                agent: budget.number_or_default("perAgentDay"),
            },
            open,
            files,
        }
    }

    /// The gateway at `url`, by these keys; `closed` says why no connection is made to it.
    pub(super) fn upstream(&self, url: Url, closed: Option<String>) -> Upstream {
        let (trust, token, scopes) = (self.trust.clone(), self.token.clone(), self.scopes);
        let (wait, sockets) = (self.wait, Vec::new());
        self.kept(Upstream { url, trust, token, scopes, closed, wait, waiting: 0, waiting_bytes: 0, sockets })
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
    match upstream_url(&text) {
        Err(BadUpstream::InTheClear(_)) if upstream.flag("allowCleartext") => Url::parse(&text).ok(),
        read => read.map_err(wrong).ok(),
    }
}

fn scopes(upstream: &Section<'_>) -> Scopes {
    let all = || Scope::ALL.into_iter().collect();
    let Some(node) = upstream.value("scopes") else { return all() };
    let names = upstream.list("scopes", NONE_MADE).items;
    if let Some(name) = names.iter().find(|name| Scope::parse(name).is_none()) {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        upstream.error("scopes", node, format!("{name:?}"), &known.join(", "), NONE_MADE);
    }
    let read: Scopes = [Scope::Read].into_iter().collect();
    Scopes::from_names(names.iter().map(String::as_str)).union(read)
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
    open: &mut Option<(PathBuf, u32)>,
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
    *open = open_to_all(&path);
    let why = match Secret::in_file(&path, env) {
        Ok(Some(secret)) => return Some(secret),
        Ok(None) => "holds no token".into(),
        Err(e) => format!("cannot be read ({e})"),
    };
    let found = format!("{}, which {why}", path.display());
    upstream.error("tokenFile", node, found, "a file that holds the token and nothing else", NONE_MADE);
    None
}

/// The file at `path` with its mode, where every account can read it.
fn open_to_all(path: &Path) -> Option<(PathBuf, u32)> {
    let meta = std::fs::metadata(path).ok()?;
    let mode = meta.mode() & 0o777;
    (meta.is_file() && mode & 0o004 != 0).then(|| (path.to_owned(), mode))
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
