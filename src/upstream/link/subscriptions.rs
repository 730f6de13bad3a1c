//! Subscriptions of a client, which a new connection to OpenClaw needs again.

use super::{Link, Request, params_of};
use crate::upstream::frame;

/// Most subscriptions that are remembered.
const SUBSCRIPTIONS: usize = 256;
/// Methods besides `*.subscribe` that a new connection needs again.
const REPLAYED: &[&str] =
    &["sessions.viewers.set", "node.pluginTools.update", "node.runnerInventory.update", "node.skills.update"];

/// The name of a subscription: its method, and which one of several it is.
fn subscription_name(method: &str, params: &str) -> String {
    let which = frame::text_at(params, &["sessionKey"]).or_else(|| frame::text_at(params, &["key"]));
    format!("{method} {}", which.unwrap_or_default())
}

impl Link {
    /// Remembers of a request that is not sent what a connection made later needs.
    pub fn note_for_later(&mut self, method: &str, text: &str) {
        self.note(method, params_of(text));
    }

    pub(super) fn note_subscription(&mut self, request: &Request) {
        self.note(&request.method, params_of(&request.text));
    }

    fn note(&mut self, method: &str, params: &str) {
        if let Some(family) = method.strip_suffix(".unsubscribe") {
            let subscribe = format!("{family}.subscribe");
            let name = subscription_name(&subscribe, params);
            self.subscriptions.remove(&name);
        } else if (method.ends_with(".subscribe") || REPLAYED.contains(&method))
            && self.subscriptions.len() < SUBSCRIPTIONS
        {
            let name = subscription_name(method, params);
            self.subscriptions.insert(name, (method.into(), params.into()));
        }
    }
}
