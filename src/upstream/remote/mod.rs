//! Attaching to a gateway on another host: as a device that was approved there, never with this host's own secrets.
//!
//! ```text
//! no grant yet ─ shared token of the file, every scope wanted ─ approved? ─ device token, kept
//! from then on ─ device token: the watcher reads, a client has its scopes here of those approved there
//! token refused ─ forgotten, and asked for again in the same way
//! ```
//!
//! Only the watcher asks for a grant: OpenClaw replaces the token of a device at some connections that show the shared
//! one. A node is a device of its own there. Seen with OpenClaw 2026.9.6.

mod grants;
mod pairing;

pub(super) use grants::Grants;
pub(super) use pairing::Pairing;

use super::{
    connect::{Auth, Choice, Failure, Persona, choose},
    greeting::Greeting,
    hello::Hello,
    relay::Relay,
    session::{self, Caller},
};
use crate::{
    auth::identity::Identity,
    config::{Kind, Settings, Upstream},
    net::Wire,
    protocol::{DeviceId, Role, Scope, Scopes},
};
use grants::Grant;
use std::rc::Rc;

/// Connections of this gateway to one on another host.
pub(super) struct Remote<'a> {
    pub relay: &'a Relay,
    pub settings: &'a Settings,
    pub upstream: &'a Upstream,
}

/// A client for which a connection is made.
pub(super) struct Client<'a> {
    pub role: Role,
    pub scopes: Scopes,
    pub device: Option<DeviceId>,
    pub greeting: &'a Greeting,
    /// Refusals in a row.
    pub refused: u32,
}

type Opened = Result<(Rc<Wire>, Hello), Failure>;

impl Remote<'_> {
    fn own(&self) -> Identity {
        Identity::from_seed(&self.relay.devices.key().upstream_own_seed())
    }

    fn url(&self) -> String {
        self.upstream.url.to_string()
    }

    /// This gateway's own connection, which only reads.
    pub async fn watcher(&self) -> Opened {
        let id = id_of(&self.own());
        let known = self.relay.grants.of(&self.url(), &id, Role::Operator.as_str());
        if known.is_none_or(|grant| !grant.scopes().covers(self.upstream.scopes)) {
            self.ask().await?;
        }
        let grant = self.granted(&id)?;
        match self.read_by(&grant).await {
            Err(failure) if is_stale(&failure) => {
                self.relay.grants.forget(&grant, &self.relay.tasks);
                self.ask().await?;
                self.read_by(&self.granted(&id)?).await
            }
            opened => opened,
        }
    }

    /// Asks for every scope that is wanted, with the shared token. Goes on with what is granted already where more
    /// waits for approval.
    ///
    /// # Errors
    /// When there is no grant to go on with.
    pub async fn ask(&self) -> Result<(), Failure> {
        let own = self.own();
        let id = id_of(&own);
        let known = self.relay.grants.of(&self.url(), &id, Role::Operator.as_str());
        let opened = match self.shared() {
            Ok(auth) => self.open(Persona::Own(own.into()), Role::Operator, self.upstream.scopes, auth).await,
            Err(failure) => Err(failure),
        };
        let (token, scopes) = match opened {
            Ok((wire, hello)) => {
                wire.close(1000, "");
                self.relay.more.take();
                (hello.device_token.unwrap_or_default(), hello.scopes)
            }
            Err(Failure::Pairing(pairing))
                if pairing.is_for_more() && pairing.approved.allows(Scope::Read) =>
            {
                let approved = pairing.approved;
                if self.relay.more.replace(Some(pairing.clone())).as_ref() != Some(&pairing) {
                    log::warn!("OpenClaw at {} has granted less than is wanted: {pairing}", self.url());
                }
                (known.map(|grant| grant.token).unwrap_or_default(), approved)
            }
            Err(_) if known.is_some() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let grant = Grant::new(&id, Role::Operator.as_str(), &token, scopes);
        self.relay.grants.put(&self.url(), grant, &self.relay.tasks);
        Ok(())
    }

    fn granted(&self, id: &str) -> Result<Grant, Failure> {
        let grant = self.relay.grants.of(&self.url(), id, Role::Operator.as_str());
        grant.ok_or_else(|| Failure::Away("it has granted this gateway nothing yet".into()))
    }

    async fn read_by(&self, grant: &Grant) -> Opened {
        let read: Scopes = [Scope::Read].into_iter().collect();
        if !grant.scopes().covers(read) {
            return Err(Failure::Wrong(format!(
                "it has approved {} for this gateway, without operator.read: on its host remove the device with \
                 `openclaw devices remove {}`; it is asked again then",
                grant.scopes(),
                grant.device
            )));
        }
        self.by(grant, Persona::Own(self.own().into()), &Greeting::default(), read).await
    }

    /// Connects by `grant`, and takes over the token that OpenClaw gives in its place.
    async fn by(&self, grant: &Grant, persona: Persona, greeting: &Greeting, scopes: Scopes) -> Opened {
        let auth = match grant.token.is_empty() {
            true => self.shared()?,
            false => Auth::DeviceToken(&grant.token),
        };
        let role = if grant.role == Role::Node.as_str() { Role::Node } else { Role::Operator };
        let (wire, hello) = self.open_as(persona, role, scopes, auth, greeting).await?;
        if let Some(token) = hello.device_token.as_ref().filter(|token| **token != grant.token) {
            let renewed = Grant { token: token.clone(), ..grant.clone() };
            self.relay.grants.put(&self.url(), renewed, &self.relay.tasks);
        }
        Ok((wire, hello))
    }

    /// A client's connection.
    pub async fn client(&self, client: &Client<'_>) -> Opened {
        match client.role {
            Role::Operator => self.operator(client).await,
            Role::Node => self.node(client).await,
        }
    }

    async fn operator(&self, client: &Client<'_>) -> Opened {
        let own = self.own();
        let grant = self.granted(&id_of(&own)).inspect_err(|_| self.relay.look_again())?;
        let persona = match choose(client.role, &client.greeting.client("id"), true, client.refused) {
            Choice::Backend => Persona::Own(own.into()),
            Choice::Derived | Choice::NoDevice => Persona::OwnFor(own.into()),
        };
        let scopes = client.scopes.granted(grant.scopes());
        let opened = self.by(&grant, persona, client.greeting, scopes).await;
        opened.map_err(|failure| match is_stale(&failure) {
            true => {
                self.relay.grants.forget(&grant, &self.relay.tasks);
                self.relay.look_again();
                Failure::Away("it does not take the token of this gateway's device any more".into())
            }
            false => failure,
        })
    }

    async fn node(&self, client: &Client<'_>) -> Opened {
        let key = self.relay.devices.key();
        let seed = key.upstream_seed(client.device.as_ref(), &client.greeting.client("id"));
        let persona = || Persona::Derived(Identity::from_seed(&seed).into());
        let id = id_of(&Identity::from_seed(&seed));
        let role = Role::Node.as_str();
        if let Some(grant) = self.relay.grants.of(&self.url(), &id, role) {
            match self.by(&grant, persona(), client.greeting, Scopes::NONE).await {
                Err(failure) if is_stale(&failure) => self.relay.grants.forget(&grant, &self.relay.tasks),
                opened => return opened,
            }
        }
        let auth = self.shared()?;
        let (wire, hello) = self.open_as(persona(), Role::Node, Scopes::NONE, auth, client.greeting).await?;
        if let Some(token) = &hello.device_token {
            let grant = Grant::new(&id, role, token, Scopes::NONE);
            self.relay.grants.put(&self.url(), grant, &self.relay.tasks);
        }
        Ok((wire, hello))
    }

    async fn open(&self, persona: Persona, role: Role, scopes: Scopes, auth: Auth<'_>) -> Opened {
        self.open_as(persona, role, scopes, auth, &Greeting::default()).await
    }

    async fn open_as(
        &self,
        persona: Persona,
        role: Role,
        scopes: Scopes,
        auth: Auth<'_>,
        greeting: &Greeting,
    ) -> Opened {
        let by_secret = matches!(auth, Auth::Shared(..));
        let caller = Caller { role, scopes, greeting, persona, auth };
        let opened = session::open(self.settings, self.upstream, caller).await;
        opened.map_err(|failure| match failure {
            Failure::Refused(code, why) if by_secret && code.starts_with("AUTH_") => {
                Failure::Secret(match code.as_str() {
                    "AUTH_RATE_LIMITED" => format!("it has locked this host out for a while: {why}"),
                    _ => format!(
                        "it refuses the shared token ({why}): put its gateway.auth.token into the file that \
                         upstream.tokenFile in barnacle.json names"
                    ),
                })
            }
            failure => failure,
        })
    }

    /// The shared token for it: only what was given for it.
    fn shared(&self) -> Result<Auth<'_>, Failure> {
        if let Some(why) = &self.upstream.closed {
            return Err(Failure::Secret(why.clone()));
        }
        self.upstream.token.as_ref().map(|token| Auth::Shared(Kind::Token, token)).ok_or_else(|| {
            Failure::Secret(
                "it is on another host, and there is no token for it yet: put its gateway.auth.token into a file, and \
                 name that as upstream.tokenFile in barnacle.json"
                    .into(),
            )
        })
    }
}

/// Whether the grant that was used counts no more: its token was rotated, revoked, removed, or narrowed.
fn is_stale(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(code, _) => code.starts_with("AUTH_") && code != "AUTH_RATE_LIMITED",
        Failure::Pairing(_) => true,
        _ => false,
    }
}

fn id_of(identity: &Identity) -> String {
    identity.public_key().device_id().to_string()
}
