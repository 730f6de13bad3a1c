//! `barnacle devices`: shows and changes the device registry.
//!
//! The gateway answers; where none runs, the store does ([`Offline`]). OpenClaw's spellings (`--device`, `--name`)
//! are taken as well.

mod approve;
mod clear;
mod list;
mod listing;
mod reject;
mod remove;
mod rename;
mod revoke;
mod rotate;

use super::{Command, Failure, Opt, args::Args, print};
use crate::{
    client::{CallError, Client, Offline, Target, own_device},
    protocol::{Scope, Scopes},
};
use listing::{Listing, Paired};
use nanoserde::SerJson;

pub(super) static COMMAND: Command = Command {
    name: "devices",
    summary: "show and manage paired devices and pending requests",
    about: "Show and manage paired devices and pending requests. Without a running gateway, the store is changed \
            directly.",
    notes: "Without a command it lists them. A device or request is named by its id, or by the first six or more \
            digits of it.",
    calls: true,
    commands: &[
        &list::COMMAND,
        &approve::COMMAND,
        &reject::COMMAND,
        &rename::COMMAND,
        &rotate::COMMAND,
        &revoke::COMMAND,
        &remove::COMMAND,
        &clear::COMMAND,
    ],
    run: list::run,
    ..Command::NONE
};

/// OpenClaw's spelling of the first argument.
const DEVICE: Opt = Opt::value(&["device"], "<device>", "");

/// The first argument, however it was spelled.
fn named(args: &Args) -> Result<&str, Failure> {
    args.text("device").map_or_else(|| args.need(0), Ok)
}

/// Finds what the first argument names, calls `method` on it, and prints what was done.
fn change(
    args: &Args,
    method: &str,
    find: impl FnOnce(&Listing, &str) -> Result<(String, String), Failure>,
) -> Result<(), Failure> {
    let (target, wanted) = (args.target()?, named(args)?);
    let mut registry = Registry::open(&target, args, Some(wanted))?;
    let (params, done) = find(&registry.listing, wanted)?;
    let answer = registry.call(method, &params)?;
    registry.finish(&answer, done)
}

enum Backend<'t> {
    Gateway(Box<Client<'t>>),
    Store(Box<Offline>),
}

/// The device registry, read through the gateway or the store.
struct Registry<'t> {
    target: &'t Target,
    backend: Backend<'t>,
    json: bool,
    listing: Listing,
}

impl<'t> Registry<'t> {
    /// Connects with the scopes that `change` takes, and reads the list. `change` is the device or request that is
    /// to be changed: a device manages itself with `operator.pairing`; everything else takes `operator.admin`.
    fn open(target: &'t Target, args: &Args, change: Option<&str>) -> Result<Self, Failure> {
        let own = || own_device(target).map(|id| id.to_string());
        let scopes: Scopes = match change {
            Some(named) if !own().is_some_and(|own| listing::names(&own, named)) => {
                [Scope::Admin, Scope::Pairing].into_iter().collect()
            }
            _ => [Scope::Pairing].into_iter().collect(),
        };
        let failed = |e| Failure::of(e, target);
        let backend = match Client::connect(target, scopes) {
            Ok(client) => Backend::Gateway(Box::new(client)),
            Err(e) if e.is_connection_refused() => match Offline::open(target).map_err(failed)? {
                Some(store) => Backend::Store(Box::new(store)),
                None => return Err(failed(e)),
            },
            Err(e) => return Err(failed(e)),
        };
        let mut registry = Self { target, backend, json: args.json, listing: Listing::default() };
        registry.listing = Listing::read(registry.call("device.pair.list", "{}")?);
        Ok(registry)
    }

    fn call(&mut self, method: &str, params: &str) -> Result<String, Failure> {
        let answer = match &mut self.backend {
            Backend::Gateway(client) => client.call(method, params),
            Backend::Store(store) => store.call(method, params),
        };
        answer.map_err(|e: CallError| Failure::of(e, self.target))
    }

    /// Ends a command: prints the answer as it is, or else `text`, and says so where the store was changed.
    fn finish(self, answer: &str, text: String) -> Result<(), Failure> {
        print(&if self.json { format!("{answer}\n") } else { text })?;
        if let Backend::Store(store) = &self.backend
            && let Some(path) = store.changed()
        {
            eprintln!("barnacle: no gateway runs; changed {} directly", path.display());
        }
        Ok(())
    }

    /// Rotates or revokes the token of `device` for `role`.
    fn token(
        &mut self,
        method: &str,
        device: &Paired,
        role: &str,
        scopes: Option<Vec<String>>,
    ) -> Result<String, Failure> {
        let mut params = params(&[("deviceId", &device.id), ("role", role)]);
        if let Some(scopes) = scopes {
            params.pop();
            params.push_str(&format!(r#","scopes":{}}}"#, scopes.serialize_json()));
        }
        self.call(method, &params)
    }
}

fn params(fields: &[(&str, &str)]) -> String {
    let field = |(name, text): &(&str, &str)| format!(r#""{name}":{}"#, text.to_string().serialize_json());
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
}
