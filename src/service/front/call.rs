//! Calls to the two gateways, by this program's own commands, as the account whose gateways they are: what a call
//! leaves on disk is that account's, root or not.

use super::{super::Plan, Behind};
use crate::protocol::Fields;
use miniserde::json::Value;
use std::{os::unix::process::CommandExt, process::Command, time::Duration};

/// Time of one call.
const TIMEOUT_MS: &str = "20000";

/// Runs this program with `arguments` for the gateway of `plan` that listens on `port`; what it prints.
fn run(plan: &Plan, port: u16, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(&plan.program);
    command.args(arguments).args(["--json", "--timeout", TIMEOUT_MS]).env_clear();
    command.env("HOME", &plan.account.home).env("USER", &plan.account.name).current_dir("/");
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(plan.variables.iter().cloned()).env("OPENCLAW_GATEWAY_PORT", port.to_string());
    if rustix::process::geteuid().as_raw() != plan.account.uid {
        command.uid(plan.account.uid).gid(plan.account.gid);
    }
    let output = command.output().map_err(|e| format!("{}: {e}", plan.program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(miniserde::json::from_str(&text(&output.stdout)).unwrap_or_default()),
        false => {
            let said = text(&output.stderr);
            Err(said.strip_prefix("barnacle: ").unwrap_or(&said).to_owned())
        }
    }
}

/// Waits until OpenClaw answers on `port`, at most `patience`; its version.
pub(super) fn await_openclaw(
    behind: &Behind,
    plan: &Plan,
    port: u16,
    patience: Duration,
) -> Result<String, String> {
    behind.wait(patience, || openclaw(plan, port))
}

/// The version of the OpenClaw that answers on `port`.
fn openclaw(plan: &Plan, port: u16) -> Result<String, String> {
    let status = run(plan, port, &["call", "status"])?;
    let fields = Fields::of(&status);
    match fields.and_then(|f| f.object("barnacle")) {
        Some(_) => Err(format!("Barnacle itself answers on port {port}")),
        None => Ok(fields.and_then(|f| f.str("runtimeVersion")).unwrap_or("of unknown version").to_owned()),
    }
}

/// Imports the devices that the OpenClaw on `port` has paired; their number, and those that were new.
pub(super) fn import(plan: &Plan, port: u16) -> Result<(usize, usize), String> {
    let from = format!("ws://127.0.0.1:{port}");
    let from = if plan.settings.config.tls.enabled { from.replacen("ws", "wss", 1) } else { from };
    let done = run(plan, port, &["import", "--from", &from, "--apply"])?;
    let devices = Fields::of(&done).map(|f| f.list("devices").to_vec()).unwrap_or_default();
    let is = |device: &&Value, actions: &[&str]| {
        Fields::of(device).and_then(|f| f.str("action")).is_some_and(|action| actions.contains(&action))
    };
    let count = |actions: &[&str]| devices.iter().filter(|d| is(d, actions)).count();
    Ok((count(&["add", "update", "keep"]), count(&["add", "update"])))
}

/// Calls Barnacle on `port`, and through it OpenClaw: the version of that.
pub(super) fn through(plan: &Plan, port: u16) -> Result<String, String> {
    let status = run(plan, port, &["call", "status"])?;
    let fields = Fields::of(&status);
    let upstream = fields.and_then(|f| f.object("upstream")).ok_or("Barnacle has nobody behind it")?;
    if upstream.str("state") != Some("connected") {
        let why = upstream.str("why").unwrap_or("not yet");
        return Err(format!("Barnacle has no connection to OpenClaw: {why}"));
    }
    run(plan, port, &["call", "sessions.list"]).map_err(|e| format!("sessions.list: {e}"))?;
    Ok(upstream.str("version").unwrap_or("of unknown version").to_owned())
}

/// Time that an OpenClaw which runs has to answer, one call at least.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// Time that Barnacle has to reach an OpenClaw that answers already.
pub(super) const REACH: Duration = Duration::from_secs(90);
