//! Methods about kinds of things of which this version has none: cron jobs, plugins, approvals and their like.
//!
//! One row is one method and its whole answer, which is true: there is nothing of the kind. Clients ask these to fill a
//! page or a table. A kind that this version gets has its row moved to its own family. What would have to be said for
//! sure, as `wake` or `set-heartbeats`, has no row: "ok" without doing it is a lie. What starts with `$` in an answer is
//! filled in (see [`answer`]).
//!
//! Shapes as OpenClaw 2026.9.6 answers; sources: `protocol.schema.json`, and what a running one said where that has none.

use super::{Access::Operator, Answer, Call, Method};
use crate::{
    clock::{timestamp, wall_ms},
    config::Settings,
    protocol::{Json, Scope},
};
use nanoserde::SerJson;

/// An answer that holds nothing.
pub(super) struct Nothing {
    /// Parameter that the request must have, if any.
    needs: Option<&'static str>,
    /// The answer, JSON.
    answer: &'static str,
}

/// Rows of a page where the request names no number, and the most.
const LIMIT: u64 = 50;
const MOST: u64 = 200;

const fn none(name: &'static str, scope: Scope, answer: &'static str) -> Method {
    Method::nothing(name, Operator(scope), Nothing { needs: None, answer })
}

const fn none_of(name: &'static str, needs: &'static str, answer: &'static str) -> Method {
    Method::nothing(name, Operator(Scope::Read), Nothing { needs: Some(needs), answer })
}

const NOTHING_RUNS: &str = r#"{"path":"(none)","exists":false,"hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","file":{"version":1,"defaults":{},"agents":{}},"resolvedDefaults":{"security":"deny","ask":"off","askFallback":"deny","autoAllowSkills":false}}"#;

/// The methods of this family. Pages show what is advertised of `users.list` and `exec.approval.grants.list` as something
/// to work with, so those are answered to whoever asks, and not offered.
#[rustfmt::skip]
pub(super) const METHODS: &[Method] = {
    use Scope::{Admin, Approvals, Pairing, Questions, Read};
    &[
        none("question.list", Questions, r#"{"questions":[]}"#),
        none("exec.approval.list", Approvals, "[]"),
        none("plugin.approval.list", Approvals, "[]"),
        none("openclaw.approval.list", Approvals, "[]"),
        none("approval.history", Approvals, r#"{"items":[]}"#),
        none("exec.approval.grants.list", Approvals, r#"{"grants":[]}"#).unadvertised(),
        // Nothing is executed on this host.
        none("exec.approvals.get", Admin, NOTHING_RUNS),
        none("tasks.list", Read, r#"{"tasks":[]}"#),
        none("cron.list", Read,
            r#"{"jobs":[],"snapshotRevision":"none","total":0,"offset":$offset,"limit":$limit,"hasMore":false,"nextOffset":null}"#),
        none("cron.status", Read,
            r#"{"enabled":false,"triggersEnabled":false,"storePath":"(none)","jobs":0,"nextWakeAtMs":null}"#),
        none("cron.runs", Read,
            r#"{"entries":[],"total":0,"offset":$offset,"limit":$limit,"hasMore":false,"nextOffset":null}"#),
        none_of("sessions.branches.list", "sessionKey", r#"{"branches":[]}"#),
        none_of("sessions.companion.state", "sessionKey", r#"{"exchanges":[]}"#),
        none_of("progressCard.get", "sessionKey", r#"{"card":null}"#),
        none_of("sessions.observer.visibility", "visible", r#"{"ok":true}"#),
        none("talk.catalog", Read,
            r#"{"modes":[],"transports":[],"brains":[],"speech":{"providers":[]},"transcription":{"ready":false,"providers":[]},"realtime":{"ready":false,"providers":[]}}"#),
        none("diagnostics.stability", Read,
            r#"{"generatedAt":"$time","capacity":0,"count":0,"dropped":0,"events":[],"summary":{"byType":{}}}"#),
        none("plugins.list", Read, r#"{"plugins":[],"diagnostics":[],"mutationAllowed":false}"#),
        none("skills.library.list", Read,
            r#"{"entries":[],"profileId":null,"multipleProfiles":false,"defaultTarget":"workspace","canManageWorkspace":false,"defaultSelectionLimit":64}"#),
        none("update.status", Admin, r#"{"sentinel":null,"updateAvailable":null}"#),
        none("worktrees.list", Read, r#"{"worktrees":[]}"#),
        none("channels.pairing.list", Pairing,
            r#"{"accounts":[],"requests":[],"commandOwnerConfigured":false,"limits":{"pendingPerAccount":3,"ttlMs":3600000}}"#),
        none("audit.activity.list", Read, r#"{"events":[]}"#),
        // The one look that the page has where nobody chose another; it cannot be kept here.
        none("themes.list", Read,
            r#"{"current":{"id":"claw","mode":"system","scope":"gateway","overrides":{}},"theme":{"id":"claw","name":"Claw","description":"The page's own","source":"builtin","modes":["light","dark"]},"themes":[{"id":"claw","name":"Claw","description":"The page's own","source":"builtin","modes":["light","dark"]}]}"#)
            .unadvertised(),
        none("plugins.catalog.browse", Read,
            r#"{"items":[],"remoteError":"This version of Barnacle runs no plugins."}"#)
            .unadvertised(),
        // Of a registry: what is found there is to be installed, and nothing can be.
        none("skills.search", Read, r#"{"results":[]}"#).unadvertised(),
        none("skills.proposals.list", Read,
            r#"{"schema":"openclaw.skill-workshop.proposals-manifest.v1","updatedAt":"$time","proposals":[],"installedSkills":[]}"#)
            .unadvertised(),
        none("migrations.memory.plan", Admin, r#"{"agentId":"$agent","workspace":"$workspace","providers":[]}"#)
            .unadvertised(),
        none("doctor.memory.status", Read,
            r#"{"agentId":"$agent","provider":"none","embedding":{"ok":false,"checked":false,"error":"This version of Barnacle has no memory of its own."}}"#)
            .unadvertised(),
        none("tools.github.status", Read,
            r#"{"agentId":"$agent","selectedScope":"$scope","selected":{"scope":"$scope","configured":false,"identity":null},"effective":{"source":"system-detected","credentialKind":"native","credentialState":"unavailable","account":null,"gitAuthor":{"name":null,"email":null},"evidence":"none","accessExpiresAtMs":null,"refreshState":"not_applicable","oauthScopes":[],"repositoryGrants":"unknown"}}"#)
            .unadvertised(),
        none("users.list", Read, r#"{"profiles":[]}"#).unadvertised(),
    ]
};

/// Answers a request with nothing of its kind. Filled in are the time (`$now`, as RFC 3339 `$time`), the place in a list
/// (`$limit`, `$offset`), the agent, its workspace, and the scope of a setting.
pub(super) fn answer(call: &Call, nothing: &Nothing) -> Answer {
    let params = call.params()?;
    if let Some(name) = nothing.needs
        && params.value(name).is_none()
    {
        // The error says what is missing.
        params.str(name)?;
    }
    if !nothing.answer.contains('$') {
        return Ok(Json(nothing.answer.into()).into());
    }
    let (now, settings) = (wall_ms(), call.app.settings());
    let agent = params.opt_str("agentId")?.unwrap_or(&settings.config.agents.default);
    let scope = if params.opt_str("selectedScope")? == Some("agent") { "agent" } else { "system" };
    let limit = params.opt_u64("limit")?.unwrap_or(LIMIT).clamp(1, MOST);
    let offset = params.opt_u64("offset")?.unwrap_or(0);
    let within = |text: &str| {
        let quoted = text.to_owned().serialize_json();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let blanks = [
        ("$now", now.to_string()),
        ("$time", timestamp(now)),
        ("$limit", limit.to_string()),
        ("$offset", offset.to_string()),
        ("$scope", scope.to_owned()),
        ("$workspace", within(&workspace(&settings))),
        // Last: what it holds is the caller's.
        ("$agent", within(agent)),
    ];
    let fill = |text: String, (blank, value): &(&str, String)| text.replace(blank, value);
    Ok(Json(blanks.iter().fold(nothing.answer.to_owned(), fill)).into())
}

/// The workspace of the default agent.
pub(super) fn workspace(settings: &Settings) -> String {
    let named = settings.source.root.find(["agents", "defaults", "workspace"]).and_then(|node| node.text());
    let usual = || settings.paths.state_dir.join("workspace").to_string_lossy().into_owned();
    named.map_or_else(usual, str::to_owned)
}
