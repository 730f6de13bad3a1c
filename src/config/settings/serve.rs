//! What the running gateway asks its settings.

use crate::{
    config::{AuthMode, Bind, Settings, model::logging::Levels},
    net::{listen, local_addr},
    tls::Tls,
};
use std::net::IpAddr;

impl Settings {
    /// Where the sockets are to be opened. `auto` is loopback, unless this is a container, whose
    /// loopback nobody else can reach.
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

    /// Where this host's own clients find the gateway that runs with them.
    pub fn local_url(&self) -> String {
        let scheme = if matches!(self.tls, Tls::Off) { "ws" } else { "wss" };
        format!("{scheme}://127.0.0.1:{}", self.port)
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

fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|p| std::path::Path::new(p).exists())
        || std::env::var_os("container").is_some()
}
