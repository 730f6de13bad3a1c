//! A pairing that waits for somebody at the gateway behind this one: which request it is, and what approves it.

use crate::protocol::{Scopes, json};
use crate::upstream::frame;
use nanoserde::SerJson;
use std::fmt;

/// Longest id of a request that is shown as part of a command.
const LONGEST: usize = 64;

/// A request that the gateway behind this one keeps.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::upstream) struct Pairing {
    /// Its id there; `None` where none was given, or none that can stand in a command.
    pub request: Option<String>,
    /// Id of the device that asks.
    device: String,
    role: String,
    reason: String,
    /// Scopes that the device has already.
    pub approved: Scopes,
}

impl Pairing {
    /// Reads the `error` of a refused `connect`.
    pub fn read(error: &str) -> Self {
        let text = |name: &str| {
            let found = frame::text_at(error, &["details", name]);
            found.map(|text| crate::host::cut(&text, 100).to_owned()).unwrap_or_default()
        };
        let fits = |id: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (1..=LONGEST).contains(&id.len()) && !id.starts_with('-') && id.chars().all(plain)
        };
        let approved =
            frame::at(error, &["details", "approvedScopes"]).map(json::items).into_iter().flatten();
        let approved: Vec<String> =
            approved.filter_map(frame::string).map(|name| name.into_owned()).collect();
        Self {
            request: Some(text("requestId")).filter(fits),
            device: text("deviceId"),
            role: text("requestedRole"),
            reason: text("reason"),
            approved: Scopes::from_names(approved.iter().map(String::as_str)),
        }
    }

    /// Whether the device is paired there, and asks for more scopes than it has.
    pub fn is_for_more(&self) -> bool {
        self.reason == "scope-upgrade"
    }

    /// The command that approves it, to be run on the host of the gateway behind this one.
    fn command(&self) -> String {
        match &self.request {
            Some(id) => format!("openclaw devices approve {id}"),
            None => "openclaw devices list".into(),
        }
    }

    /// The object that `status`, `health` and `/readyz` show; `name` says whose device it is.
    pub fn report(&self, name: &str) -> String {
        #[derive(SerJson)]
        #[allow(non_snake_case)]
        struct Report {
            name: String,
            requestId: Option<String>,
            deviceId: String,
            role: String,
            reason: String,
            command: String,
        }
        Report {
            name: name.into(),
            requestId: self.request.clone(),
            deviceId: self.device.clone(),
            role: self.role.clone(),
            reason: self.reason.clone(),
            command: self.command(),
        }
        .serialize_json()
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason.as_str() {
            "scope-upgrade" => "more scopes have",
            "metadata-upgrade" => "the device's new details have",
            "role-upgrade" => "the device's role has",
            _ => "the device has",
        };
        write!(f, "{what} to be approved there: on its host run `{}`", self.command())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        for (details, shown, approved) in [
            (
                r#"{"code":"PAIRING_REQUIRED","reason":"not-paired","requestId":"5cc2-a"}"#,
                "the device has to be approved there: on its host run `openclaw devices approve 5cc2-a`",
                "",
            ),
            (
                r#"{"reason":"scope-upgrade","requestId":"r","approvedScopes":["operator.read","x"]}"#,
                "more scopes have to be approved there: on its host run `openclaw devices approve r`",
                "operator.read",
            ),
            (
                r#"{"requestId":"a; rm -rf ~"}"#,
                "the device has to be approved there: on its host run `openclaw devices list`",
                "",
            ),
            (
                r#"{"requestId":"--latest"}"#,
                "the device has to be approved there: on its host run `openclaw devices list`",
                "",
            ),
            ("{}", "the device has to be approved there: on its host run `openclaw devices list`", ""),
        ] {
            let pairing = Pairing::read(&format!(r#"{{"code":"NOT_PAIRED","details":{details}}}"#));
            assert_eq!(pairing.to_string(), shown, "{details}");
            assert_eq!(pairing.approved.to_string(), approved, "{details}");
        }
    }
}
