//! Where the app's files are: in the folder that the configuration names, else in an OpenClaw that is installed here.
//!
//! All of it is for worker threads.

use super::document::Document;
use crate::config::Settings;
use rustix::process::geteuid;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Largest document, bytes.
const DOCUMENT: u64 = 1 << 20;

/// Where to look, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Search {
    /// `gateway.controlUi.root`.
    root: Option<PathBuf>,
    /// Folders in which an OpenClaw may be installed, or links to its program.
    places: Vec<PathBuf>,
    /// `gateway.controlUi.basePath`.
    base: String,
}

impl Search {
    /// As the settings say. An OpenClaw is where the program `openclaw` of `PATH` belongs to, or where package managers put
    /// one for this account.
    pub fn of(settings: &Settings) -> Self {
        let (ui, paths) = (&settings.config.control_ui, &settings.paths);
        let root = ui.root.as_ref().map(|root| paths.expand(root));
        let programs =
            settings.env().process("PATH").unwrap_or_default().split(':').filter(|dir| !dir.is_empty());
        let mut places = Vec::new();
        if root.is_none() {
            for dir in programs.map(Path::new) {
                places.push(dir.join("openclaw"));
                places.extend(dir.parent().map(|prefix| prefix.join("lib/node_modules/openclaw")));
            }
            let own = |below: &str| paths.home.join(below).join("node_modules/openclaw");
            let folders =
                [".npm-global/lib", ".local/lib", ".local/share/pnpm/global/5", ".bun/install/global"];
            places.extend(folders.map(own));
            places.push(paths.state_dir.join("lib/node_modules/openclaw"));
        }
        Self { root, places, base: ui.base.clone() }
    }
}

/// The app's files.
#[derive(Debug)]
pub(super) struct Files {
    /// The search that found them.
    pub search: Search,
    /// Their folder, without links in its path.
    pub root: PathBuf,
    /// Whether the folder is the one that the configuration names.
    pub custom: bool,
    /// The app's document.
    pub document: Document,
}

impl Files {
    /// Finds the folder that has a document, and reads that.
    pub fn find(search: Search) -> Option<Self> {
        let custom = search.root.is_some();
        let named = search.root.iter().cloned();
        let installed = search.places.iter().filter_map(|place| package(place)).filter(|root| is_ours(root));
        let (root, html) = named.chain(installed).find_map(|root| {
            let root = fs::canonicalize(root).ok()?;
            let html = document(&root)?;
            Some((root, html))
        })?;
        let document = Document::of(&html, &search.base);
        Some(Self { document, root, custom, search })
    }

    /// The file `name` of the folder; `None` where there is none, or where a link leads out of the folder.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let path = fs::canonicalize(self.root.join(name)).ok()?;
        path.starts_with(&self.root).then_some(path)
    }
}

/// The folder of the app in the package that `place` is, or belongs to.
fn package(place: &Path) -> Option<PathBuf> {
    let place = fs::canonicalize(place).ok()?;
    let app = |dir: &Path| dir.join("dist/control-ui");
    // The program stands in the package, or in a folder of it.
    place.ancestors().take(3).map(app).find(|dir| dir.join("index.html").exists())
}

/// Whether a folder that nobody named is this account's or root's: what it shows is given the user's token.
fn is_ours(root: &Path) -> bool {
    fs::metadata(root).is_ok_and(|of| [0, geteuid().as_raw()].contains(&of.uid()))
}

fn document(root: &Path) -> Option<String> {
    let path = fs::canonicalize(root.join("index.html")).ok().filter(|path| path.starts_with(root))?;
    let of = fs::metadata(&path).ok().filter(|of| of.is_file() && of.len() <= DOCUMENT)?;
    let mut text = String::with_capacity(of.len() as usize);
    let file = crate::host::open_nonblocking(&path).ok()?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, DOCUMENT), &mut text).ok()?;
    Some(text)
}
