//! The records of the registry: devices with their grants, requests, setup codes. Plain data.
//!
//! Times are wall-clock milliseconds since 1970 and only ever shown; nothing is decided by them, since
//! a board's clock may be years off. What expires carries the milliseconds it has left instead.

use crate::protocol::{DeviceId, PublicKey, RequestId, Role, Scope, Scopes, TokenHash};
use nanoserde::{DeBin, SerBin};
use std::collections::BTreeMap;

/// Time for which a replaced token stays valid, milliseconds.
pub const GRACE_MS: u64 = 24 * 3_600_000;

/// Lifetime of a setup code, milliseconds.
pub const SETUP_CODE_MS: u64 = 600_000;

/// Way of a device's approval; shown to operators as `approvedVia`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Via {
    /// A local client that proved the shared credential.
    Silent,
    /// An operator approved the request.
    Operator,
    /// A setup code was spent.
    SetupCode,
    /// Brought over by `barnacle import`.
    Import,
}

impl Via {
    /// Word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Operator => "owner",
            Self::SetupCode => "setup-code",
            Self::Import => "import",
        }
    }
}

/// Display data of a client: shown, logged, and never a reason to refuse it.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Display {
    /// `client.displayName`.
    pub name: Option<String>,
    /// `client.platform`.
    pub platform: Option<String>,
    /// `client.deviceFamily`.
    pub family: Option<String>,
    /// `client.modelIdentifier`.
    pub model: Option<String>,
    /// `client.version`.
    pub version: Option<String>,
    /// `client.id`.
    pub client_id: Option<String>,
    /// `client.mode`.
    pub client_mode: Option<String>,
    /// The address it last asked from.
    pub ip: Option<String>,
}

impl Display {
    /// The fields, in the order of the declaration.
    pub fn fields(&self) -> [Option<&str>; 8] {
        let Self { name, platform, family, model, version, client_id, client_mode, ip } = self;
        [name, platform, family, model, version, client_id, client_mode, ip].map(Option::as_deref)
    }

    /// Copies [`fields`](Self::fields).
    pub fn of(fields: &[Option<&str>; 8]) -> Self {
        let [name, platform, family, model, version, client_id, client_mode, ip] =
            fields.map(|field| field.map(str::to_owned));
        Self { name, platform, family, model, version, client_id, client_mode, ip }
    }

    /// Whether it is a browser: OpenClaw's Control UI, or another chat page.
    pub fn is_browser(&self) -> bool {
        matches!(self.client_id.as_deref(), Some("openclaw-control-ui" | "webchat" | "webchat-ui"))
            || matches!(self.client_mode.as_deref(), Some("webchat" | "ui"))
    }
}

/// A role of a device: what was approved, and which token generation is current.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Grant {
    /// Role that is granted.
    pub role: Role,
    /// The approved scopes; empty for nodes. Nothing but an operator's rotate narrows them.
    pub scopes: Scopes,
    /// The current token's generation, from 1; see [`Key::device_token`](super::Key::device_token).
    pub generation: u32,
    /// Time of the approval, milliseconds.
    pub created_ms: u64,
    /// Time of the last rotation of its token.
    pub rotated_ms: Option<u64>,
    /// Time of the revocation; a revoked role waits for an operator.
    pub revoked_ms: Option<u64>,
    /// Milliseconds for which the previous generation's token still counts, from the moment the registry
    /// was loaded; `None` once the device has used the current one.
    pub grace_ms: Option<u64>,
    /// The token an imported device still holds, until it is handed its derived one.
    pub imported: Option<TokenHash>,
}

impl Grant {
    /// A fresh grant of generation 1.
    pub fn new(role: Role, scopes: Scopes, now_ms: u64) -> Self {
        Self {
            role,
            scopes,
            generation: 1,
            created_ms: now_ms,
            rotated_ms: None,
            revoked_ms: None,
            grace_ms: None,
            imported: None,
        }
    }
}

/// Commands that only an administrator may expose: `docs/gateway/pairing.md`.
const ADMIN_COMMANDS: [&str; 8] = [
    "system.run",
    "system.run.prepare",
    "system.which",
    "browser.proxy",
    "browser.proxy.upload.v1",
    "fs.listDir",
    "system.execApprovals.get",
    "system.execApprovals.set",
];

/// Capabilities, commands and permissions of a node.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Surface {
    /// High-level categories (`camera`, `canvas` …).
    pub caps: Vec<String>,
    /// Commands it may be invoked with.
    pub commands: Vec<String>,
    /// Permissions, each granted or not.
    pub permissions: BTreeMap<String, bool>,
}

impl Surface {
    /// Whether this surface has every capability and command of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        other.caps.iter().all(|c| self.caps.contains(c))
            && other.commands.iter().all(|c| self.commands.contains(c))
    }

    /// The scopes that approving it takes.
    pub fn scopes_to_approve(&self) -> Scopes {
        let mut scopes = vec![Scope::Pairing];
        if self.commands.iter().any(|c| ADMIN_COMMANDS.contains(&c.as_str())) {
            scopes.push(Scope::Admin);
        } else if !self.commands.is_empty() {
            scopes.push(Scope::Write);
        }
        scopes.into_iter().collect()
    }
}

/// A node's wish for a wider surface. It never expires: the device is paired.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct NodeRequest {
    /// Stable while the node repeats itself.
    pub id: RequestId,
    /// Surface that the node declared.
    pub surface: Surface,
    /// Time of the first request, milliseconds.
    pub created_ms: u64,
}

/// The node side of a device.
#[derive(Clone, Default, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Node {
    /// Surface that an operator approved.
    pub approved: Surface,
    /// Time of the approval; `None` while nothing was approved.
    pub approved_ms: Option<u64>,
    /// A wider surface that waits.
    pub pending: Option<NodeRequest>,
}

impl Node {
    /// Returns what can be used: approved, and still declared by its connection.
    pub fn usable(&self, declared: Option<&Surface>) -> Surface {
        let mut live = self.approved.clone();
        if let Some(declared) = declared {
            live.caps.retain(|c| declared.caps.contains(c));
            live.commands.retain(|c| declared.commands.contains(c));
            live.permissions = declared.permissions.clone();
        }
        live
    }
}

/// A paired device. Its id is the hash of its key.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Device {
    /// Public key of the device.
    pub key: PublicKey,
    /// At most one grant a role.
    pub grants: Vec<Grant>,
    /// Label given by the operator.
    pub label: Option<String>,
    /// Display data that the client sent.
    pub display: Display,
    /// Way of the first approval.
    pub via: Via,
    /// Time of the first approval.
    pub created_ms: u64,
    /// Time of the last approval of any grant.
    pub approved_ms: u64,
    /// Time of the last activity, to the hour.
    pub seen_ms: Option<u64>,
    /// Node data, once the device connected as a node.
    pub node: Node,
}

impl Device {
    /// A device without any grant yet.
    pub fn new(key: PublicKey, display: Display, via: Via, now_ms: u64) -> Self {
        Self {
            key,
            grants: Vec::new(),
            label: None,
            display,
            via,
            created_ms: now_ms,
            approved_ms: now_ms,
            seen_ms: None,
            node: Node::default(),
        }
    }

    /// Id of the device: the hash of its key.
    pub fn id(&self) -> DeviceId {
        self.key.device_id()
    }

    /// The grant for `role`, revoked or not.
    pub fn grant(&self, role: Role) -> Option<&Grant> {
        self.grants.iter().find(|g| g.role == role)
    }

    /// The grant for `role`, to change it.
    pub fn grant_mut(&mut self, role: Role) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|g| g.role == role)
    }

    /// Approves `scopes` for `role`: widens, never narrows, and never touches a valid token. A role
    /// that was revoked starts a new generation, so that the revoked token stays dead.
    pub fn approve(&mut self, role: Role, scopes: Scopes, via: Via, now_ms: u64) {
        self.approved_ms = now_ms;
        if self.grants.is_empty() {
            self.via = via;
        }
        match self.grant_mut(role) {
            Some(grant) if grant.revoked_ms.is_some() => {
                grant.revoked_ms = None;
                grant.generation += 1;
                grant.grace_ms = None;
                grant.imported = None;
                grant.scopes = scopes;
            }
            Some(grant) => grant.scopes = grant.scopes.union(scopes),
            None => self.grants.push(Grant::new(role, scopes, now_ms)),
        }
    }

    /// The name to show: the operator's label, else the device's own.
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref().or(self.display.name.as_deref())
    }
}

/// A request to be paired, or to get a further role or scope. What it asks for never changes.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Request {
    /// Stable while the device retries, through restarts.
    pub id: RequestId,
    /// Public key of the device that asks.
    pub key: PublicKey,
    /// Role that the device asks for.
    pub role: Role,
    /// Scopes that the device asks for.
    pub scopes: Scopes,
    /// Display data that the client sent.
    pub display: Display,
    /// Whether the request came with a valid shared credential or from a paired device; such requests are not pushed
    /// out by those of unknown devices.
    pub trusted: bool,
    /// Time of the first request, milliseconds.
    pub created_ms: u64,
}

/// Grants of a setup code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, SerBin, DeBin)]
pub enum Access {
    /// Node and operator with every scope.
    Full,
    /// Node and a bounded operator (no pairing, no admin).
    Limited,
    /// Role `node` only.
    Node,
}

impl Access {
    /// Word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Limited => "limited",
            Self::Node => "node",
        }
    }
}

/// A one-time setup code: bound to the first key that spends it, repeatable by that key.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct SetupCode {
    /// Public name of the code.
    pub id: RequestId,
    /// Hash of its bootstrap token.
    pub hash: TokenHash,
    /// Grants of the setup code.
    pub access: Access,
    /// The device that spent the code, and when.
    pub spent: Option<(DeviceId, u64)>,
    /// Milliseconds it has left from the moment the registry was loaded.
    pub left_ms: u64,
}

/// A device that was removed, remembered for the refusal that it gets.
#[derive(Clone, PartialEq, Eq, Debug, SerBin, DeBin)]
pub struct Tombstone {
    /// Id of the removed device.
    pub device: DeviceId,
    /// Time of the removal, milliseconds.
    pub removed_ms: u64,
    /// Newest token generation of the device: paired again, it starts after that.
    pub generation: u32,
}
