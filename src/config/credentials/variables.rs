//! `${VAR}` in the texts of the configuration.
//!
//! Source: OpenClaw's `docs/gateway/config-secrets-env.md`, "Env var substitution".

use crate::config::{Env, Paths, text::node::Node};
use std::borrow::Cow;
use std::fmt;

/// Values for `${VAR}`: the environment, then `.env`, then the file's own `env`.
#[derive(Clone, Copy)]
pub struct Variables<'v> {
    env: &'v Env,
    paths: &'v Paths,
    root: &'v Node,
}

/// A variable that is set nowhere.
pub struct Missing {
    /// Name of the variable.
    pub name: String,
    dotenv: String,
}

impl Missing {
    /// Lists the places that were searched for the variable.
    pub fn wanting(&self) -> String {
        format!("is set neither in the environment nor in {} nor under env in the file", self.dotenv)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the variable {} {}", self.name, self.wanting())
    }
}

impl<'v> Variables<'v> {
    /// The variables of a source whose root is `root`.
    pub fn new(env: &'v Env, paths: &'v Paths, root: &'v Node) -> Self {
        Self { env, paths, root }
    }

    /// The environment that comes before the file's own `env`.
    pub(crate) fn env(&self) -> &'v Env {
        self.env
    }

    /// The value of one.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn get(&self, name: &str) -> Result<&'v str, Missing> {
        let own = || {
            let env = self.root.get("env")?;
            let text = env.find(["vars", name]).or_else(|| env.get(name))?.text()?.trim();
            (!text.is_empty()).then_some(text)
        };
        let missing = || Missing { name: name.into(), dotenv: self.paths.dotenv().display().to_string() };
        self.env.get(name).or_else(own).ok_or_else(missing)
    }

    /// `text` with each `${NAME}` replaced; `$${NAME}` stands for a literal `${NAME}`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn expand<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, Missing> {
        if !text.contains("${") {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            let name = from[2..].split_once('}').map(|(name, _)| name).filter(|n| is_variable(n));
            let Some(name) = name else {
                out.push_str(before);
                out.push_str("${");
                rest = &from[2..];
                continue;
            };
            let (whole, after) = from.split_at(name.len() + 3);
            match before.strip_suffix('$') {
                Some(before) => out.extend([before, whole]),
                None => out.extend([before, self.get(name)?]),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }
}

/// Whether it can be the name of a variable.
pub(crate) fn is_variable(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The variable that is meant where `text` holds one as only a shell or a compose file would replace it:
/// `${name}`, `${NAME:-default}`.
pub(crate) fn unlike_variable(text: &str) -> Option<String> {
    text.split("${").skip(1).find_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        let (name, after) = rest.split_at(end);
        let (meant, whole) = (name.to_ascii_uppercase(), after.starts_with('}'));
        let default = after.starts_with([':', '-', '?', '+']) && after.contains('}');
        (is_variable(&meant) && (default || whole && !is_variable(name))).then_some(meant)
    })
}
