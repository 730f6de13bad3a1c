//! Credentials that the file does not hold but names: [`${VAR}`](super::variables), `$VAR`, and SecretRef objects.
//!
//! What cannot be resolved is a named error and lets no one in: `${TOKEN}` is never itself the token.
//! Source: OpenClaw's `docs/gateway/secrets/secretref-contract.md`. Of its four sources `env` and
//! `file` are read; `exec` and `store` are refused by name.

use super::{
    secret::{Credential, Secret, is_placeholder},
    secret_files::Form,
    variables::is_variable,
};
use crate::config::{
    ConfigError, Paths,
    model::tree::Section,
    text::{
        file::{self, Document},
        node::{Node, Value},
    },
};
use rustix::process::geteuid;
use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Sources that references are resolved from.
pub struct Resolver<'r> {
    /// Home directory for paths that begin with `~`.
    pub paths: &'r Paths,
    /// The root: `secrets.providers` stands there.
    pub root: &'r Section<'r>,
}

impl Resolver<'_> {
    /// The files that references lead to, there or not.
    pub fn files(&self) -> Vec<PathBuf> {
        let providers = self.root.section("secrets").section("providers");
        let of_files = providers.names().filter_map(|name| {
            let provider = providers.section(name);
            provider.text("source").filter(|source| source == "file").and_then(|_| provider.text("path"))
        });
        of_files.map(|path| self.paths.expand(&path)).collect()
    }

    /// The credential at `name` of `section`, whose dotted path is `path`; `instead` is what holds for one of another
    /// kind.
    pub fn credential(&self, section: &Section<'_>, name: &str, path: &str, instead: &str) -> Credential {
        let resolved = match section.value(name) {
            None if section.is_broken() => Err("what it stands in is not an object".into()),
            None => return Credential::Absent,
            Some(Node { value: Value::Text(text), .. }) if text.trim().is_empty() => {
                return Credential::Absent;
            }
            Some(Node { value: Value::Text(text), .. }) => self.substitute(text.trim()),
            Some(node) if matches!(node.value, Value::Object(_)) => {
                let field = |key| node.get(key).and_then(Node::text);
                self.follow(field("source"), field("provider"), field("id"))
            }
            Some(other) => {
                section.error(name, other, other.kind().into(), ConfigError::TEXT, instead);
                Err(format!("it is {}, not a string in quotes", other.kind()))
            }
        };
        let place = section.value(name).map(|node| section.place(node));
        let unresolved = |why| Credential::Unresolved { path: path.into(), place: place.clone(), why };
        let placeholder = resolved.as_ref().is_ok_and(|text| is_placeholder(text));
        match resolved.map(|text| Secret::new(&text)) {
            Ok(Some(secret)) => Credential::Given(secret),
            Ok(None) if placeholder => {
                unresolved("its value is a placeholder that stands for a hidden secret, and is none".into())
            }
            Ok(None) => unresolved("its value is blank, or the word undefined or null".into()),
            Err(why) => unresolved(why),
        }
    }

    /// A credential may also be written `$NAME`.
    fn substitute(&self, text: &str) -> Result<String, String> {
        if let Some(name) = text.strip_prefix('$').filter(|n| is_variable(n)) {
            return self.variable(name);
        }
        self.root.variables().expand(text).map(Cow::into_owned).map_err(|e| e.to_string())
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        self.root.variables().get(name).map(str::to_owned).map_err(|e| e.to_string())
    }

    fn follow(
        &self,
        source: Option<&str>,
        provider: Option<&str>,
        id: Option<&str>,
    ) -> Result<String, String> {
        let (Some(source), Some(id)) = (source, id) else {
            return Err(
                "a reference must be {source: \"env\" or \"file\", provider: \"…\", id: \"…\"}".into()
            );
        };
        let secrets = self.root.section("secrets");
        let default = secrets.section("defaults");
        let usual = default.text(source);
        let name = provider.or(usual.as_deref()).unwrap_or("default");
        let settings = secrets.section("providers").section(name);
        match source {
            "env" if !is_variable(id) => Err(format!("{id:?} is no name of a variable")),
            "env" => {
                let allowed = settings.list("allowlist", "no variable of it is read");
                let listed = settings.value("allowlist").is_none() || allowed.items.iter().any(|n| n == id);
                if listed {
                    self.variable(id)
                } else {
                    Err(format!("secrets.providers.{name} does not list {id}"))
                }
            }
            "file" => {
                let path = settings.text("path").ok_or_else(|| {
                    format!(
                        "secrets.providers.{name} has no path: it must be {{source: \"file\", path: \"…\"}} (or \
                         {name:?} is not the provider's name)"
                    )
                })?;
                let whole = settings.text("mode").as_deref() == Some("singleValue");
                self.read_file(&self.paths.expand(&path), whole, id)
            }
            "exec" | "store" => Err(format!(
                "references of source {source:?} are not read by this version; give it as ${{NAME}}, or by a \
                 reference of source \"env\" or \"file\""
            )),
            other => Err(format!("its source is {other:?}, must be \"env\" or \"file\"")),
        }
    }

    /// The secret `id` of a file that only its owner can read: as strict as OpenClaw is.
    fn read_file(&self, path: &Path, whole: bool, id: &str) -> Result<String, String> {
        let form = if whole { Form::Value } else { Form::Json };
        let read = || private_bytes(path).map_err(io::Error::other);
        let env = self.root.variables().env();
        let bytes = env.secret_file(path, form, read).map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}');
        if whole {
            return if id == "value" {
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            } else {
                Err("the id of a singleValue provider must be \"value\"".into())
            };
        }
        let document = Document::unwritten(path, text);
        let root = Node::of(&document.parse().map_err(|e| e.to_string())?, 0);
        let pointer = id.strip_prefix('/').ok_or("its id must be a JSON pointer (/…)")?;
        let steps: Vec<_> = pointer.split('/').map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
        let shown = path.display();
        let node =
            root.find(steps.iter().map(String::as_str)).ok_or_else(|| format!("{shown} holds no {id}"))?;
        node.text()
            .map(str::to_owned)
            .ok_or_else(|| format!("{id} of {shown} is {}, not a string", node.kind()))
    }
}

/// The bytes of a plain file that only its owner can read.
fn private_bytes(path: &Path) -> Result<Vec<u8>, String> {
    const LARGEST: u64 = 1 << 20;
    let shown = path.display();
    let meta = std::fs::symlink_metadata(path).map_err(|e| format!("{shown}: {e}"))?;
    let own = meta.uid() == geteuid().as_raw() || meta.uid() == 0;
    if !meta.is_file() || meta.nlink() != 1 || meta.len() > LARGEST {
        return Err(format!("{shown} must be a plain file with one name and at most 1 MiB"));
    }
    if !own || meta.mode() & 0o077 != 0 {
        return Err(format!(
            "{shown} can be read by others; `chmod 600 {shown}`, owned by who runs the gateway"
        ));
    }
    match file::bytes(path, LARGEST) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(format!("{shown} is gone")),
        Err(why) => Err(file::Unreadable { path: path.into(), why }.to_string()),
    }
}
