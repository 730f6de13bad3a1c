//! `barnacle devices`: who is paired, who waits, and what becomes of them.
//!
//! Everything is asked of the gateway; where none runs, the store itself answers ([`Offline`]). OpenClaw's
//! spellings (`--device`, `--name`) are taken as well.

mod list;

use super::{
    Failure,
    args::{Args, OPTIONS, Word},
    print,
};
use crate::{
    client::{Client, Fault, Offline, Target},
    protocol::{Role, Scope, Scopes},
};
use list::{List, Paired};
use nanoserde::SerJson;

const HELP: &str = "\
Show and manage paired devices. Works without a running gateway, too.

Usage: barnacle devices <command> [options]

  list                         who waits for approval, who is paired
  approve <request|device>     let it in; --latest shows the newest request and how to approve it
  reject <request|device>      turn the request away
  rename <device> <label>      give it a name of your own
  rotate <device> --role <r>   replace its token; it is handed the new one when it next attaches
                               (--scope <s>, repeated, or --no-scopes: narrow what it may)
  revoke <device> --role <r>   end the role, at once; an operator's approval brings it back
  revoke --all-browsers        end role operator of every browser: after a token leaked
  remove <device>              forget it; it has to be paired again
  clear --yes [--pending]      remove every device (and reject every request)

A device or request is named by its id, or by the first six or more digits of it.
";

/// What the command line says beyond the shared options.
#[derive(Default)]
struct Orders {
    words: Vec<String>,
    role: Option<String>,
    scopes: Option<Vec<String>>,
    latest: bool,
    pending: bool,
    yes: bool,
    all_browsers: bool,
}

/// Runs `barnacle devices`.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut orders = Orders::default();
    let (mut device, mut label) = (None, None);
    while let Some(word) = args.next()? {
        match word {
            Word::Text(text) => orders.words.push(text),
            Word::Flag(name) => match name.as_str() {
                "device" => device = Some(args.value()?),
                "label" | "name" => label = Some(args.value()?),
                "role" => orders.role = Some(args.value()?),
                "scope" => orders.scopes.get_or_insert_default().push(args.value()?),
                "no-scopes" => orders.scopes = Some(Vec::new()),
                "latest" => orders.latest = true,
                "pending" => orders.pending = true,
                "yes" => orders.yes = true,
                "all-browsers" => orders.all_browsers = true,
                _ => return Err(Word::Flag(name).unexpected()),
            },
        }
    }
    if args.help {
        return print(&format!("{HELP}{OPTIONS}"));
    }
    if orders.words.is_empty() {
        orders.words.push("list".into());
    }
    let verb = orders.words.remove(0);
    orders.words.splice(0..0, device);
    orders.words.extend(label);
    let most = match verb.as_str() {
        "list" | "clear" => 0,
        "approve" | "reject" | "rotate" | "revoke" | "remove" => 1,
        "rename" => 2,
        _ => return Err(Failure::usage(format!("no command {:?}", format!("devices {verb}")))),
    };
    if orders.words.len() > most {
        return Err(Failure::usage(format!("devices {verb}: too many words")));
    }
    if verb == "clear" && !orders.yes {
        return Err(Failure::usage("devices clear removes every device; say so: --yes"));
    }
    let target = args.target()?;
    let mut desk = Desk::open(&target, args.json)?;
    desk.obey(&verb, &orders)?;
    if let Door::Store(store) = &desk.door
        && let Some(path) = store.changed()
    {
        eprintln!("barnacle: no gateway runs; changed {} directly", path.display());
    }
    Ok(())
}

/// Who answers.
enum Door<'t> {
    Gateway(Box<Client<'t>>),
    Store(Box<Offline>),
}

/// Where orders are carried out.
struct Desk<'t> {
    target: &'t Target,
    door: Door<'t>,
    json: bool,
    list: List,
}

impl<'t> Desk<'t> {
    fn open(target: &'t Target, json: bool) -> Result<Self, Failure> {
        let told = |e| Failure::of(e, target);
        let door = match Client::connect(target, [Scope::Pairing].into_iter().collect()) {
            Ok(client) => Door::Gateway(Box::new(client)),
            Err(e) if e.nobody_there() => match Offline::open(target).map_err(told)? {
                Some(store) => Door::Store(Box::new(store)),
                None => return Err(told(e)),
            },
            Err(e) => return Err(told(e)),
        };
        let mut desk = Self { target, door, json, list: List::default() };
        desk.list = List::read(desk.call("device.pair.list", "{}")?);
        Ok(desk)
    }

    fn call(&mut self, method: &str, params: &str) -> Result<String, Failure> {
        let answer = match &mut self.door {
            Door::Gateway(client) => client.call(method, params),
            Door::Store(store) => store.call(method, params),
        };
        answer.map_err(|e| Failure::of(e, self.target))
    }

    /// Sees to it that the connection may do to `device` what takes `scopes`: a device manages itself,
    /// an administrator all.
    fn ask_for(&mut self, device: &str, role: &str, scopes: Scopes) -> Result<(), Failure> {
        let Door::Gateway(client) = &mut self.door else { return Ok(()) };
        let other = client.device().is_some_and(|own| own.to_string() != device);
        let admin = other || role != Role::Operator.as_str();
        let wanted = if admin { Scope::Admin } else { Scope::Pairing };
        let done: Result<(), Fault> = client.ask_for(scopes.union([wanted].into_iter().collect()));
        done.map_err(|e| Failure::of(e, self.target))
    }

    /// Prints the answer as it is, or else what `said` makes of it.
    fn tell(&self, answer: &str, said: String) -> Result<(), Failure> {
        print(&if self.json { format!("{answer}\n") } else { said })
    }

    fn obey(&mut self, verb: &str, orders: &Orders) -> Result<(), Failure> {
        let word = |at: usize, what| {
            let missing = || Failure::usage(format!("devices {verb}: which {what}?"));
            orders.words.get(at).map(String::as_str).ok_or_else(missing)
        };
        match verb {
            "list" => self.tell(&self.list.answer, self.list.text()),
            "approve" if orders.latest || orders.words.is_empty() => self.preview(),
            "approve" => self.approve(word(0, "request")?),
            "reject" => self.reject(word(0, "request")?),
            "rename" => self.rename(word(0, "device")?, word(1, "label")?),
            "remove" => self.remove(word(0, "device")?),
            "revoke" if orders.all_browsers => self.revoke_browsers(),
            "rotate" | "revoke" => {
                let role = orders.role.as_deref().ok_or_else(|| {
                    Failure::usage(format!("devices {verb}: which role? --role operator or --role node"))
                })?;
                let device = self.list.device(word(0, "device")?)?.clone();
                self.token(verb, &device, role, orders.scopes.as_deref())
            }
            _ => self.clear(orders.pending),
        }
    }

    /// Shows the newest request. It is not approved by being the newest: a stranger's may have come in
    /// between.
    fn preview(&self) -> Result<(), Failure> {
        let Some(newest) = self.list.pending.iter().max_by_key(|r| r.at_ms) else {
            return Err(Failure::new(1, "no one waits for approval"));
        };
        print(&self.list.pending_text())?;
        Err(Failure::new(1, format!("to approve the newest: barnacle devices approve {}", newest.id)))
    }

    fn approve(&mut self, wanted: &str) -> Result<(), Failure> {
        let request = self.list.request(wanted)?.clone();
        self.ask_for(&request.device, &request.role, request.scopes)?;
        let answer = self.call("device.pair.approve", &params(&[("requestId", &request.id)]))?;
        self.tell(&answer, format!("approved {}\n", request.phrase()))
    }

    fn reject(&mut self, wanted: &str) -> Result<(), Failure> {
        let request = self.list.request(wanted)?.clone();
        self.ask_for(&request.device, "operator", Scopes::NONE)?;
        let answer = self.call("device.pair.reject", &params(&[("requestId", &request.id)]))?;
        self.tell(&answer, format!("rejected {}\n", request.phrase()))
    }

    fn rename(&mut self, wanted: &str, label: &str) -> Result<(), Failure> {
        let device = self.list.device(wanted)?.clone();
        self.ask_for(&device.id, "operator", Scopes::NONE)?;
        let answer =
            self.call("device.pair.rename", &params(&[("deviceId", &device.id), ("label", label)]))?;
        self.tell(&answer, format!("{} is now called {}\n", device.phrase(), label.trim()))
    }

    fn remove(&mut self, wanted: &str) -> Result<(), Failure> {
        let device = self.list.device(wanted)?.clone();
        self.ask_for(&device.id, "operator", Scopes::NONE)?;
        let answer = self.call("device.pair.remove", &params(&[("deviceId", &device.id)]))?;
        self.tell(&answer, format!("removed {}\n", device.phrase()))
    }

    fn token(
        &mut self,
        verb: &str,
        device: &Paired,
        role: &str,
        scopes: Option<&[String]>,
    ) -> Result<(), Failure> {
        let answer = self.token_call(verb, device, role, scopes)?;
        let done = if verb == "rotate" { "rotated the token" } else { "revoked the role" };
        self.tell(&answer, format!("{done} {role} of {}\n", device.phrase()))
    }

    fn token_call(
        &mut self,
        verb: &str,
        device: &Paired,
        role: &str,
        scopes: Option<&[String]>,
    ) -> Result<String, Failure> {
        self.ask_for(&device.id, role, device.scopes(role))?;
        let mut params = params(&[("deviceId", &device.id), ("role", role)]);
        if let Some(scopes) = scopes.filter(|_| verb == "rotate") {
            params.pop();
            params.push_str(&format!(r#","scopes":{}}}"#, scopes.to_vec().serialize_json()));
        }
        self.call(&format!("device.token.{verb}"), &params)
    }

    fn revoke_browsers(&mut self) -> Result<(), Failure> {
        let browsers: Vec<Paired> =
            self.list.paired.iter().filter(|d| d.is_browser() && d.is_live("operator")).cloned().collect();
        let mut answers = Vec::new();
        for device in &browsers {
            answers.push(self.token_call("revoke", device, "operator", None)?);
        }
        let names: String = browsers.iter().map(|d| format!("revoked {}\n", d.phrase())).collect();
        let said = if names.is_empty() { "no browser holds the role operator\n".into() } else { names };
        self.tell(&format!("[{}]", answers.join(",")), said)
    }

    fn clear(&mut self, pending: bool) -> Result<(), Failure> {
        let own = match &self.door {
            Door::Gateway(client) => client.device().map(|id| id.to_string()).unwrap_or_default(),
            Door::Store(_) => String::new(),
        };
        let mut devices: Vec<String> = self.list.paired.iter().map(|d| d.id.clone()).collect();
        // The one that this very connection rests on goes last.
        devices.sort_by_key(|id| *id == own);
        let requests = self.list.pending.iter().filter(|_| pending).map(|r| (r.id.clone(), r.device.clone()));
        let requests: Vec<_> = requests.collect();
        for (request, device) in &requests {
            self.ask_for(device, "operator", Scopes::NONE)?;
            self.call("device.pair.reject", &params(&[("requestId", request)]))?;
        }
        for id in &devices {
            self.ask_for(id, "operator", Scopes::NONE)?;
            self.call("device.pair.remove", &params(&[("deviceId", id)]))?;
        }
        let ids: Vec<String> = requests.into_iter().map(|(id, _)| id).collect();
        let answer =
            format!(r#"{{"removed":{},"rejected":{}}}"#, devices.serialize_json(), ids.serialize_json());
        self.tell(&answer, format!("removed {} devices, rejected {} requests\n", devices.len(), ids.len()))
    }
}

/// An object of texts.
fn params(fields: &[(&str, &str)]) -> String {
    let field = |(name, text): &(&str, &str)| format!(r#""{name}":{}"#, text.to_string().serialize_json());
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
}
