//! Verification of a connect frame: the device by its signature, the secrets by comparison.

use super::hello::token_generations;
use crate::{
    app::App,
    auth::{
        Facts, Refusal,
        identity::{self, BadProof},
        limiter::Origin,
        payload::Payload,
        policy::{Bearer, Bootstrap, Denied, Shared},
        prepared::PreparedKey,
        refusal::{Mismatch, SecretKind},
    },
    clock::wall_ms,
    config::AuthMode,
    hub::displays,
    net::Peer,
    protocol::{Connect, DeviceId, DeviceParams, Fingerprints, PublicKey, Role, Scopes, displayed, hex},
    store::{Device, Display, Registry},
};
use std::{io::Write, net::IpAddr, rc::Rc, time::Duration};

/// The verified identity and credentials of a connect frame, and the facts that a refusal names.
pub struct Proof<'a> {
    connect: &'a Connect<'a>,
    peer: &'a Peer,
    pub role: Role,
    pub requested: Scopes,
    /// Public key that the signature was verified with.
    pub key: Option<Rc<PreparedKey>>,
    /// Record of the device in the registry.
    pub record: Option<Rc<Device>>,
    /// Time at which the device was removed, if it was.
    pub removed_ms: Option<u64>,
    /// Display data that the client sent.
    pub display: Rc<Display>,
    shared: Shared,
    bearer: Bearer,
    bootstrap: Bootstrap,
    locked: Option<Duration>,
    /// Values offered as the shared secret, without the device's own tokens.
    guesses: Vec<&'a str>,
    settings: Rc<crate::config::Settings>,
}

/// Bytes of the longest text of an address.
const LONGEST_IP: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();
/// A signature further off than this is worth a word in the journal, milliseconds.
const CLOCK_FAR_OFF: u64 = 120_000;

/// Verifies the signature and the credentials of a connect frame.
///
/// # Errors
/// When the device's proof is no good: then nothing else of the frame counts.
pub fn gather<'a>(
    app: &Rc<App>,
    peer: &'a Peer,
    nonce: &str,
    connect: &'a Connect<'a>,
    role: Role,
) -> Result<Proof<'a>, Refusal> {
    let key = connect.device.as_ref().map(|d| verify_device(app, connect, d, nonce)).transpose()?;
    let registry = app.devices.registry();
    let id = key.as_ref().map(|key| key.device_id());
    let record = id.and_then(|id| registry.device(&id).cloned());
    let settings = app.settings();
    let client = &connect.client;
    let shown = [
        client.display_name,
        client.platform,
        client.device_family,
        client.model,
        client.version,
        Some(client.id),
        Some(client.mode),
    ];
    let [name, platform, family, model, version, client_id, client_mode] =
        &shown.map(|text| text.map(displayed).filter(|text| !text.is_empty()));
    let said = [name, platform, family, model, version, client_id, client_mode].map(Option::as_deref);
    let [name, platform, family, model, version, client_id, client_mode] = said;
    let mut ip = [0; LONGEST_IP];
    let ip = Some(ip_text(peer.ip, &mut ip));
    let display = displays::shared(&[name, platform, family, model, version, client_id, client_mode, ip]);
    let origin = Origin { ip: peer.ip, loopback: peer.loopback };
    // A token of the device's own may stand where the shared one does.
    let is_own = |token: &&str| {
        let generation = |id| token_generations(app, &registry, &id, record.as_deref(), role, token);
        id.is_some_and(|id| !matches!(generation(id), Bearer::None | Bearer::Unknown { .. }))
    };
    let shared = shared(&settings, connect);
    let guesses = match shared {
        Shared::Wrong => offered(connect).filter(|token| !is_own(token)).collect(),
        _ => Vec::new(),
    };
    Ok(Proof {
        guesses,
        connect,
        peer,
        role,
        requested: match role {
            Role::Operator => Scopes::from_names(connect.scopes.iter().copied()),
            Role::Node => Scopes::NONE,
        },
        key,
        removed_ms: id.and_then(|id| registry.tombstone(&id).map(|t| t.removed_ms)),
        display,
        shared,
        bearer: id.map_or(Bearer::None, |id| bearer(app, &registry, &id, record.as_deref(), connect, role)),
        bootstrap: bootstrap(app, &registry, id, connect),
        locked: app.handshakes.locked(origin),
        record,
        settings,
    })
}

/// The text of an address, in `room`.
fn ip_text(ip: IpAddr, room: &mut [u8; LONGEST_IP]) -> &str {
    let mut rest = &mut room[..];
    // It has the room that it needs.
    let _ = write!(rest, "{ip}");
    let length = LONGEST_IP - rest.len();
    std::str::from_utf8(&room[..length]).unwrap_or_default()
}

fn verify_device(
    app: &App,
    connect: &Connect<'_>,
    device: &DeviceParams<'_>,
    nonce: &str,
) -> Result<Rc<PreparedKey>, Refusal> {
    let key = PublicKey::parse(device.public_key).ok_or(Refusal::PublicKey)?;
    let known = app.handshakes.keys.borrow().get(&key);
    let id = known.as_ref().map_or_else(|| key.device_id(), |known| known.device_id());
    if DeviceId::parse(device.id) != Some(id) {
        return Err(Refusal::DeviceId { expected: id });
    }
    if device.nonce.trim().is_empty() {
        return Err(Refusal::NonceMissing);
    }
    if device.nonce != nonce {
        return Err(Refusal::NonceMismatch);
    }
    let client = &connect.client;
    let payload = Payload {
        device_id: device.id,
        client_id: client.id,
        client_mode: client.mode,
        role: connect.role,
        scopes: &connect.scopes,
        signed_at: device.signed_at,
        nonce,
        platform: client.platform.unwrap_or_default(),
        device_family: client.device_family.unwrap_or_default(),
    };
    let tokens = connect.auth.signed_tokens();
    let key = match known {
        Some(known) => known,
        None => Rc::new(PreparedKey::of_device(&key, id).ok_or(Refusal::PublicKey)?),
    };
    identity::verify_by(&key, device.signature, &payload, tokens).map_err(|e| match e {
        BadProof::Key => Refusal::PublicKey,
        BadProof::Signature => Refusal::Signature,
    })?;
    // The nonce proves that it was signed now, whatever the two clocks say.
    let off = device.signed_at.abs_diff(wall_ms());
    if off > CLOCK_FAR_OFF {
        log::info!("the clock of device {} is {} s off ours", id.short(), off / 1000);
    }
    Ok(key)
}

/// Lists the values in the frame that may be the shared secret. Either field may hold it.
fn offered<'a>(connect: &Connect<'a>) -> impl Iterator<Item = &'a str> {
    let auth = &connect.auth;
    // Trimmed, as the gateway's own is: a secret read from a file brings its line's end along.
    [auth.token, auth.password].into_iter().flatten().map(str::trim).filter(|s| !s.is_empty())
}

fn shared(settings: &crate::config::Settings, connect: &Connect<'_>) -> Shared {
    match (settings.auth, &settings.credentials.active) {
        (AuthMode::None, _) => Shared::Good,
        (AuthMode::Token | AuthMode::Password, Some((secret, _))) => {
            if offered(connect).any(|s| secret.matches(s)) {
                Shared::Good
            } else if offered(connect).next().is_some() {
                Shared::Wrong
            } else {
                Shared::Missing
            }
        }
        _ => Shared::NotConfigured,
    }
}

fn bearer(
    app: &App,
    registry: &Registry,
    id: &DeviceId,
    record: Option<&Device>,
    connect: &Connect<'_>,
    role: Role,
) -> Bearer {
    let auth = &connect.auth;
    let offered = [(auth.device_token, true), (auth.token, false)];
    let offered = offered.into_iter().filter_map(|(token, explicit)| Some((token?, explicit)));
    let mut best = Bearer::None;
    for (token, explicit) in offered.filter(|(token, _)| !token.is_empty()) {
        match token_generations(app, registry, id, record, role, token) {
            Bearer::Good => return Bearer::Good,
            Bearer::Unknown { .. } if best == Bearer::None => best = Bearer::Unknown { explicit },
            Bearer::Unknown { .. } | Bearer::None => {}
            old => best = old,
        }
    }
    best
}

fn bootstrap(app: &App, registry: &Registry, id: Option<DeviceId>, connect: &Connect<'_>) -> Bootstrap {
    let Some(token) = connect.auth.bootstrap_token.filter(|t| !t.is_empty()) else {
        return Bootstrap::None;
    };
    let uptime = app.boot.clock.uptime_ms();
    let found = registry.setup_codes().iter().find(|c| c.hash.matches(token));
    match (found, id) {
        (Some(code), Some(id)) => match code.spent {
            Some((by, _)) if by == id => Bootstrap::Good(code.access),
            None if uptime < code.left_ms => Bootstrap::Good(code.access),
            _ => Bootstrap::Bad,
        },
        _ => Bootstrap::Bad,
    }
}

impl Proof<'_> {
    pub fn peer_ip(&self) -> IpAddr {
        self.peer.ip
    }

    /// Scopes approved for the role asked for; `None` if the role is not approved.
    pub fn approved(&self) -> Option<Scopes> {
        let grant = self.record.as_ref()?.grant(self.role)?;
        grant.revoked_ms.is_none().then_some(grant.scopes)
    }

    /// Id of the verified device.
    pub fn device(&self) -> Option<DeviceId> {
        self.key.as_ref().map(|key| key.device_id())
    }

    /// Public key of the verified device.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.key.as_ref().map(|key| key.public_key())
    }

    /// The bootstrap token, if it is good.
    pub fn good_bootstrap(&self) -> Option<&str> {
        match self.bootstrap {
            Bootstrap::Good(_) => self.connect.auth.bootstrap_token,
            _ => None,
        }
    }

    /// The tokens in the frame that may be the device's own.
    pub fn bearer_tokens(&self) -> impl Iterator<Item = &str> {
        let auth = &self.connect.auth;
        [auth.device_token, auth.token].into_iter().flatten()
    }

    /// The facts for the decision.
    pub fn facts(&self) -> Facts<'_> {
        let ui = &self.settings.config.control_ui;
        let control_ui =
            self.connect.client.id == "openclaw-control-ui" || self.connect.client.id == "webchat-ui";
        Facts {
            role: self.role,
            requested: self.requested,
            device: self.key.is_some(),
            known: self.record.is_some(),
            grant: self.record.as_ref().and_then(|d| d.grant(self.role)),
            removed: self.removed_ms.is_some(),
            shared: self.shared,
            bearer: self.bearer,
            bootstrap: self.bootstrap,
            local: self.peer.local,
            auto_approve_local: self.settings.config.nodes.auto_approve_local,
            key_proof: self.settings.config.auth.device_key_proof,
            locked: self.locked,
            control_ui,
            control_ui_without_device: ui.disable_device_auth || ui.allow_insecure_auth,
        }
    }

    /// The words for a decision against it; counts a wrong secret on the way.
    pub async fn refusal(&self, app: &Rc<App>, denied: Denied) -> Refusal {
        let kind = self.settings.auth.secret_kind();
        let device = self.device().unwrap_or(DeviceId([0; 32]));
        match denied {
            Denied::DeviceRequired => Refusal::DeviceRequired { control_ui: false, switches: String::new() },
            Denied::ControlUiDeviceRequired => {
                Refusal::DeviceRequired { control_ui: true, switches: self.switches() }
            }
            Denied::SharedMissing => Refusal::SharedMissing(kind),
            Denied::SharedNotConfigured => Refusal::SharedNotConfigured(kind, self.settings.not_configured()),
            Denied::DeviceTokenMismatch => Refusal::DeviceToken(device, self.role),
            Denied::DeviceTokenOtherRole(has) => Refusal::DeviceTokenRole { has, wants: self.role, device },
            Denied::BootstrapInvalid => Refusal::Bootstrap,
            Denied::RateLimited(left) => Refusal::RateLimited(left),
            Denied::SharedMismatch(retry) => self.mismatch(app, kind, retry).await,
        }
    }

    /// Counts every wrong shared secret, whatever else in the frame is right, and returns the first. A paired device that
    /// offers one gets in by its own proof, but its guesses are limited: the right one would widen its scopes.
    pub fn count_guess(&self, app: &App) -> &str {
        let wrong = self.guesses.first().copied().unwrap_or_default();
        if self.shared != Shared::Wrong || self.guesses.is_empty() {
            return offered(self.connect).next().unwrap_or_default();
        }
        let origin = Origin { ip: self.peer.ip, loopback: self.peer.loopback };
        for guess in &self.guesses {
            app.handshakes.count_guess(origin, guess);
        }
        wrong
    }

    async fn mismatch(&self, app: &Rc<App>, kind: SecretKind, retry_with_device_token: bool) -> Refusal {
        let wrong = self.count_guess(app);
        let active = self.settings.credentials.active.as_ref();
        let matches = self.settings.recognise(wrong).await;
        Refusal::SharedMismatch(
            kind,
            Box::new(Mismatch {
                retry_with_device_token,
                matches,
                fingerprints: active.and_then(|(secret, _)| secret.reveal()).map(|expected| Fingerprints {
                    offered: hex(&app.devices.key().fingerprint(wrong)),
                    expected: hex(&app.devices.key().fingerprint(expected)),
                }),
                expected_from: active.map(|(_, source)| source.to_string()),
                gateway: Some((app.boot.id.clone(), app.boot.clock.started_ms)),
            }),
        )
    }

    /// Names the configuration switches that were checked, and why none applied.
    fn switches(&self) -> String {
        let ui = &self.settings.config.control_ui;
        format!(
            "Switches read: gateway.controlUi.allowInsecureAuth = {}, dangerouslyDisableDeviceAuth = {}; \
             either would let a page in without a device, with the shared secret",
            ui.allow_insecure_auth, ui.disable_device_auth
        )
    }
}
