//! How a client introduced itself, kept to introduce it to the gateway behind this one.

use crate::{
    hub::Session,
    protocol::{Params, displayed, json},
};
use nanoserde::{DeBin, SerBin, SerJson};

/// Parameters of `connect` that this gateway decides about, so that the client's are not passed on.
const OWN: &[&str] = &["minProtocol", "maxProtocol", "role", "scopes", "device", "auth"];
/// Most bytes that are kept of one client.
const LONGEST: usize = 16 << 10;

/// The introduction of a client.
#[derive(Clone, PartialEq, Eq, Default, Debug, SerBin, DeBin)]
pub struct Greeting {
    /// `client`, JSON.
    client: String,
    /// The other members of `connect` that are passed on, each with a comma before it, JSON.
    more: String,
    /// Value of `Host`.
    pub host: Option<String>,
    /// Value of `Origin`.
    pub origin: Option<String>,
}

impl Greeting {
    /// The introduction in the parameters of `connect`, and in the head of the upgrade.
    pub fn of(params: &Params<'_>, host: Option<&str>, origin: Option<&str>) -> Self {
        let mut more = String::new();
        for (name, value) in params.entries().filter(|(name, _)| *name != "client" && !OWN.contains(name)) {
            if more.len() + name.len() + value.len() < LONGEST {
                more.push(',');
                more.push_str(&format!("{}:{value}", name.to_owned().serialize_json()));
            }
        }
        let client = params.value("client").filter(|client| client.len() < LONGEST).unwrap_or("{}");
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { client: client.into(), more, host: owned(host), origin: owned(origin) }
    }

    /// The introduction of a client that attached when nothing of it was kept.
    pub fn of_session(session: &Session) -> Self {
        let client = &session.client;
        let members = [
            ("id", &client.client_id),
            ("mode", &client.client_mode),
            ("version", &client.version),
            ("platform", &client.platform),
            ("deviceFamily", &client.family),
            ("displayName", &client.name),
            ("modelIdentifier", &client.model),
        ];
        let members = members.map(|(name, value)| (name, value.as_deref()));
        let members = members.into_iter().chain([("instanceId", session.instance.as_deref())]);
        let members = members.filter_map(|(name, value)| Some((name, value?)));
        let client: Vec<String> =
            members.map(|(name, value)| format!("\"{name}\":{}", value.serialize_json())).collect();
        let declared = session.declared();
        let permissions: Vec<String> =
            declared.permissions.iter().map(|(name, on)| format!("{}:{on}", name.serialize_json())).collect();
        let more = format!(
            r#","caps":{},"commands":{},"permissions":{{{}}}"#,
            declared.caps.serialize_json(),
            declared.commands.serialize_json(),
            permissions.join(",")
        );
        Self { client: format!("{{{}}}", client.join(",")), more, ..Self::default() }
    }

    /// The text `client.<name>`; empty if there is none.
    pub fn client(&self, name: &str) -> String {
        let found = json::members(&self.client).filter(|(key, _)| *key == name).last();
        found.and_then(|(_, value)| super::frame::string(value)).unwrap_or_default().into_owned()
    }

    /// The members `client` and those passed on, JSON.
    pub fn members(&self) -> String {
        format!(r#""client":{}{}"#, self.client, self.more)
    }

    /// The same of a client on `platform`, and of no device's family: those of the device that speaks for it.
    pub fn members_on(&self, platform: &str) -> String {
        let own = |name: &str| matches!(name, "platform" | "deviceFamily");
        let client: String = json::members(&self.client)
            .filter(|(name, _)| !own(name))
            .map(|(name, value)| format!("{}:{value},", name.to_owned().serialize_json()))
            .collect();
        format!(r#""client":{{{client}"platform":{}}}{}"#, platform.to_owned().serialize_json(), self.more)
    }

    /// The name for log lines.
    pub fn name(&self) -> String {
        displayed(&self.client("id")).into_owned()
    }
}
