//! The shared secret that ran last, for a start at which the file that holds it is away.
//!
//! What is kept is the secret's hash, sealed with the gateway's key and bound to the place that the secret came from:
//! neither the file alone nor another place gives anything. A secret that may be guessed is not kept, since who has a
//! copy of the whole directory could try.

use super::{
    secret::{Credential, Kind, Secret, Source as Place, variable},
    shared::Credentials,
};
use crate::{
    config::{
        Paths,
        model::GatewayConfig,
        text::{
            file,
            node::{Node, Value},
            source::Source,
        },
    },
    protocol::TokenHash,
    store::{Key, atomic},
};
use std::{fs, io, path::Path};

/// Bytes of a secret that nobody guesses: a random one has more.
const LEAST: usize = 20;
const NONCE: usize = 16;
const HASH: usize = 32;

/// Name of the place of a secret, if it is one whose file may be away at a start: `literal` texts in `openclaw.json`
/// are kept with that, and what the process was given is given again.
pub(crate) fn place(active: &Place, source: &Source) -> Option<String> {
    match active {
        Place::DotEnv(kind, path) => Some(dotenv(*kind, path)),
        Place::TokenFile(path) => Some(token_file(path)),
        Place::ConfigFile(kind, _) => reference(*kind, source),
        Place::Flag(_) | Place::Env(_) | Place::RemoteKey(_) | Place::Unit(..) => None,
    }
}

/// Names the place of a variable in `.env`.
pub(crate) fn dotenv(kind: Kind, path: &Path) -> String {
    format!("{} {}", variable(kind), path.display())
}

/// Names the place of the file of `--token-file`.
pub(crate) fn token_file(path: &Path) -> String {
    format!("--token-file {}", path.display())
}

/// Names the place that `gateway.auth` refers to, if it does.
pub(crate) fn reference(kind: Kind, source: &Source) -> Option<String> {
    let node: &Node = source.root.find(["gateway", "auth", kind.word()])?;
    let refers = match &node.value {
        Value::Object(_) => true,
        _ => node.text().is_some_and(|text| text.contains("${")),
    };
    // Whoever is named by the reference has a place of its own.
    let providers = source.root.find(["secrets"]).map(Node::to_json).unwrap_or_default();
    refers.then(|| format!("gateway.auth.{} {} {providers}", kind.word(), node.to_json()))
}

/// Keeps `secret`, which came from `place`; without both, nothing is kept any more. Waits for the disk.
///
/// # Errors
/// It cannot be written.
pub(crate) fn keep(paths: &Paths, key: &Key, secret: Option<(&Secret, String)>) -> io::Result<()> {
    let path = paths.last_secret();
    let Some((secret, place)) = secret.filter(|(secret, _)| is_kept(secret)) else {
        return match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    };
    if atomic::read(&path).is_ok_and(|sealed| open(&sealed, key, &place) == Some(secret.hash())) {
        return Ok(());
    }
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    atomic::replace(&path, &seal(&secret.hash(), nonce, key, &place), 0o600)
}

/// The secret that was kept last, if it came from `place`. Reads two files.
pub(crate) fn recall(paths: &Paths, place: &str) -> Option<Secret> {
    let sealed = atomic::read(&paths.last_secret()).ok()?;
    let key = Key::find(&paths.barnacle_dir)?;
    open(&sealed, &key, place).map(Secret::of_hash)
}

/// Replaces what `gateway.auth` refers to and cannot be read now by what was kept; reports each.
pub(crate) fn stand_in_config(paths: &Paths, source: &Source, config: &mut GatewayConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in [Kind::Token, Kind::Password] {
        let now = match kind {
            Kind::Token => &mut config.auth.token,
            Kind::Password => &mut config.auth.password,
        };
        let Credential::Unresolved { path, why, .. } = now else { continue };
        if let Some(secret) = reference(kind, source).and_then(|place| recall(paths, &place)) {
            lines.push(format!(
                "{path}: {why}; until it is fixed, the {} that was used last is used",
                kind.word()
            ));
            *now = Credential::Given(secret);
        }
    }
    lines
}

/// Stands in for the secret of a file that is away now, `token_file` before `.env`; reports it.
pub(crate) fn stand_in_active(
    paths: &Paths,
    token_file: Option<&Path>,
    credentials: &mut Credentials,
) -> Option<String> {
    let kind = credentials.kind;
    let (secret, from) = match token_file {
        Some(path) => (recall(paths, &self::token_file(path))?, Place::TokenFile(path.into())),
        None if credentials.active.is_some() => return None,
        None => paths
            .dotenvs()
            .into_iter()
            .filter(|path| is_away(path))
            .find_map(|path| Some((recall(paths, &dotenv(kind, &path))?, Place::DotEnv(kind, path))))?,
    };
    let line = format!(
        "{from} holds nothing now; until it does, or another is set, the {} that was used last is used",
        kind.word()
    );
    credentials.active = Some((secret, from));
    Some(line)
}

/// Whether the file at `path` is gone, unreadable or empty: one that is whole and says nothing of a secret is meant so.
fn is_away(path: &Path) -> bool {
    !file::bytes(path, 1 << 20).is_ok_and(|bytes| !bytes.trim_ascii().is_empty())
}

/// Whether `secret` may be kept: it is long, or was kept before.
fn is_kept(secret: &Secret) -> bool {
    secret.reveal().is_none_or(|text| text.len() >= LEAST)
}

fn seal(hash: &TokenHash, nonce: [u8; NONCE], key: &Key, place: &str) -> Vec<u8> {
    let pad = key.seal_pad(&nonce, place);
    let hidden: Vec<u8> = hash.0.iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect();
    let mark = key.seal_mark(&nonce, place, &hidden);
    [&nonce[..], &hidden, &mark].concat()
}

fn open(sealed: &[u8], key: &Key, place: &str) -> Option<TokenHash> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let (hidden, mark) = rest.split_first_chunk::<HASH>()?;
    let right = subtle::ConstantTimeEq::ct_eq(mark, &key.seal_mark(nonce, place, hidden)[..]);
    let pad = key.seal_pad(nonce, place);
    let hash: Vec<u8> = hidden.iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect();
    bool::from(right).then(|| hash.try_into().ok().map(TokenHash)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text::{file::Document, source::Source};

    #[test]
    fn only_the_same_place_and_key_open_it() {
        let (key, other) = (Key::of_test(1), Key::of_test(2));
        let hash = TokenHash::of("0123456789abcdef0123456789abcdef");
        let sealed = seal(&hash, [7; NONCE], &key, "here");
        assert_eq!(open(&sealed, &key, "here"), Some(hash));
        assert!(!sealed.windows(8).any(|part| hash.0.windows(8).any(|of_hash| of_hash == part)));
        assert_eq!(open(&sealed, &key, "there"), None);
        assert_eq!(open(&sealed, &other, "here"), None);
        for at in 0..sealed.len() {
            let mut torn = sealed.clone();
            torn[at] ^= 1;
            assert_eq!(open(&torn, &key, "here"), None, "byte {at}");
            assert_eq!(open(&sealed[..at], &key, "here"), None, "{at} bytes");
        }
    }

    #[test]
    fn what_is_kept() {
        let file = || Place::ConfigFile(Kind::Token, "c".into());
        let rows = [
            (file(), "{gateway:{auth:{token:'literal'}}}", false),
            (file(), "{gateway:{auth:{token:'${NAME}'}}}", true),
            (file(), "{gateway:{auth:{token:{source:'file',id:'value'}}}}", true),
            (file(), "{}", false),
            (Place::DotEnv(Kind::Token, "e".into()), "{}", true),
            (Place::TokenFile("t".into()), "{}", true),
            (Place::Env(Kind::Token), "{}", false),
            (Place::Flag(Kind::Token), "{}", false),
        ];
        let paths = Paths::resolve(&[("HOME", "/nowhere")].into_iter().collect()).unwrap();
        for (active, text, expected) in rows {
            let document = Document::unwritten(Path::new("c"), text);
            let source = Source::of(document, &paths, &Default::default()).source.unwrap().unwrap();
            assert_eq!(place(&active, &source).is_some(), expected, "{active:?} {text}");
        }
        let secret = |text: &str| Secret::new(text).unwrap();
        for (secret, expected) in [
            (secret("short password"), false),
            (secret("0123456789abcdef0123"), true),
            (Secret::of_hash(TokenHash([1; 32])), true),
        ] {
            assert_eq!(is_kept(&secret), expected, "{secret}");
        }
    }
}
