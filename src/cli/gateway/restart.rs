//! `barnacle gateway restart`: replaces the running program without closing connections.

use super::super::{Command, Failure, args::Args, print};
use crate::{
    auth::Lost,
    client::{CallError, Client, Target, restarts_of},
    host,
    protocol::{Fields, Scope, Scopes},
    store::{gateway_at, lock_holder},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub(super) static COMMAND: Command = Command {
    name: "restart",
    summary: "restart the gateway; connections stay open",
    about: "Restart the gateway: the program that is on disk now takes over, and connections stay open.",
    notes: "If the program on disk cannot take over, nothing happens and the exit code is not 0.",
    calls: true,
    run,
    ..Command::NONE
};

/// Time limit of a restart that has begun.
const LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);

fn run(args: Args) -> Result<(), Failure> {
    let mut target = args.target()?;
    target.timeout = target.timeout.max(LIMIT);
    let scopes: Scopes = [Scope::Admin].into_iter().collect();
    match Client::connect(&target, scopes) {
        Ok(client) => request(client, &target, args.json),
        // It runs and refuses this command; who may signal it needs no credential.
        Err(e @ CallError::Refused(_)) => by_signal(&target).unwrap_or(Err(Failure::of(e, &target))),
        Err(e) => Err(Failure::of(e, &target)),
    }
}

fn request<'t>(mut client: Client<'t>, target: &'t Target, json: bool) -> Result<(), Failure> {
    let before = status(&call(&mut client).map_err(|e| Failure::of(e, target))?, target)?;
    let asked = client.call("gateway.restart.request", r#"{"reason":"barnacle gateway restart"}"#);
    let asked = asked.map_err(|e| Failure::of(e, target))?;
    let asked = miniserde::json::from_str(&asked).unwrap_or_default();
    let closes = Fields::of(&asked).and_then(|f| f.u64("closes")).unwrap_or(0);
    let began = Instant::now();
    let now = loop {
        client.renew_deadline();
        // The same connection, since it is kept, too; but for one that speaks TLS.
        let now = match call(&mut client) {
            Err(e @ CallError::Closed(..)) if target.url.is_tls() && began.elapsed() < LIMIT => {
                match Client::connect(target, [Scope::Admin].into_iter().collect()) {
                    Ok(again) => client = again,
                    Err(again) if again.is_passing() => sleep(POLL),
                    Err(_) => return Err(Failure::of(e, target)),
                }
                continue;
            }
            // The restart read a configuration with another secret than this command was given.
            Err(CallError::Closed(_, code, reason)) if (code, &*reason) == Lost::AuthChanged.close() => {
                wait(before.pid, || restarts_of(target).is_ok_and(|now| now > before.count))?;
                let text = format!(
                    "{} restarted; this command's credential is no longer the gateway's\n",
                    target.url
                );
                return print(if json { "null\n" } else { &text });
            }
            answer => status(&answer.map_err(|e| Failure::of(e, target))?, target)?,
        };
        if now.count > before.count {
            break now;
        }
        if now.failure != before.failure || began.elapsed() > LIMIT {
            let why = now.failure.unwrap_or_else(|| "it does not restart; see: barnacle logs".into());
            return Err(Failure::new(1, why));
        }
        sleep(POLL);
    };
    if json {
        return print(&format!("{}\n", now.last));
    }
    let closed = match closes {
        0 => String::new(),
        n => format!(", {} closed, which reconnect", host::count(n, "TLS connection")),
    };
    print(&format!("{} restarted: Barnacle {}, {}{closed}\n", target.url, now.version, now.report))
}

/// The part of `status` about restarts.
struct Restarts {
    version: String,
    pid: u64,
    count: u64,
    /// The last one, as JSON.
    last: String,
    report: String,
    failure: Option<String>,
}

fn call(client: &mut Client<'_>) -> Result<String, CallError> {
    client.call("status", "{}")
}

fn status(text: &str, target: &Target) -> Result<Restarts, Failure> {
    let answer = miniserde::json::from_str(text).unwrap_or_default();
    let own = Fields::of(&answer).and_then(|f| f.object("barnacle"));
    let own = own.ok_or_else(|| {
        Failure::new(1, format!("{} is no Barnacle gateway: openclaw gateway restart", target.url))
    })?;
    let last = own.object("lastRestart");
    Ok(Restarts {
        version: own.text("version").into(),
        pid: own.u64("pid").unwrap_or(0),
        count: own.u64("restarts").unwrap_or(0),
        last: own.0.get("lastRestart").map_or_else(|| "null".into(), miniserde::json::to_string),
        report: last.map(report).unwrap_or_default(),
        failure: own.str("notRestarted").map(String::from),
    })
}

pub(in crate::cli) fn report(last: Fields<'_>) -> String {
    format!(
        "{} kept, paused {:.1} ms",
        host::count(last.u64("carried").unwrap_or(0), "connection"),
        last.u64("unservedUs").unwrap_or(0) as f64 / 1000.0
    )
}

/// Restarts the gateway of this state directory by a signal. `None` if none runs there, or `target` is another.
fn by_signal(target: &Target) -> Option<Result<(), Failure>> {
    let pid = lock_holder(&target.dir)?;
    let url = gateway_at(&target.dir)?;
    let process = Pid::from_raw(pid.try_into().ok()?).filter(|_| target.url.to_string() == url)?;
    Some(signalled(target, pid, process))
}

fn signalled(target: &Target, pid: u32, process: Pid) -> Result<(), Failure> {
    // One that does not count its restarts lets its account see its image: random addresses are in it.
    let image = || std::fs::read(format!("/proc/{pid}/auxv")).ok();
    let count = || restarts_of(target).ok();
    let before = (count(), image());
    let is_new = || {
        count().is_some_and(|now| before.0.is_some_and(|before| now > before))
            || image().is_some_and(|now| Some(&now) != before.1.as_ref())
    };
    kill_process(process, Signal::USR1).map_err(|e| Failure::new(1, format!("process {pid}: {e}")))?;
    wait(pid.into(), is_new)?;
    print(&format!("restarted process {pid} by a signal\n"))
}

/// Waits until process `pid` has restarted.
fn wait(pid: u64, has_restarted: impl Fn() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !has_restarted() {
        if began.elapsed() > LIMIT {
            return Err(Failure::new(1, format!("process {pid} does not restart; its log says why")));
        }
        sleep(POLL);
    }
    Ok(())
}
