//! `barnacle status`: what the gateway reports of itself.

use super::{Command, Failure, args::Args, call, gateway::restart_report, print, table::plain};
use crate::{clock::timestamp, host, protocol::Fields};

pub(super) static COMMAND: Command = Command {
    name: "status",
    summary: "show the gateway's version, load, devices and warnings",
    about: "Show what the running gateway reports: version, uptime, configuration, devices, restarts, warnings.",
    calls: true,
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let Some(call::Answer { target, value, .. }) = call::answer(&args, "status")? else { return Ok(()) };
    let Some(status) = Fields::of(&value) else { return Ok(()) };
    let Some(own) = status.object("barnacle") else {
        let version = status.str("runtimeVersion").unwrap_or("of unknown version");
        let text = format!("{} runs OpenClaw {}; see its own: openclaw status\n", target.url, plain(version));
        return print(&text);
    };
    let number = |name| own.u64(name).unwrap_or(0);
    let memory = own.u64("residentKb").map(|kb| format!("{:.1} MB resident", kb as f64 / 1024.0));
    let tls = own.object("tls").filter(|tls| tls.is("enabled")).map(|tls| match tls.str("problem") {
        Some(_) => "no certificate, so nobody is admitted: see below".into(),
        None => format!("{} · fingerprint {}", tls.text("certPath"), tls.text("fingerprintSha256")),
    });
    let lines = [
        ("gateway", format!("{} · Barnacle {} · process {}", target.url, own.text("version"), number("pid"))),
        ("up", format!("{} · since {}", duration(number("uptimeMs")), timestamp(number("startedAtMs")))),
        ("auth", format!("{} · {}", own.text("authMode"), own.text("authFrom"))),
        ("config", own.text("configPath").into()),
        ("state", format!("{} · {} commits", own.text("stateDir"), number("storeCommits"))),
        ("devices", format!("{} paired · {} pending", number("devices"), number("pending"))),
        ("restarts", restarts(own)),
        (
            "load",
            format!("{} · {}", host::count(number("connections"), "connection"), memory.unwrap_or_default()),
        ),
    ];
    let upstream = status.object("upstream");
    let behind = upstream.map(|upstream| ("upstream", behind(upstream)));
    let mut text = String::new();
    for (name, value) in lines.into_iter().chain(tls.map(|tls| ("tls", tls))).chain(behind) {
        text.push_str(&format!("{name:9}{}\n", plain(&value)));
    }
    for pairing in upstream.into_iter().flat_map(|upstream| upstream.objects("pairings")) {
        let (name, command) = (plain(pairing.text("name")), plain(pairing.text("command")));
        text.push_str(&format!("\nOpenClaw has to approve {name}; on its host: {command}\n"));
    }
    if number("pending") > 0 {
        text.push_str("\nRequests are pending: barnacle devices list\n");
    }
    let warnings: Vec<_> =
        own.str("readOnly").into_iter().chain(own.str("notRestarted")).chain(own.strs("notices")).collect();
    if !warnings.is_empty() {
        text.push_str("\nWarnings:\n");
        warnings.iter().for_each(|n| text.push_str(&format!("  {}\n", plain(n))));
    }
    print(&text)
}

/// Formats the state of the gateway behind this one.
fn behind(upstream: Fields<'_>) -> String {
    let (url, state) = (upstream.text("url"), upstream.text("state"));
    let since = upstream.u64("sinceMs").map(|ms| format!(" since {}", timestamp(ms))).unwrap_or_default();
    match upstream.str("why") {
        Some(why) => format!("{url} · {state}{since}: {why}"),
        None => format!("{url} · OpenClaw {} · {state}{since}", upstream.text("version")),
    }
}

/// Formats the restarts since the start, and the last one.
fn restarts(own: Fields<'_>) -> String {
    let Some(last) = own.object("lastRestart") else { return "none".into() };
    let at = timestamp(last.u64("atMs").unwrap_or(0));
    let count = own.u64("restarts").unwrap_or(0);
    format!("{count} · last {at} ({}): {}", last.text("reason"), restart_report(last))
}

/// A duration to its two largest units.
fn duration(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        s => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}
