//! Barnacle's own file, `barnacle.json`, beside its store: keys that OpenClaw does not know, and for which it would
//! refuse all of `openclaw.json`.
//!
//! It is read as `openclaw.json` is, key by key, and what ran last holds while it cannot be read. A file that is not
//! there says nothing, as an empty one does.

mod lint;
mod model;
pub mod moved;
pub(crate) mod write;

use super::{
    Env, FileState, KeyPath, Paths, Upstream, Warning,
    change::merge,
    credentials::{reference::Resolver, variables::Variables},
    keys::own::OWN,
    model::{
        GatewayConfig,
        tree::{ConfigError, Tree},
    },
    text::{
        file::{self, Document},
        node::Node,
        source::{Gathered, ReadError, Source},
    },
};
use crate::{net::url::Url, store::atomic};
pub use model::Budget;
use model::OwnKeys;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Barnacle's own file as it counts now.
pub struct Own {
    /// State in which it was found.
    pub found: FileState,
    /// Source that its keys were read from.
    pub source: Arc<Source>,
    /// Whether the source is the file's, or what ran last of it; nothing else is known of a broken one.
    known: bool,
    keys: OwnKeys,
}

/// Everything that reading the file gives.
pub(crate) struct Read {
    pub(crate) own: Own,
    /// The gateway behind this one.
    pub(crate) upstream: Option<Upstream>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) lint: Vec<Warning>,
    pub(crate) notices: Vec<String>,
    /// Every file that was looked at, there or not.
    pub(crate) files: Vec<PathBuf>,
}

/// What a gateway that runs has of the file.
pub(crate) struct OwnInForce {
    source: Option<Arc<Source>>,
    upstream: Option<Upstream>,
}

impl OwnInForce {
    pub(crate) fn of(own: &Own, upstream: Option<&Upstream>) -> Self {
        Self { source: own.known.then(|| own.source.clone()), upstream: upstream.cloned() }
    }
}

/// The place of the file: the configuration that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'c> {
    pub(crate) paths: &'c Paths,
    pub(crate) env: &'c Env,
    /// Source of `openclaw.json`, whose variables and secrets count here, too.
    pub(crate) openclaw: &'c Source,
}

/// Reads the file; `flag` is the URL of `--upstream`, `running` what a gateway that runs has of it.
pub(crate) fn read(beside: Beside<'_>, flag: Option<&Url>, running: Option<&OwnInForce>) -> Read {
    let Beside { paths, env, openclaw } = beside;
    let Gathered { source, files } = Source::read(&own_paths(paths), env);
    let (found, source) = match source {
        Ok(Some(source)) => (FileState::Whole, Some(Arc::new(source))),
        Ok(None) => (FileState::Missing, Some(Arc::new(Source::empty(&paths.own_file())))),
        Err(broken) => {
            let ran = running.and_then(|running| running.source.clone());
            (FileState::Broken(broken), ran.or_else(|| last_run(beside).map(Arc::new)))
        }
    };
    let known = source.is_some();
    let mut notices = Vec::new();
    notices.extend(problem(&found, known));
    let source = source.unwrap_or_else(|| Arc::new(Source::empty(&paths.own_file())));
    let (keys, mut errors) = decode(&source, known, beside);
    let unsure = |error: &&ConfigError| is_of_connection(error) && !(flag.is_some() && is_of_url(error));
    let closed = match known {
        true => errors.iter().find(unsure).map(ConfigError::to_string),
        false => notices.first().cloned(),
    };
    let before = match (&closed, running) {
        (None, _) => None,
        (_, Some(running)) => running.upstream.clone().filter(|upstream| upstream.closed.is_none()),
        _ => before(beside, flag),
    };
    // What let it be is not said any more.
    let forbidden = |before: &Upstream| before.is_in_the_clear() && errors.iter().any(is_of_url);
    let upstream = match before {
        Some(before) if forbidden(&before) => Some(keys.kept(Upstream { closed, ..before })),
        Some(before) => {
            errors.iter_mut().filter(|error| is_of_connection(error)).for_each(ConfigError::keep);
            Some(keys.kept(before))
        }
        None => flag.or(keys.url.as_ref()).map(|url| keys.upstream(url.clone(), closed)),
    };
    if let (Some(flag), Some(url)) = (flag, &keys.url)
        && flag != url
    {
        notices.push(format!(
            "--upstream on the command line overrides upstream.url in {}",
            paths.own_file().display()
        ));
    }
    if let Some((path, mode)) = &keys.open {
        let path = path.display();
        notices.push(format!(
            "{path} can be read by every account of this host (mode {mode:04o}), and holds the token of the gateway \
             behind this one; chmod go-rwx {path}"
        ));
    }
    let mut lint = lint::warnings(&source);
    // Of a broken file only the error is reported.
    if !matches!(found, FileState::Whole) {
        errors.clear();
        lint.clear();
    }
    lint.extend(lint::moved(openclaw, &source, paths));
    let files = files.into_iter().chain(keys.files.iter().cloned()).collect();
    Read { own: Own { found, source, known, keys }, upstream, errors, lint, notices, files }
}

/// What is wrong with the file, if it cannot be read, and what counts meanwhile.
fn problem(found: &FileState, known: bool) -> Option<String> {
    let FileState::Broken(error) = found else { return None };
    let instead = match known {
        true => "what it held last counts",
        false => "it counts as empty, and no connection is made upstream",
    };
    Some(format!("{error}; until it is fixed, {instead}"))
}

/// The gateway that was behind this one, by what ran last; `None` where that makes no sense any more either.
fn before(beside: Beside<'_>, flag: Option<&Url>) -> Option<Upstream> {
    let source = last_run(beside)?;
    let (keys, errors) = decode(&source, true, beside);
    let url = flag.or(keys.url.as_ref()).filter(|_| !errors.iter().any(is_of_connection))?;
    Some(keys.upstream(url.clone(), None))
}

/// `paths` with this file in the place of `openclaw.json`.
fn own_paths(paths: &Paths) -> Paths {
    Paths { config_file: paths.own_file(), ..paths.clone() }
}

/// Reads what ran last of it.
fn last_run(Beside { paths, env, .. }: Beside<'_>) -> Option<Source> {
    let file::Read::Text(document) = file::read(&paths.last_own_file()) else { return None };
    Source::of(document, &own_paths(paths), env).source.ok().flatten()
}

/// Decodes the keys of `source`; those of a file that nothing is `known` of hold their closed values.
fn decode(source: &Source, known: bool, beside: Beside<'_>) -> (OwnKeys, Vec<ConfigError>) {
    let Beside { paths, env, openclaw } = beside;
    let variables = Variables::new(env, paths, &openclaw.root);
    let (theirs, tree) = (Tree::new(openclaw, variables), Tree::of(OWN, source, variables));
    let keys = {
        let (root, own) = (theirs.root(), if known { tree.root() } else { tree.broken() });
        OwnKeys::decode(&own, &Resolver { paths, root: &root }, env)
    };
    (keys, tree.into_errors())
}

fn is_of_url(error: &ConfigError) -> bool {
    error.path == "upstream.url"
}

/// Whether it is about how connections to the gateway behind this one are made.
fn is_of_connection(error: &ConfigError) -> bool {
    is_of_url(error)
        || error.path.starts_with("upstream.scopes")
        || ["upstream", "upstream.token", "upstream.tokenFile", "upstream.tlsFingerprint", "upstream.caFile"]
            .contains(&&*error.path)
}

impl Own {
    /// Whether the file is there and cannot be read: what ran last holds.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.found, FileState::Broken(_))
    }

    /// What is wrong with the file, if it cannot be read.
    pub(crate) fn problem(&self) -> Option<String> {
        problem(&self.found, self.known)
    }

    /// Whether the file has broken, or gone, since `old`: it may be written at this moment.
    pub(crate) fn is_worse_than(&self, old: &Self) -> bool {
        self.is_broken() && !old.is_broken() || !self.found.is_whole() && old.found.is_whole()
    }

    /// Whether the file may be readable the next moment though nothing is done to it.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(&self.found, FileState::Broken(ReadError::Unreadable(file)) if file.may_pass())
    }

    /// Tokens that runs may use.
    pub fn budget(&self) -> &Budget {
        &self.keys.budget
    }

    /// Takes the keys that this file has from `openclaw.json`: here they count.
    pub(crate) fn rule(&self, config: &mut GatewayConfig) {
        if let Some(on) = self.keys.device_key_proof {
            config.auth.device_key_proof = on;
        }
        if let Some(whose) = self.keys.revoke_on_rotate {
            config.auth.revoke_on_rotate = whose;
        }
    }

    /// What there is to keep of what runs; `errors` are those of all keys.
    pub(crate) fn to_keep(&self, errors: &[ConfigError]) -> Option<Running> {
        let source = match self.found {
            FileState::Broken(_) => return None,
            FileState::Missing => None,
            FileState::Whole => Some(self.source.clone()),
        };
        let as_before = errors.iter().any(|error| error.kept && is_of_connection(error));
        Some(Running { source, as_before })
    }
}

/// What runs of the file, for a start at which the file cannot be read.
pub(crate) struct Running {
    /// Its source; none where there is no file.
    source: Option<Arc<Source>>,
    /// Whether the connection is what it was before, which then is to be kept.
    as_before: bool,
}

impl Running {
    /// Keeps it in the file at `path`, unless it is kept already. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, path: &Path) -> io::Result<()> {
        let last = match file::read(path) {
            file::Read::Text(last) => Some(last),
            _ => None,
        };
        let text = match &self.source {
            // There is no file, so nothing is to be kept.
            None => return last.map_or(Ok(()), |_| std::fs::remove_file(path)),
            Some(source) => self.text(source, last.as_ref()),
        };
        match text.filter(|text| last.is_none_or(|last| last.text != *text)) {
            Some(text) => {
                path.parent().map_or(Ok(()), atomic::make_directory)?;
                atomic::replace(path, text.as_bytes(), 0o600)
            }
            None => Ok(()),
        }
    }

    /// The text to keep of `source`.
    fn text(&self, source: &Source, last: Option<&Document>) -> Option<String> {
        if !self.as_before {
            return Some(source.in_one_file());
        }
        let path = KeyPath::dotted("upstream");
        let ran = last.and_then(|last| Some(Node::of(&last.parse().ok()?, 0)));
        let upstream = ran.as_ref().and_then(|root| merge::at(root, &path)).cloned();
        Some(merge::with(&source.root, &path, upstream).ok()?.to_json())
    }
}
