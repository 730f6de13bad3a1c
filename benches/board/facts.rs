//! What the figures were taken on: without that they say nothing.

use std::{fs, path::Path};

/// Name and value of each; "unknown" where the system does not tell.
pub fn gather(dir: &Path, gateway: &str) -> Vec<(&'static str, String)> {
    let cpus =
        text("/proc/cpuinfo").unwrap_or_default().lines().filter(|l| l.starts_with("processor")).count();
    let known = |value: Option<String>| value.filter(|v| !v.is_empty()).unwrap_or_else(|| "unknown".into());
    vec![
        ("gateway", gateway.into()),
        ("board", known(text("/proc/device-tree/model"))),
        (
            "kernel",
            known(text("/proc/sys/kernel/osrelease").map(|r| format!("{r} {}", std::env::consts::ARCH))),
        ),
        ("page size", format!("{} bytes", rustix::param::page_size())),
        ("CPU", format!("{cpus} × {}", known(cpu()))),
        ("governor", known(text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))),
        (
            "clock",
            known(
                text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
                    .and_then(|khz| mega(&khz, "MHz")),
            ),
        ),
        ("temperature", known(temperature())),
        ("throttled", known(throttled())),
        ("memory", known(line("/proc/meminfo", "MemTotal:"))),
        ("load", known(text("/proc/loadavg"))),
        ("disk", known(disk(dir))),
    ]
}

/// Now; it rises as one measures.
pub fn temperature() -> Option<String> {
    let milli: f64 = text("/sys/class/thermal/thermal_zone0/temp")?.parse().ok()?;
    Some(format!("{:.1} °C", milli / 1e3))
}

/// The Raspberry Pi's own word: 0x1 too little voltage, 0x2 capped, 0x4 throttled, 0x8 at its limit; 0x10000
/// and up the same since boot.
pub fn throttled() -> Option<String> {
    text("/sys/devices/platform/soc/soc:firmware/get_throttled")
        .map(|hex| format!("0x{}", hex.trim_start_matches("0x")))
        .or_else(|| {
            let output = std::process::Command::new("vcgencmd").arg("get_throttled").output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().strip_prefix("throttled=")?.to_owned())
        })
}

fn cpu() -> Option<String> {
    // ARM kernels name the part only, and `lscpu` knows the names.
    line("/proc/cpuinfo", "model name").or_else(|| {
        Some(match line("/proc/cpuinfo", "CPU part")?.as_str() {
            "0xb76" => "ARM1176".into(),
            "0xc07" => "Cortex-A7".into(),
            "0xd03" => "Cortex-A53".into(),
            "0xd08" => "Cortex-A72".into(),
            "0xd0b" => "Cortex-A76".into(),
            part => format!("CPU part {part}"),
        })
    })
}

/// Device and file system of the longest mount point above `dir`.
fn disk(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = text("/proc/self/mounts")?;
    let above = mounts.lines().filter_map(|mount| {
        let mut words = mount.split(' ');
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(point).then(|| (point.len(), format!("{device} {kind}")))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, disk)| disk)
}

fn mega(kilo: &str, unit: &str) -> Option<String> {
    Some(format!("{} {unit}", kilo.parse::<u64>().ok()? / 1000))
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_matches(['\0', '\n', ' ']).to_owned())
}

fn line(path: &str, key: &str) -> Option<String> {
    let text = text(path)?;
    let rest = text.lines().find_map(|l| l.strip_prefix(key))?;
    Some(rest.trim_start_matches([':', ' ', '\t']).to_owned())
}
