//! Checks of the host: its port, its address, its clock, its memory.

use super::{Facts, Finding};
use crate::{
    clock::{timestamp, wall_ms},
    net::{listen::Bind, local_addr, port_owner},
};
use std::{fs, time::UNIX_EPOCH};

/// Another process has the port.
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
            let mend = format!("kill {}, or set gateway.port to another", holder.pid);
            Finding::fault(format!("port {port} is held by {holder}"), why, mend)
        }
        None => Finding::fault(
            format!("port {port} is held by a process of another account"),
            why,
            format!("sudo ss -ltnp 'sport = :{port}' says which; stop it, or set gateway.port to another"),
        ),
    };
    vec![held]
}

/// The address to listen on is not there.
pub fn address(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let what = match settings.where_to_listen() {
        Bind::Address(ip) if !local_addr::is_own(ip) => {
            format!("gateway.bind is {ip}, which this host does not have now")
        }
        Bind::Tailnet if local_addr::in_tailnet().is_none() => {
            "gateway.bind is tailnet, and this host has no address in one now".into()
        }
        _ => return Vec::new(),
    };
    let why = "nobody reaches the gateway there; once the address comes they do, without a restart";
    vec![Finding::note(what, why, "ip -brief address (what this host has), or set gateway.bind to another")]
}

/// A clock that is years off: a board without a battery, before its network is up.
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
    let why = "Barnacle compares no clocks, so nobody is locked out; certificates and others' clients do";
    vec![Finding::note(what, why, "timedatectl; sudo timedatectl set-ntp true")]
}

/// Limits of memory in a unit do nothing, as on Raspberry Pi OS.
pub fn memory_controller(facts: &Facts) -> Vec<Finding> {
    if facts.services.is_empty() || has_memory_controller() {
        return Vec::new();
    }
    let what = "the kernel's memory controller is off, as Raspberry Pi OS has it";
    let why = "MemoryMax= of the unit does nothing; the gateway needs a few MB, so that is no harm to it";
    let mend = "add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot, if limits are wanted";
    vec![Finding::note(what, why, mend)]
}

fn has_memory_controller() -> bool {
    if let Ok(list) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        return list.split_whitespace().any(|c| c == "memory");
    }
    // The last field says whether it is on.
    let all = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    all.lines().any(|line| line.starts_with("memory\t") && line.ends_with("\t1"))
}
