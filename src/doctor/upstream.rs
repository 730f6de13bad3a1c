//! Checks of the gateway behind this one.

use super::{Facts, Finding, pair};
use crate::{clock::timestamp, protocol::Fields};

fn pairings(upstream: Fields<'_>) -> Vec<Fields<'_>> {
    upstream.objects("pairings").collect()
}

/// Reports that it is away, unless it only waits for an approval.
pub fn away(facts: &Facts) -> Vec<Finding> {
    let running = facts.running.as_ref().ok();
    let away = running.and_then(|running| running.upstream()).filter(|up| up.text("state") == "away");
    let Some(upstream) = away else { return Vec::new() };
    if pairings(upstream).iter().any(|pairing| pairing.text("name") == "Barnacle") {
        return Vec::new();
    }
    let since = upstream.u64("sinceMs").map(|ms| format!(" since {}", timestamp(ms)));
    let why = upstream.str("why").unwrap_or("it was not tried yet");
    let fix = pair::restart(facts).unwrap_or_else(|| {
        "start it, or do what the reason says; its own state: openclaw gateway status --deep, on its host"
            .into()
    });
    vec![Finding::error(
        format!("OpenClaw at {} is away{}: {why}", upstream.text("url"), since.unwrap_or_default()),
        "what is OpenClaw's waits, and is then answered UNAVAILABLE; nobody is closed",
        fix,
    )]
}

/// Reports pairings that wait for somebody there.
pub fn pairings_that_wait(facts: &Facts) -> Vec<Finding> {
    let running = facts.running.as_ref().ok();
    let Some(upstream) = running.and_then(|running| running.upstream()) else { return Vec::new() };
    let finding = |pairing: Fields<'_>| {
        let (name, role) = (pairing.text("name"), pairing.text("role"));
        let what = format!("OpenClaw at {} has to approve {name} ({role})", upstream.text("url"));
        let why = match pairing.text("reason") {
            "scope-upgrade" => "until then clients have fewer scopes there than here",
            _ => "until then what it asks of OpenClaw is refused",
        };
        Finding::error(what, why, format!("on the host of that OpenClaw: {}", pairing.text("command")))
    };
    pairings(upstream).into_iter().map(finding).collect()
}
