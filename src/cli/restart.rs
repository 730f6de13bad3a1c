//! `barnacle gateway restart` and `barnacle gateway stop`.

use super::{
    Failure,
    args::{Args, OPTIONS},
    print,
};
use crate::{
    auth::Lost,
    client::{Client, Fault, Target},
    config::{Env, Paths},
    protocol::{Fields, Scope, Scopes},
    service::{Manager, Name},
    store::lock_holder,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

const RESTART: &str = "\
Restart the gateway: the program that is on disk now takes over, and every connection goes on.

Usage: barnacle gateway restart [options]

If the program on disk cannot take over, nothing happens and the exit code is not 0.
";

const STOP: &str = "\
Stop the gateway of this state directory: requests under way finish, everyone is told, all is saved.

Usage: barnacle gateway stop

Exit codes: 0 it stopped, or none ran; 1 it does not stop.
";

/// How long a gateway that is told to stop may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one that said that it restarts may take.
const UNTIL_RESTARTED: Duration = Duration::from_secs(15);

/// Runs `barnacle gateway restart`.
pub fn restart(mut args: Args) -> Result<(), Failure> {
    if let Some(word) = args.next()? {
        return Err(word.unexpected());
    }
    if args.help {
        return print(&format!("{RESTART}{OPTIONS}"));
    }
    let (json, mut target) = (args.json, args.target()?);
    target.timeout = target.timeout.max(UNTIL_RESTARTED);
    let scopes: Scopes = [Scope::Admin].into_iter().collect();
    match Client::connect(&target, scopes) {
        Ok(client) => ask(client, &target, json),
        // It runs and does not let this command in: whoever may signal it needs no leave of it.
        Err(e @ Fault::Refused(_)) => by_signal().unwrap_or(Err(Failure::of(e, &target))),
        Err(e) => Err(Failure::of(e, &target)),
    }
}

fn ask<'t>(mut client: Client<'t>, target: &'t Target, json: bool) -> Result<(), Failure> {
    let before = told(call(&mut client).map_err(|e| Failure::of(e, target))?, target)?;
    let asked = client.call("gateway.restart.request", r#"{"reason":"barnacle gateway restart"}"#);
    let asked = asked.map_err(|e| Failure::of(e, target))?;
    let asked = miniserde::json::from_str(&asked).unwrap_or_default();
    let field = |name| Fields::of(&asked).and_then(|f| f.u64(name)).unwrap_or(0);
    let closes = field("closes");
    let began = Instant::now();
    let now = loop {
        client.renew_deadline();
        // The same connection, since it is carried over, too; but for one that speaks TLS.
        let now = match call(&mut client) {
            Err(e @ Fault::Closed(..)) if target.url.is_tls() && began.elapsed() < UNTIL_RESTARTED => {
                match Client::connect(target, [Scope::Admin].into_iter().collect()) {
                    Ok(again) => client = again,
                    Err(again) if again.is_passing() => sleep(Duration::from_millis(5)),
                    Err(_) => return Err(Failure::of(e, target)),
                }
                continue;
            }
            // The restart read a configuration with another secret than this command was given.
            Err(Fault::Closed(_, code, reason)) if (code, &*reason) == Lost::AuthChanged.close() => {
                wait_for_image(before.pid, before.image)?;
                let text = format!(
                    "{} restarted; this command's credential is no longer the gateway's\n",
                    target.url
                );
                return print(if json { "null\n" } else { &text });
            }
            answer => told(answer.map_err(|e| Failure::of(e, target))?, target)?,
        };
        if now.count > before.count {
            break now;
        }
        if now.stayed != before.stayed || began.elapsed() > UNTIL_RESTARTED {
            let why = now.stayed.unwrap_or_else(|| "it does not restart; see: barnacle logs".into());
            return Err(Failure::new(1, why));
        }
        sleep(Duration::from_millis(5));
    };
    match json {
        true => print(&format!("{}\n", now.last)),
        false => {
            let closed = match closes {
                0 => String::new(),
                n => format!(", {n} TLS connections closed, which come back"),
            };
            print(&format!("{} restarted: Barnacle {}, {}{closed}\n", target.url, now.version, now.words))
        }
    }
}

/// What `status` says of restarts.
struct Told {
    version: String,
    pid: u64,
    /// Its process image, where that can be seen from here.
    image: Option<Vec<u8>>,
    count: u64,
    last: String,
    words: String,
    stayed: Option<String>,
}

fn call(client: &mut Client<'_>) -> Result<String, Fault> {
    client.call("status", "{}")
}

fn told(text: String, target: &Target) -> Result<Told, Failure> {
    let answer = miniserde::json::from_str(&text).unwrap_or_default();
    let own = Fields::of(&answer).and_then(|f| f.object("barnacle"));
    let own = own.ok_or_else(|| {
        Failure::new(1, format!("{} is no Barnacle gateway: openclaw gateway restart", target.url))
    })?;
    let last = own.object("lastRestart");
    let pid = own.u64("pid").unwrap_or(0);
    Ok(Told {
        version: own.text("version").into(),
        pid,
        image: image(pid),
        count: own.u64("restarts").unwrap_or(0),
        last: own.0.get("lastRestart").map_or_else(|| "null".into(), miniserde::json::to_string),
        words: last.map(words).unwrap_or_default(),
        stayed: own.str("notRestarted").map(String::from),
    })
}

/// What a restart was like, in words.
pub fn words(last: Fields<'_>) -> String {
    format!(
        "{} connections carried over, nobody served for {:.1} ms",
        last.u64("carried").unwrap_or(0),
        last.u64("unservedUs").unwrap_or(0) as f64 / 1000.0
    )
}

/// Restarts the gateway of this state directory by a signal. `None` if none runs there.
fn by_signal() -> Option<Result<(), Failure>> {
    let paths = Paths::resolve(&Env::of_process()).ok()?;
    let pid = lock_holder(&paths.barnacle_dir)?;
    let process = Pid::from_raw(pid.try_into().ok()?)?;
    let before = image(pid.into());
    if let Err(e) = kill_process(process, Signal::USR1) {
        return Some(Err(Failure::new(1, format!("process {pid}: {e}"))));
    }
    Some(
        wait_for_image(pid.into(), before)
            .and_then(|()| print(&format!("restarted process {pid} by a signal\n"))),
    )
}

/// What tells one image of process `pid` from the next: random addresses are in it. `None` where it cannot be
/// seen, as on another host.
fn image(pid: u64) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/auxv")).ok().filter(|auxv| !auxv.is_empty())
}

/// Waits until process `pid` has another image than `before`.
fn wait_for_image(pid: u64, before: Option<Vec<u8>>) -> Result<(), Failure> {
    let began = Instant::now();
    while before.is_some() && image(pid) == before {
        if began.elapsed() > UNTIL_RESTARTED {
            return Err(Failure::new(1, format!("process {pid} does not restart; its journal says why")));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Runs `barnacle gateway stop`.
pub fn stop(mut args: Args) -> Result<(), Failure> {
    if let Some(word) = args.next()? {
        return Err(word.unexpected());
    }
    if args.help {
        return print(STOP);
    }
    let env = Env::of_process();
    let paths = Paths::resolve(&env).map_err(|e| Failure::new(e.exit_code(), e))?;
    let dir = &paths.barnacle_dir;
    let Some(pid) = lock_holder(dir) else {
        return print(&format!("no gateway runs on {}\n", dir.display()));
    };
    match unit_of(pid, &env, &paths) {
        // By a signal alone, systemd would start it again.
        Some((manager, unit)) => {
            manager.run(&["stop", &unit]).map_err(|e| Failure::new(1, e))?;
            print(&format!("stopped {unit}\n"))
        }
        None => {
            stop_process(dir, pid)?;
            print(&format!("stopped process {pid}\n"))
        }
    }
}

/// Ends the gateway `pid` that holds the store in `dir`, and waits for that.
pub fn stop_process(dir: &Path, pid: u32) -> Result<(), Failure> {
    let process = Pid::from_raw(pid.try_into().unwrap_or(0));
    let process = process.ok_or_else(|| Failure::new(1, format!("{pid} is no process")))?;
    kill_process(process, Signal::TERM).map_err(|e| Failure::new(1, format!("process {pid}: {e}")))?;
    let began = Instant::now();
    // The lock's word and not the process's: a number may be someone else's by now, and a process that its
    // parent has not waited for is still there when it has long ended.
    while lock_holder(dir) == Some(pid) {
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(1, format!("process {pid} does not stop; end it with kill -9 {pid}")));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The unit that `pid` is the main process of.
fn unit_of(pid: u32, env: &Env, paths: &Paths) -> Option<(Manager, String)> {
    Name::both(env, paths).into_iter().find_map(|name| {
        let unit = name.service();
        let manager = name.is_installed().then(|| Manager::find(name.scope).ok())??;
        let main = manager.show(&unit).ok()?.main_pid();
        (main == Some(pid)).then_some((manager, unit))
    })
}
