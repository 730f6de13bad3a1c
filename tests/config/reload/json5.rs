//! A configuration as a table of paths, written out as JSON5.

use std::collections::BTreeMap;

/// Dotted paths and their values as JSON5.
#[derive(Clone, Default)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Local, on loopback, with the token `T1`.
    pub fn new(port: u16) -> Self {
        let mut config = Self::default();
        config.set("gateway.mode", "'local'").set("gateway.port", &port.to_string());
        config.set("gateway.auth.mode", "'token'").set("gateway.auth.token", "'T1'");
        // So that a test need not wait for an editor to come to rest.
        config.set("gateway.reload.debounceMs", "5");
        config
    }

    pub fn set(&mut self, path: &str, value: &str) -> &mut Self {
        self.0.insert(path.into(), value.into());
        self
    }

    pub fn unset(&mut self, path: &str) -> &mut Self {
        self.0.remove(path);
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let rows: Vec<(Vec<&str>, &str)> =
            self.0.iter().map(|(path, value)| (path.split('.').collect(), &**value)).collect();
        format!("// the user's own words\n{}\n", object(&rows, 0))
    }
}

fn object(rows: &[(Vec<&str>, &str)], depth: usize) -> String {
    let mut groups: BTreeMap<&str, Vec<(Vec<&str>, &str)>> = BTreeMap::new();
    for (path, value) in rows {
        groups.entry(path[depth]).or_default().push((path.clone(), value));
    }
    let keys: Vec<String> = groups
        .iter()
        .map(|(key, rows)| {
            let value = match &rows[..] {
                [(path, value)] if path.len() == depth + 1 => value.to_string(),
                _ => object(rows, depth + 1),
            };
            format!("{}\"{key}\": {value},\n", "  ".repeat(depth + 1))
        })
        .collect();
    format!("{{\n{}{}}}", keys.concat(), "  ".repeat(depth))
}
