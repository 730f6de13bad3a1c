//! What the running gateway asks its settings.

use super::logging::Levels;
use super::{AuthMode, Bind, Settings};
use crate::net::listen;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

impl Settings {
    /// Where the sockets are to be opened. `auto` is loopback, unless this is a container, whose
    /// loopback nobody else can reach; a tailnet that is not up leaves loopback.
    pub fn where_to_listen(&self) -> listen::Bind {
        match self.bind {
            Bind::Loopback => listen::Bind::Loopback,
            Bind::Lan => listen::Bind::Lan,
            Bind::Custom(ip) if ip.is_unspecified() => listen::Bind::Lan,
            Bind::Custom(ip) => listen::Bind::Address(ip),
            Bind::Tailnet => tailnet().map_or(listen::Bind::Loopback, listen::Bind::Address),
            Bind::Auto if in_container() => listen::Bind::Lan,
            Bind::Auto => listen::Bind::Loopback,
        }
    }

    /// An address other hosts may reach this one at.
    pub fn reachable_at(&self) -> Option<IpAddr> {
        match self.where_to_listen() {
            listen::Bind::Loopback => None,
            listen::Bind::Address(ip) => Some(ip),
            listen::Bind::Lan => own_address([192, 0, 2, 1]),
        }
    }

    /// How much is said: `--verbose` wins over the file.
    pub fn levels(&self) -> Levels {
        if self.verbose { Levels::VERBOSE } else { self.config.levels }
    }

    /// Where the shared credential comes from, for a message.
    pub fn credential_source(&self) -> String {
        match (&self.credentials.active, self.auth) {
            (_, AuthMode::None) => "no credential asked for".into(),
            (Some((_, source)), _) => source.to_string(),
            (None, _) => "no shared credential: paired devices only".into(),
        }
    }

    /// Why there is no shared credential to compare with, and what to do.
    pub fn not_configured(&self) -> String {
        match self.auth {
            AuthMode::TrustedProxy => {
                "gateway.auth.mode is \"trusted-proxy\", which this version does not do: it serves paired devices \
                 only; set it to \"token\""
                    .into()
            }
            AuthMode::Password => "set gateway.auth.password in openclaw.json; it counts as soon as it is saved".into(),
            _ => "set gateway.auth.token in openclaw.json, and it counts as soon as it is saved; the gateway's log says why it has \
             none"
                .into(),
        }
    }

    /// The other known place that holds `offered`, as far as can be found now, and what to do about it.
    pub async fn recognise(&self, offered: &str) -> Option<(String, String)> {
        self.credentials.active.as_ref()?;
        if let Some(known) = self.credentials.elsewhere(offered) {
            return Some(known);
        }
        let (search, wanted) = (self.credentials.search.clone(), offered.to_owned());
        let source = smol::unblock(move || search.holder(&wanted)).await?;
        Some((source.to_string(), self.credentials.mend(&source)))
    }
}

/// The address this host would use towards `ip`; nothing is sent.
fn own_address(ip: [u8; 4]) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::from(ip), 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

/// This host's address in its tailnet: Tailscale's resolver is always 100.100.100.100, and hosts are in
/// 100.64.0.0/10 (RFC 6598).
fn tailnet() -> Option<IpAddr> {
    own_address([100, 100, 100, 100]).filter(|ip| match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(_) => false,
    })
}

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|p| std::path::Path::new(p).exists())
        || std::env::var_os("container").is_some()
}
