//! Checks of the host: its port, its address, its clock, its memory.

use super::{Facts, Finding};
use crate::{
    clock::{timestamp, wall_ms},
    host,
    net::{listen::Bind, local_addr, port_owner},
};
use std::{fs, time::UNIX_EPOCH};

/// Reports a gateway that runs and does not answer: H27.
pub fn unresponsive(facts: &Facts) -> Vec<Finding> {
    let (Some(pid), Err(no)) = (facts.lock_pid, &facts.running) else { return Vec::new() };
    let suspended = host::is_suspended(pid);
    if !suspended && !no.timed_out {
        return Vec::new();
    }
    let (what, fix) = match suspended {
        true => (
            format!("process {pid} runs the gateway, and is suspended (SIGSTOP)"),
            format!("kill -CONT {pid} to resume it; or kill -9 {pid}, and start it again"),
        ),
        false => (
            format!("process {pid} runs the gateway, and does not answer: {}", no.why),
            format!("kill -9 {pid}, and start it again: barnacle gateway start"),
        ),
    };
    vec![Finding::error(what, "it holds the port and the state, and serves nobody", fix)]
}

/// Reports another process that has the port.
pub fn port(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let ours = facts.running.as_ref().is_ok_and(|running| running.own().is_some());
    if ours || !port_owner::is_held(settings.port) {
        return Vec::new();
    }
    let (port, why) = (settings.port, "a gateway cannot listen there, and exits with code 78");
    let held = match port_owner::holder(port) {
        Some(holder) if crate::store::lock_holder(&facts.paths.barnacle_dir) == Some(holder.pid) => {
            return Vec::new();
        }
        Some(holder) => {
            let fix = format!("kill {}, or set gateway.port to another", holder.pid);
            Finding::error(format!("port {port} is held by {holder}"), why, fix)
        }
        // The files of a gateway of this account are closed to us, too.
        None if facts.lock_has_port(port) => return Vec::new(),
        None => Finding::error(
            format!("port {port} is held by a process of another account"),
            why,
            format!("sudo ss -ltnp 'sport = :{port}' shows it; stop it, or set gateway.port to another"),
        ),
    };
    vec![held]
}

/// Reports an address to listen on that this host does not have.
pub fn address(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let what = match settings.where_to_listen() {
        Bind::Address(ip) if !local_addr::is_own(ip) => {
            format!("gateway.bind is {ip}, which this host does not have now")
        }
        Bind::Tailnet if local_addr::in_tailnet().is_none() => {
            "gateway.bind is tailnet, and this host has no tailnet address now".into()
        }
        _ => return Vec::new(),
    };
    let why = "the gateway is unreachable there until the address appears; no restart is needed then";
    vec![Finding::warning(
        what,
        why,
        "ip -brief address (what this host has), or set gateway.bind to another",
    )]
}

/// Reports a clock that is years off, as on a board without a battery before its network is up.
pub fn clock(facts: &Facts) -> Vec<Finding> {
    /// No version of this program is older (2026-01-01).
    const FIRST: u64 = 1_767_225_600_000;
    const HOUR: u64 = 3_600_000;
    let written = |path: &std::path::Path| {
        let at = fs::metadata(path).ok()?.modified().ok()?;
        Some((at.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64, path.to_owned()))
    };
    let now = wall_ms();
    let latest = [facts.paths.config_file.clone(), facts.paths.barnacle_dir.join("tokens.bin")];
    let ahead = latest.iter().filter_map(|path| written(path)).find(|(at, _)| *at > now + HOUR);
    let what = match ahead {
        _ if now < FIRST => format!("the clock says {}", timestamp(now)),
        Some((at, path)) => {
            format!("the clock says {}, and {} was written {}", timestamp(now), path.display(), timestamp(at))
        }
        None => return Vec::new(),
    };
    let why = "Barnacle compares no clocks, so nobody is locked out; certificates and other clients do";
    vec![Finding::warning(what, why, "timedatectl; sudo timedatectl set-ntp true")]
}

/// Reports a kernel without the memory controller, as on Raspberry Pi OS.
pub fn memory_controller(facts: &Facts) -> Vec<Finding> {
    if facts.services.is_empty() || has_memory_controller() {
        return Vec::new();
    }
    let what = "the kernel's memory controller is off, as Raspberry Pi OS has it";
    let why = "MemoryMax= of the unit has no effect; the gateway needs a few MB, so that does no harm";
    let fix = "add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot, if limits are wanted";
    vec![Finding::warning(what, why, fix)]
}

fn has_memory_controller() -> bool {
    if let Ok(list) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        return list.split_whitespace().any(|c| c == "memory");
    }
    // The last field says whether it is on.
    let all = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    all.lines().any(|line| line.starts_with("memory\t") && line.ends_with("\t1"))
}
