//! `barnacle call`, `status` and `health`: one request, one answer.

use super::{
    Failure,
    args::{Args, OPTIONS, Word},
    print,
    restart::words,
    table::plain,
};
use crate::{
    client::{Client, Fault, Target},
    clock::timestamp,
    protocol::{Access, Fields, Scope, Scopes, access, openclaw_scope},
};
use miniserde::json::Value;
use std::time::Instant;

const CALL: &str = "\
Call a method of the gateway and print its answer as JSON.

Usage: barnacle call <method> [<params as a JSON object>] [options]

  --params <json>        the parameters, as OpenClaw's command takes them
";

const STATUS: &str = "\
Say what the gateway runs with.

Usage: barnacle status [options]
";

const HEALTH: &str = "\
Ask the gateway whether it is well.

Usage: barnacle health [options]
";

/// Runs `barnacle call`.
pub fn call(mut args: Args) -> Result<(), Failure> {
    let (mut method, mut params) = (None, None);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(name) if name == "params" => params = Some(args.value()?),
            Word::Text(text) if method.is_none() => method = Some(text),
            Word::Text(text) if params.is_none() => params = Some(text),
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(&format!("{CALL}{OPTIONS}"));
    }
    let method = method.ok_or_else(|| Failure::usage("which method? barnacle call <method>"))?;
    let params = params.unwrap_or_else(|| "{}".into());
    if !matches!(miniserde::json::from_str(&params), Ok(Value::Object(_))) {
        return Err(Failure::usage(format!("the parameters must be a JSON object, not {params:?}")));
    }
    let target = args.target()?;
    let (answer, _) = ask(&target, &method, &params).map_err(|e| Failure::of(e, &target))?;
    print(&format!("{answer}\n"))
}

/// The scope that calling `method` takes.
fn scope(method: &str) -> Scopes {
    let scope = match access(method) {
        Some(Access::Operator(scope)) => Some(scope),
        Some(Access::Node) => return Scopes::NONE,
        None => openclaw_scope(method).and_then(Scope::parse),
    };
    [scope.unwrap_or(Scope::Admin)].into_iter().collect()
}

/// Calls `method`; returns the answer and how long it took, milliseconds.
pub(super) fn ask(target: &Target, method: &str, params: &str) -> Result<(String, u128), Fault> {
    let mut client = Client::connect(target, scope(method))?;
    let began = Instant::now();
    let answer = client.call(method, params)?;
    Ok((answer, began.elapsed().as_millis()))
}

/// Calls `method` without parameters for a command that has no words of its own. `None` where the
/// answer was printed as it is, or only help was wanted.
fn asked(mut args: Args, help: &str, method: &str) -> Result<Option<(Target, Value, u128)>, Failure> {
    if let Some(word) = args.next()? {
        return Err(word.unexpected());
    }
    if args.help {
        return print(&format!("{help}{OPTIONS}")).map(|()| None);
    }
    let target = args.target()?;
    let (answer, ms) = ask(&target, method, "{}").map_err(|e| Failure::of(e, &target))?;
    if args.json {
        return print(&format!("{answer}\n")).map(|()| None);
    }
    let value = miniserde::json::from_str(&answer).unwrap_or_default();
    Ok(Some((target, value, ms)))
}

/// Runs `barnacle health`.
pub fn health(args: Args) -> Result<(), Failure> {
    let Some((target, answer, ms)) = asked(args, HEALTH, "health")? else { return Ok(()) };
    if Fields::of(&answer).is_some_and(|f| f.is("ok")) {
        return print(&format!("{} is well; it answered in {ms} ms\n", target.url));
    }
    Err(Failure::new(1, format!("{} is not well; see: barnacle status", target.url)))
}

/// Runs `barnacle status`.
pub fn status(args: Args) -> Result<(), Failure> {
    let Some((target, answer, _)) = asked(args, STATUS, "status")? else { return Ok(()) };
    let Some(status) = Fields::of(&answer) else { return Ok(()) };
    let Some(own) = status.object("barnacle") else {
        let version = status.str("runtimeVersion").unwrap_or("of unknown version");
        let text = format!("{} runs OpenClaw {}; see its own: openclaw status\n", target.url, plain(version));
        return print(&text);
    };
    let number = |name| own.u64(name).unwrap_or(0);
    let memory = own.u64("residentKb").map(|kb| format!("{:.1} MB resident", kb as f64 / 1024.0));
    let lines = [
        ("gateway", format!("{} · Barnacle {} · process {}", target.url, own.text("version"), number("pid"))),
        ("up", format!("{} · since {}", duration(number("uptimeMs")), timestamp(number("startedAtMs")))),
        ("auth", format!("{} · {}", own.text("authMode"), own.text("authFrom"))),
        ("config", own.text("configPath").into()),
        ("state", format!("{} · {} commits", own.text("stateDir"), number("storeCommits"))),
        ("devices", format!("{} paired · {} waiting", number("devices"), number("pending"))),
        ("restarts", restarts(own)),
        ("load", format!("{} connections · {}", number("connections"), memory.unwrap_or_default())),
    ];
    let mut text = String::new();
    let tls = own.object("tls").filter(|tls| tls.is("enabled")).map(|tls| match tls.str("problem") {
        Some(_) => "nobody is let in: see below".into(),
        None => format!("{} · fingerprint {}", tls.text("certPath"), tls.text("fingerprintSha256")),
    });
    for (name, value) in lines.into_iter().chain(tls.map(|tls| ("tls", tls))) {
        text.push_str(&format!("{name:9}{}\n", plain(&value)));
    }
    if number("pending") > 0 {
        text.push_str("\nSomeone waits for approval: barnacle devices list\n");
    }
    let notices: Vec<_> =
        own.str("readOnly").into_iter().chain(own.str("notRestarted")).chain(own.strs("notices")).collect();
    if !notices.is_empty() {
        text.push_str("\nTo know:\n");
        notices.iter().for_each(|n| text.push_str(&format!("  {}\n", plain(n))));
    }
    print(&text)
}

/// The restarts since the start, and what the last one was like.
fn restarts(own: Fields<'_>) -> String {
    let Some(last) = own.object("lastRestart") else { return "none".into() };
    let at = timestamp(last.u64("atMs").unwrap_or(0));
    format!("{} · the last {at} ({}): {}", own.u64("restarts").unwrap_or(0), last.text("reason"), words(last))
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
