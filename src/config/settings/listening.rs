//! Listening address and port, and the credential that listening beyond loopback requires.

use super::Settings;
use crate::{
    config::{AuthMode, Bind, ConfigError, Env, Flags, keys::DEFAULT_PORT, model::GatewayConfig},
    net::{listen, local_addr},
    tls::Tls,
};
use std::net::IpAddr;

impl Settings {
    /// Addresses to open sockets on. `auto` is loopback, unless this is a container, whose loopback nobody else can
    /// reach.
    pub fn where_to_listen(&self) -> listen::Bind {
        match self.bind {
            Bind::Loopback => listen::Bind::Loopback,
            Bind::Lan => listen::Bind::Lan,
            Bind::Custom(ip) if ip.is_unspecified() => listen::Bind::Lan,
            Bind::Custom(ip) => listen::Bind::Address(ip),
            Bind::Tailnet => listen::Bind::Tailnet,
            Bind::Auto if in_container() => listen::Bind::Lan,
            Bind::Auto => listen::Bind::Loopback,
        }
    }

    /// An address other hosts may reach this one at.
    pub fn reachable_at(&self) -> Option<IpAddr> {
        match self.where_to_listen() {
            listen::Bind::Loopback => None,
            listen::Bind::Address(ip) => Some(ip),
            listen::Bind::Lan => local_addr::in_network(),
            listen::Bind::Tailnet => local_addr::in_tailnet(),
        }
    }

    /// URL at which this host's own clients reach the gateway that runs with these settings.
    pub fn local_url(&self) -> String {
        let scheme = if matches!(self.tls, Tls::Off) { "ws" } else { "wss" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Where one of the keys that say where to listen makes no sense, stays where `old` listens; whether
    /// that is so. Clients look for the gateway where it was, not at a default.
    pub fn keep_where_it_listens(&mut self, old: &Self) -> bool {
        let mut kept = false;
        for error in self.errors.iter_mut().filter(|error| error.is_of_listening()) {
            error.keep();
            kept = true;
        }
        if kept {
            (self.port, self.bind) = (old.port, old.bind);
        }
        kept
    }

    /// Listens where the gateway did that this process continues, where `gateway.bind` makes no sense.
    pub(crate) fn keep_last_bind(&mut self) {
        let Some(bind) = self.last_bind.take() else { return };
        self.bind = bind;
        self.errors.iter_mut().filter(|error| error.is_of_bind()).for_each(ConfigError::keep);
        self.close_what_is_open();
    }

    /// Requires a credential for listening beyond loopback.
    pub(crate) fn close_what_is_open(&mut self) {
        if self.bind.is_loopback() {
            return;
        }
        let why = match self.auth {
            AuthMode::None => "gateway.auth.mode is \"none\"; set it to \"token\"",
            AuthMode::TrustedProxy if self.config.trusted_proxies.is_empty() => {
                "gateway.auth.mode is \"trusted-proxy\" and no proxy is trusted; set gateway.trustedProxies"
            }
            AuthMode::TrustedProxy => return,
            _ if self.credentials.active.is_some() || self.wants_token => return,
            AuthMode::Token => "there is no shared token; set gateway.auth.token",
            AuthMode::Password => "there is no shared password; set gateway.auth.password",
        };
        self.notices.push(format!("listening on loopback instead of {}: {why}", self.bind));
        self.bind = Bind::Loopback;
    }
}

/// The port: flag over environment over file over default.
pub(super) fn port(flags: &Flags, env: &Env, config: &GatewayConfig, notices: &mut Vec<String>) -> u16 {
    const NAME: &str = "OPENCLAW_GATEWAY_PORT";
    let text = env.get(NAME);
    // OpenClaw also takes `host:port` there, as container set-ups write it.
    let parsed = text.and_then(|text| text.rsplit(':').next()?.parse().ok()).filter(|port| *port != 0);
    if let (Some(text), None) = (text, parsed) {
        notices.push(format!("{NAME}={text:?} is no port and counts as unset"));
    }
    flags.port.or(parsed).or(config.port).unwrap_or_else(|| default_port(env))
}

/// A named profile has a port of its own, so that two run side by side: 20000 plus FNV-1a of its name,
/// within 40000, as `openclaw --profile <name> gateway status` (2026.9.6) shows it.
fn default_port(env: &Env) -> u16 {
    let Some(profile) = crate::config::paths::profile(env) else { return DEFAULT_PORT };
    let hash = profile.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    20_000 + (hash % 40_000) as u16
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|p| std::path::Path::new(p).exists())
        || std::env::var_os("container").is_some()
}
