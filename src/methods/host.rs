//! `system.info`, `environments.list` and their like: the host that this gateway runs on.

use super::{Access, Answer, Call, Method, Repeat, shape::Object};
use crate::{
    clock::wall_ms,
    host::{self, Disk},
    protocol::{Json, Scope},
    reactor::on_worker,
};
use std::{fs, path::PathBuf, thread::available_parallelism};

const READ: Access = Access::Operator(Scope::Read);

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::waits("system.info", READ, Repeat::Harmless, |c| Box::pin(info(c))),
    Method::now("environments.list", Access::Dynamic(Scope::Read), Repeat::Harmless, environments),
    Method::now("diagnostics.lanes", READ, Repeat::Harmless, lanes),
    // Pages show what is advertised of it as something to work with.
    Method::now("skills.status", READ, Repeat::Harmless, skills).unadvertised(),
];

/// `system.info`. Read by a worker: the file system of the state directory may be slow.
async fn info(call: Call) -> Answer {
    let settings = call.app.settings();
    let uptime = call.app.boot.clock.uptime_ms();
    let (state, port) = (settings.paths.state_dir.clone(), settings.port);
    Ok(on_worker(move || facts(state, port, uptime)).await.into())
}

fn facts(state: PathBuf, port: u16, uptime_ms: u64) -> Json {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let name = host::name();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let kib = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let os = read("/etc/os-release");
    let os = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"'));
    let cpus = read("/proc/cpuinfo");
    let model = |line: &str| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned());
    let load = read("/proc/loadavg");
    let load: Vec<f64> = load.split(' ').take(3).filter_map(|n| n.parse().ok()).collect();
    let disk = Disk::of(&state);
    Object::new()
        .put("machineName", &name)
        .put("hostname", &name)
        .put("platform", std::env::consts::OS)
        .put("release", &*release)
        .put("arch", arch())
        .put("osLabel", os.unwrap_or(&format!("Linux {release}")))
        .put("port", &u64::from(port))
        // The schema wants one.
        .put("nodeVersion", concat!("none (Barnacle ", env!("CARGO_PKG_VERSION"), ")"))
        .put("pid", &u64::from(std::process::id()))
        .put("uptimeMs", &uptime_ms)
        .put("cpuCount", &available_parallelism().map_or(1, |n| n.get() as u64))
        .opt("cpuModel", cpus.lines().find_map(model).as_ref())
        .opt("loadAverage", Some(&load).filter(|load| load.len() == 3))
        .put("memoryTotalBytes", &(kib("MemTotal:").unwrap_or(0) << 10))
        .put("memoryFreeBytes", &(kib("MemAvailable:").unwrap_or(0) << 10))
        .opt("diskTotalBytes", disk.map(|disk| disk.total).as_ref())
        .opt("diskAvailableBytes", disk.map(|disk| disk.free).as_ref())
        .put("diskPath", &*state.to_string_lossy())
        .json()
}

/// The processor's architecture by the name that Node has for it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `environments.list`: this host. No session has a workspace or runs programs here.
fn environments(_: &Call) -> Answer {
    let here = r#"{"environments":[{"id":"gateway","type":"local","label":"Gateway local","status":"available","platform":"linux","sessionHost":false,"trust":"persistent","capabilities":["agent.run","sessions"]}]}"#;
    Ok(Json(here.into()).into())
}

/// `diagnostics.lanes`: runs that ask a model at once, of all sessions.
fn lanes(call: &Call) -> Answer {
    let load = call.app.runs.load(call.app.settings().config.agents.runs_at_once());
    let lane = Object::new()
        .put("lane", "main")
        .put("queuedCount", &(load.waiting as u64))
        .put("activeCount", &(load.asking as u64))
        .put("maxConcurrent", &(load.most as u64))
        .put("draining", &call.app.hub.is_stopping())
        .put("generation", &0_u64)
        .put("blockedBy", &Json::null())
        .json();
    let object = Object::new().put("ts", &wall_ms()).put("lanes", &vec![lane]);
    Ok(object.put("dynamic", &Json::null()).json().into())
}

/// `skills.status`: where skills would be. None is read in this version.
fn skills(call: &Call) -> Answer {
    let settings = call.app.settings();
    let state = &settings.paths.state_dir;
    Ok(Object::new()
        .put("workspaceDir", &super::absent::workspace(&settings))
        .put("managedSkillsDir", &*state.join("skills").to_string_lossy())
        .put("agentId", &settings.config.agents.default)
        .put("skills", &Vec::<Json>::new())
        .json()
        .into())
}
