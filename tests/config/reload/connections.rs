//! Twenty connections, five of a kind.

use crate::wire::{ADMIN, Client, Device, Offer, READ, Refused, Server};

/// What a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The shared token and no device, as the CLI on this host.
    Shared,
    /// A paired device with its token, as an agent.
    Device,
    /// A node.
    Node,
    /// A browser with OpenClaw's Control UI.
    Browser,
}

pub struct Member {
    pub kind: Kind,
    device: Device,
    client: Option<Client>,
}

pub struct Connections(pub Vec<Member>);

/// Where the browsers' page comes from.
pub const ORIGIN: &str = "http://localhost:5173";

impl Member {
    /// Attaches, with `token` where it has none of its own.
    fn attach(&mut self, server: &Server, token: &str) -> Result<(), Refused> {
        let offer = match self.kind {
            Kind::Shared => Offer::new().token(token).scopes(ADMIN),
            Kind::Device => Offer::device(&self.device).scopes(READ),
            Kind::Node => Offer::node(&self.device, &["system.notify"]),
            Kind::Browser => {
                Offer::device(&self.device).client("openclaw-control-ui", "webchat").header("Origin", ORIGIN)
            }
        };
        let offer = match (&self.device.token, self.kind) {
            (_, Kind::Shared) => offer,
            (Some(own), _) => offer.token(own),
            (None, _) => offer.token(token),
        };
        let client = server.try_connect(&offer)?;
        if self.kind != Kind::Shared {
            self.device.token = Some(client.device_token());
        }
        self.client = Some(client);
        Ok(())
    }

    /// Whether it is still attached and answered.
    fn answers(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        let method = if self.kind == Kind::Node { "node.pending.pull" } else { "health" };
        let id = client.ask(method, "{}");
        loop {
            match client.frame() {
                Ok(frame) if crate::wire::text(&frame, "id") == id => return true,
                Ok(_) => {}
                Err((code, reason)) => {
                    assert_eq!((code, &*reason), (4001, "gateway auth changed"), "{:?}", self.kind);
                    self.client = None;
                    return false;
                }
            }
        }
    }
}

impl Connections {
    pub fn attached(server: &Server) -> Self {
        let kinds = [Kind::Shared, Kind::Device, Kind::Node, Kind::Browser];
        let mut all: Vec<Member> = kinds
            .iter()
            .flat_map(|kind| (0..5).map(|_| Member { kind: *kind, device: Device::new(), client: None }))
            .collect();
        for member in &mut all {
            member.attach(server, "T1").unwrap_or_else(|r| panic!("{:?}: {:?}", member.kind, r.close));
        }
        Self(all)
    }

    /// Who is not attached any more, by kind.
    pub fn closed(&mut self) -> Vec<Kind> {
        self.0.iter_mut().filter_map(|m| (!m.answers()).then_some(m.kind)).collect()
    }

    /// Those who were closed come back, with `token` where they have none of their own.
    pub fn come_back(&mut self, server: &Server, token: &str) {
        for member in self.0.iter_mut().filter(|m| m.client.is_none()) {
            member.attach(server, token).unwrap_or_else(|r| panic!("{:?}: {:?}", member.kind, r.close));
        }
    }
}
