//! `gateway.restart.preflight` and `gateway.restart.request`, in OpenClaw's shapes.
//!
//! Nothing blocks a restart, since whatever is under way continues in the next process image. A request is
//! answered once the program on disk has passed the preflight; if it does not, the answer is why, and nothing
//! happens. Source: OpenClaw 2026.9.6, `server-methods/restart.ts`.

use super::{Access, Answer, Call, Method, Repeat, Reply};
use crate::protocol::{ErrorShape, Json, Scope};
use nanoserde::SerJson;

/// The methods of this family.
pub(super) const METHODS: &[Method] = &[
    Method::now("gateway.restart.preflight", Access::Operator(Scope::Read), Repeat::Harmless, |_| {
        Ok(preflight().into())
    }),
    Method::waits("gateway.restart.request", Access::Operator(Scope::Admin), Repeat::ChangesTwice, |call| {
        Box::pin(request(call))
    }),
];

/// Most of a reason that is kept, characters.
const REASON: usize = 200;

#[derive(SerJson, Default)]
#[allow(non_snake_case)]
struct Counts {
    queueSize: u64,
    pendingReplies: u64,
    embeddedRuns: u64,
    cronRuns: u64,
    backgroundExecSessions: u64,
    rootRequests: u64,
    activeTasks: u64,
    totalActive: u64,
}

#[derive(SerJson)]
struct Preflight {
    safe: bool,
    counts: Counts,
    blockers: Vec<String>,
    summary: &'static str,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Scheduled {
    ok: bool,
    pid: u32,
    signal: &'static str,
    reason: String,
    mode: &'static str,
    cooldownMsApplied: u64,
    delayMs: u64,
    coalesced: bool,
    emitHooksQueued: bool,
}

#[derive(SerJson)]
#[allow(non_snake_case)]
struct Requested {
    ok: bool,
    status: &'static str,
    preflight: Preflight,
    restart: Scheduled,
    /// The version of the program that takes over; Barnacle's own.
    version: Option<String>,
    /// Number of connections to be closed, since they speak TLS; Barnacle's own.
    closes: u64,
}

fn safe() -> Preflight {
    Preflight { safe: true, counts: Counts::default(), blockers: Vec::new(), summary: "safe to restart now" }
}

/// `gateway.restart.preflight`.
fn preflight() -> Json {
    Json::of(&safe())
}

/// `gateway.restart.request`.
async fn request(call: Call) -> Answer {
    let (app, params) = (&call.app, call.params()?);
    if let Some(target) = params.opt_object("target")?
        && target.opt_u64("pid")?.is_some_and(|pid| pid != u64::from(std::process::id()))
    {
        return Err(ErrorShape::invalid("target gateway no longer owns the active lock"));
    }
    let reason = params.opt_str("reason")?.map(str::trim).filter(|r| !r.is_empty());
    let reason: String = reason.unwrap_or("gateway.restart.safe").chars().take(REASON).collect();
    let coalesced = app.restarts.under_way();
    let preflighted = match coalesced {
        true => None,
        false => Some(app.restarts.preflight(&reason).await?),
    };
    let answer = Json::of(&Requested {
        ok: true,
        status: if coalesced { "coalesced" } else { "scheduled" },
        preflight: safe(),
        restart: Scheduled {
            ok: true,
            pid: std::process::id(),
            signal: "SIGUSR2",
            reason,
            mode: "emit",
            cooldownMsApplied: 0,
            delayMs: 0,
            coalesced,
            emitHooksQueued: false,
        },
        version: preflighted.as_ref().map(|p| p.version.clone()),
        closes: app.hub.not_carried().len() as u64,
    });
    let Some(preflighted) = preflighted else { return Ok(answer.into()) };
    Ok(Reply::then(answer, |app| app.spawn(preflighted.hand_over())))
}
