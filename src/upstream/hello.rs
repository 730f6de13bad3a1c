//! The `hello-ok` of the gateway behind this one, and what of it goes into this gateway's own.

use super::{frame, ownership};
use crate::protocol::{Event, Scopes, json};
use nanoserde::SerJson;
use std::collections::BTreeSet;

/// Members of `hello-ok` that are this gateway's own, or belong to one connection.
const OWN: &[&str] =
    &["type", "protocol", "server", "features", "snapshot", "auth", "policy", "pluginSurfaceUrls"];
/// Members of `server` and of `snapshot` that are this gateway's own.
const OWN_SERVER: &[&str] = &["connId"];
const OWN_SNAPSHOT: &[&str] = &["presence", "stateVersion", "uptimeMs", "authMode", "health"];
/// Most bytes that are kept.
const LONGEST: usize = 1 << 20;

/// What the gateway behind this one says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    /// `payload`, but for `auth`, which holds a credential.
    pub text: String,
    /// `server.bootId`.
    pub boot: String,
    /// `server.version`.
    pub version: String,
    /// `server.buildId`, by which a page knows whether it is of the same build; else the version.
    pub build: String,
    /// `policy.maxPayload`, bytes.
    pub max_payload: usize,
    /// `auth.deviceToken`.
    pub device_token: Option<String>,
    /// `auth.scopes`.
    pub scopes: Scopes,
}

impl Hello {
    /// Reads the payload of `hello-ok`; `None` if it is none of protocol 4.
    pub fn read(payload: &str) -> Option<Self> {
        let text = |path: &[&str]| frame::text_at(payload, path).map(|text| text.into_owned());
        if payload.len() > LONGEST
            || text(&["type"])? != "hello-ok"
            || frame::at(payload, &["protocol"])? != "4"
        {
            return None;
        }
        let max_payload = frame::at(payload, &["policy", "maxPayload"]).and_then(|n| n.parse().ok());
        let kept: Vec<String> = json::members(payload)
            .filter(|(name, _)| *name != "auth")
            .map(|(name, value)| format!("{}:{value}", name.to_owned().serialize_json()))
            .collect();
        let scopes = frame::at(payload, &["auth", "scopes"]).map(json::items).into_iter().flatten();
        let scopes: Vec<String> = scopes.filter_map(frame::string).map(|name| name.into_owned()).collect();
        let version = text(&["server", "version"]).unwrap_or_default();
        Some(Self {
            text: format!("{{{}}}", kept.join(",")),
            build: text(&["server", "buildId"]).unwrap_or_else(|| version.clone()),
            boot: text(&["server", "bootId"]).or_else(|| text(&["server", "connId"]))?,
            version,
            max_payload: max_payload.unwrap_or(512 << 10),
            device_token: text(&["auth", "deviceToken"]).filter(|token| !token.is_empty()),
            scopes: Scopes::from_names(scopes.iter().map(String::as_str)),
        })
    }

    /// The pieces of this gateway's `hello-ok`, where it has the methods `own`.
    pub fn merged<'a>(&self, own: impl Iterator<Item = &'a str>) -> Merged {
        let list = |path: &[&str]| -> Vec<String> {
            let items = frame::at(&self.text, path).map(json::items).into_iter().flatten();
            items.filter_map(frame::string).map(|name| name.into_owned()).collect()
        };
        let union = |theirs: Vec<String>, own: Vec<String>| {
            let known: BTreeSet<String> = theirs.iter().cloned().collect();
            let more = own.into_iter().filter(|name| !known.contains(name));
            theirs.iter().cloned().chain(more).collect::<Vec<_>>().serialize_json()
        };
        let methods = union(list(&["features", "methods"]), own.map(str::to_owned).collect());
        let events =
            list(&["features", "events"]).into_iter().filter(|event| ownership::passes(event)).collect();
        let events = union(events, Event::names().map(str::to_owned).collect());
        // The protocol asks for one, and a client may rest on that.
        let health = frame::at(&self.text, &["snapshot", "health"]).filter(|health| health.starts_with('{'));
        let features = self.others(&["features"], &["methods", "events"]);
        Merged {
            server: self.others(&["server"], OWN_SERVER),
            features: format!(r#""methods":{methods},"events":{events}{features}"#),
            snapshot: format!(
                r#","health":{}{}"#,
                health.unwrap_or("{}"),
                self.others(&["snapshot"], OWN_SNAPSHOT)
            ),
            more: self.others(&[], OWN),
        }
    }

    /// The members of the object at `path` but for those in `without`, each with a comma before it.
    fn others(&self, path: &[&str], without: &[&str]) -> String {
        let object = frame::at(&self.text, path).unwrap_or("{}");
        let members = json::members(object).filter(|(name, _)| !without.contains(name));
        members.map(|(name, value)| format!(",\"{name}\":{value}")).collect()
    }
}

/// Pieces of a `hello-ok`: members, each with a comma before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Merged {
    /// Of `server`, besides `connId`.
    pub server: String,
    /// All of `features`, without a comma before it.
    pub features: String,
    /// Of `snapshot`.
    pub snapshot: String,
    /// Of the payload.
    pub more: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"type":"hello-ok","protocol":4,"server":{"version":"2026.9.6","bootId":"b","connId":"c"},
        "features":{"methods":["health","cron.list"],"events":["tick","chat","presence"],"capabilities":["x"]},
        "snapshot":{"presence":[1],"health":{"ok":true},"stateVersion":{},"uptimeMs":3},"auth":{"role":"operator","deviceToken":"secret","scopes":["operator.read"]},
        "policy":{"maxPayload":1000},"pluginSurfaceUrls":{"canvas":"http://x"},"controlUiTabs":[]}"#;

    #[test]
    fn what_is_passed_on() {
        let hello = Hello::read(TEXT).unwrap_or_else(|| panic!("a hello-ok"));
        assert_eq!((hello.boot.as_str(), hello.max_payload), ("b", 1000));
        assert_eq!(hello.device_token.as_deref(), Some("secret"));
        assert_eq!(hello.scopes.to_string(), "operator.read");
        assert!(!hello.text.contains("secret"), "{}", hello.text);
        assert!(Hello::read(&hello.text).is_some_and(|again| again.text == hello.text));
        let merged = hello.merged(["health", "config.plan"].into_iter());
        assert_eq!(merged.server, r#","version":"2026.9.6","bootId":"b""#);
        assert!(
            merged
                .features
                .starts_with(r#""methods":["health","cron.list","config.plan"],"events":["chat","#)
        );
        assert!(merged.features.ends_with(r#","capabilities":["x"]"#), "{}", merged.features);
        assert_eq!(merged.snapshot, r#","health":{"ok":true}"#);
        assert_eq!(merged.more, r#","controlUiTabs":[]"#);
    }

    #[test]
    fn what_makes_no_sense() {
        for text in [
            "",
            "{}",
            r#"{"type":"hello-ok","protocol":3,"server":{"bootId":"b"}}"#,
            r#"{"type":"hello-ok","protocol":4}"#,
        ] {
            assert_eq!(Hello::read(text), None, "{text}");
        }
    }
}
