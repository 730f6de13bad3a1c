//! The answer of `device.pair.list`: looks devices up by id or prefix, and shows them.

use crate::{
    cli::{
        Failure,
        table::{Table, plain},
    },
    clock::timestamp,
    protocol::{Fields, Scopes},
};
use miniserde::json::Value;

/// Fewest digits that name an id.
const PREFIX: usize = 6;

/// Pending requests and paired devices.
#[derive(Default)]
pub(super) struct Listing {
    /// The answer as it came.
    pub answer: String,
    pub pending: Vec<Pending>,
    pub paired: Vec<Paired>,
}

/// An entry of `pending`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub id: String,
    pub device: String,
    pub role: String,
    pub scopes: Scopes,
    pub at_ms: u64,
    public_key: String,
    name: String,
    from: String,
}

/// A role of a paired device.
#[derive(Clone)]
struct Token {
    role: String,
    scopes: Scopes,
    revoked: bool,
}

/// An entry of `paired`.
#[derive(Clone)]
pub(super) struct Paired {
    pub id: String,
    name: String,
    client: String,
    mode: String,
    platform: String,
    tokens: Vec<Token>,
    seen_ms: Option<u64>,
    connected: bool,
}

impl Listing {
    pub fn read(answer: String) -> Self {
        let value: Value = miniserde::json::from_str(&answer).unwrap_or_default();
        let read = Fields::of(&value);
        let objects = |name| read.into_iter().flat_map(move |f| f.objects(name));
        let pending = objects("pending").map(Pending::read).collect();
        let paired = objects("paired").map(Paired::read).collect();
        Self { answer, pending, paired }
    }

    /// The request that `wanted` names: its id or its device's, or the beginning of either.
    pub fn request(&self, wanted: &str) -> Result<&Pending, Failure> {
        let whole = self.pending.iter().find(|r| r.id == wanted);
        let mut fitting = self.pending.iter().filter(|r| names(&r.id, wanted) || names(&r.device, wanted));
        match (whole, fitting.next(), fitting.next()) {
            (Some(request), ..) | (None, Some(request), None) => Ok(request),
            (None, Some(_), Some(_)) => {
                Err(Failure::new(1, format!("{wanted} names more than one request\n{}", self.pending_text())))
            }
            _ => Err(unknown("request", wanted)),
        }
    }

    /// The paired device that `wanted` names.
    pub fn device(&self, wanted: &str) -> Result<&Paired, Failure> {
        let mut fitting = self.paired.iter().filter(|d| names(&d.id, wanted));
        match (fitting.next(), fitting.next()) {
            (Some(device), None) => Ok(device),
            (Some(_), Some(_)) => Err(Failure::new(1, format!("{wanted} names more than one device"))),
            _ => Err(unknown("device", wanted)),
        }
    }

    pub fn text(&self) -> String {
        let pending = if self.pending.is_empty() { String::new() } else { self.pending_text() + "\n" };
        if self.paired.is_empty() {
            return pending + "no paired devices\n";
        }
        let mut table = Table::new(&["PAIRED DEVICE", "NAME", "ROLES", "CLIENT", "PLATFORM", "LAST SEEN"]);
        for d in &self.paired {
            let seen = if d.connected { "connected".into() } else { d.seen_ms.map_or("-".into(), minute) };
            let client = format!("{}/{}", d.client, d.mode);
            table.row([short(&d.id), d.name.clone(), d.roles(), client, d.platform.clone(), seen]);
        }
        pending + &table.text()
    }

    /// Lists what approving `request` grants, a line each.
    pub fn details(&self, request: &Pending) -> String {
        let scopes = match request.scopes.is_empty() {
            true => "none".into(),
            false => request.scopes.to_string(),
        };
        let device = format!("{} {}", request.name, request.device);
        let from = format!("{} UTC, from {}", minute(request.at_ms), request.from);
        let rows = [
            ("device", device),
            ("role", request.role.clone()),
            ("scopes", scopes),
            ("it has", self.roles_of(request)),
            ("pending", from),
        ];
        rows.iter().map(|(name, value)| format!("  {name:9}{}\n", plain(value))).collect()
    }

    fn roles_of(&self, request: &Pending) -> String {
        self.paired.iter().find(|d| d.id == request.device).map_or("nothing yet".into(), Paired::roles)
    }

    /// Pending requests, as a table.
    pub fn pending_text(&self) -> String {
        let mut table =
            Table::new(&["PENDING REQUEST", "DEVICE", "NAME", "ASKS FOR", "HAS", "FROM", "SINCE"]);
        for r in &self.pending {
            let has = self.roles_of(r);
            let asks = role(&r.role, r.scopes);
            let (id, name, from) = (r.id.clone(), r.name.clone(), r.from.clone());
            table.row([id, short(&r.device), name, asks, has, from, minute(r.at_ms)]);
        }
        table.text()
    }
}

impl Pending {
    fn read(f: Fields<'_>) -> Self {
        Self {
            id: f.text("requestId").into(),
            device: f.text("deviceId").into(),
            role: f.text("role").into(),
            scopes: Scopes::from_names(f.strs("scopes")),
            at_ms: f.u64("ts").unwrap_or(0),
            public_key: f.text("publicKey").into(),
            name: name(f),
            from: f.text("remoteIp").into(),
        }
    }

    pub fn phrase(&self) -> String {
        plain(&format!("{} {} for {}", self.name, short(&self.device), role(&self.role, self.scopes)))
    }
}

impl Paired {
    fn read(f: Fields<'_>) -> Self {
        let token = |t: Fields<'_>| Token {
            role: t.text("role").into(),
            scopes: Scopes::from_names(t.strs("scopes")),
            revoked: t.u64("revokedAtMs").is_some(),
        };
        Self {
            id: f.text("deviceId").into(),
            name: name(f),
            client: f.text("clientId").into(),
            mode: f.text("clientMode").into(),
            platform: f.text("platform").into(),
            tokens: f.objects("tokens").map(token).collect(),
            seen_ms: f.u64("lastSeenAtMs"),
            connected: f.is("connected"),
        }
    }

    pub fn phrase(&self) -> String {
        plain(&format!("{} {}", self.name, short(&self.id)))
    }

    /// Whether it has `role`, and it is not revoked.
    pub fn has_role(&self, role: &str) -> bool {
        self.tokens.iter().any(|t| t.role == role && !t.revoked)
    }

    /// Whether its client reports itself as a web page.
    pub fn is_browser(&self) -> bool {
        matches!(self.client.as_str(), "openclaw-control-ui" | "webchat" | "webchat-ui")
            || matches!(self.mode.as_str(), "webchat" | "ui")
    }

    fn roles(&self) -> String {
        let one = |t: &Token| role(&t.role, t.scopes) + if t.revoked { " (revoked)" } else { "" };
        self.tokens.iter().map(one).collect::<Vec<_>>().join(" + ")
    }
}

/// Formats a role: `operator [read,write]`.
fn role(role: &str, scopes: Scopes) -> String {
    if scopes.is_empty() {
        role.into()
    } else {
        format!("{role} [{}]", scopes.to_string().replace("operator.", ""))
    }
}

fn name(f: Fields<'_>) -> String {
    let name = ["operatorLabel", "displayName", "clientId"].into_iter().find_map(|n| f.str(n));
    name.unwrap_or("-").into()
}

/// Whether `wanted` is the id `id`, or a prefix that is long enough.
pub(super) fn names(id: &str, wanted: &str) -> bool {
    let wanted = wanted.to_ascii_lowercase();
    id == wanted || (wanted.len() >= PREFIX && id.starts_with(&wanted))
}

fn unknown(what: &str, wanted: &str) -> Failure {
    let more = if wanted.len() < PREFIX { "; give its first six digits or more" } else { "" };
    Failure::new(1, format!("no {what} {wanted}{more}; see: barnacle devices list"))
}

/// A prefix of an id that is long enough to name it by.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A time to the minute, in UTC.
fn minute(ms: u64) -> String {
    timestamp(ms).get(..16).unwrap_or_default().replace('T', " ")
}
