//! Access: which authorization of a client opens which path, and what OpenClaw is shown in its place. Facts in, verdict
//! out.
//!
//! OpenClaw's shared secret is an owner's there, whoever sends it. So what a device's token is exchanged for it on is
//! bounded here, by the device's scopes. Sources: `docs/gateway/tools-invoke-http-api.md`, `openai-http-api.md`,
//! `operator-scopes.md` and `docs/plugins/architecture-internals/gateway-routes.md` of the npm package openclaw.

use crate::{
    http::caller::{Denied, MEDIA, Offered, ends},
    protocol::Scope,
};
use std::time::Duration;

/// Kind of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `GET` or `HEAD`.
    Read,
    /// Any other method, or an upgrade.
    Write,
}

/// Everything the verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Path, without a query.
    pub path: &'a str,
    /// Kind of the request.
    pub kind: Kind,
    /// What it offers.
    pub offered: Offered,
    /// Time for which guesses of the shared secret from its address stay refused.
    pub locked: Option<Duration>,
    /// Whether the auth mode asks for nothing.
    pub open: bool,
    /// `hooks.path` of `openclaw.json`.
    pub hooks: &'a str,
}

/// Decision about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Pass it on with the authorization that it has, if any.
    AsItIs,
    /// Pass it on with OpenClaw's shared secret.
    WithSecret,
    /// Refuse it.
    Refuse(Denied),
}

/// Part of a path by which a row is found; letters are compared without their case, as OpenClaw does for plugins.
#[derive(Clone, Copy)]
enum At {
    /// This path, and all below it.
    Under(&'static str),
    /// Any path that ends so, below whatever `gateway.controlUi.basePath` is.
    Ending(&'static str),
}

/// Who judges the authorization of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judge {
    /// OpenClaw, by a credential of its own.
    OpenClaw,
    /// This gateway; a device needs the first scope for reads, the second for all else.
    Here(Scope, Scope),
}

use At::{Ending, Under};
use Judge::{Here, OpenClaw};

/// Paths that are not [`USUAL`]; the first row that fits.
const ROWS: &[(At, Judge)] = &[
    // What is behind a capability, ticket or code that OpenClaw made.
    (Under("/__openclaw__/worker"), OpenClaw),
    (Under("/__openclaw__/worker-bootstrap"), OpenClaw),
    (Under("/__openclaw__/worker-bundle"), OpenClaw),
    (Under("/__openclaw__/worker-transfer"), OpenClaw),
    (Under("/api/nodes/watch"), OpenClaw),
    (Under("/j"), OpenClaw),
    (Under("/desktop/observe"), OpenClaw),
    (Under("/node-desktop/attach"), OpenClaw),
    (Under("/node-portal/attach"), OpenClaw),
    (Under("/browser/extension"), OpenClaw),
    (Under("/browser/screencast"), OpenClaw),
    // Any path of OpenClaw's may follow the capability.
    (Under("/__openclaw__/cap"), Here(Scope::Admin, Scope::Admin)),
    // "Treat this endpoint as full operator access": it acts as the owner, with every scope.
    (Under("/tools/invoke"), Here(Scope::Admin, Scope::Admin)),
    (Under("/v1"), Here(Scope::Read, Scope::Admin)),
    (Under("/api/v1/admin"), Here(Scope::Admin, Scope::Admin)),
    (Under("/sessions"), Here(Scope::Read, Scope::Admin)),
    (Ending(MEDIA), Here(Scope::Read, Scope::Admin)),
];

/// What all other paths ask for: pages and their data, and plugin routes, which run with `operator.write` at most.
const USUAL: Judge = Here(Scope::Read, Scope::Write);

/// Whether `path` is `root` or below it, whatever the case of its letters.
pub(super) fn is_under(path: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    let begins = path.get(..root.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(root));
    begins && matches!(path.as_bytes().get(root.len()), None | Some(b'/'))
}

/// Whether nobody can take `path` for another one: it has no empty, `.` or `..` segment, no `\`, and nothing encoded
/// that need not be.
pub(super) fn is_plain(path: &str) -> bool {
    let needless = |code: &[u8]| {
        let digit = |at: usize| code.get(at).and_then(|c| (*c as char).to_digit(16));
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) => {
                let byte = (high * 16 + low) as u8;
                byte.is_ascii_alphanumeric() || b"-._~/\\%;".contains(&byte) || byte.is_ascii_control()
            }
            _ => true,
        }
    };
    let Some(rest) = path.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let segments = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    segments && !path.contains('\\') && !path.split('%').skip(1).any(|after| needless(after.as_bytes()))
}

fn judge(path: &str, hooks: &str) -> Judge {
    if !is_plain(path) {
        return Here(Scope::Admin, Scope::Admin);
    }
    // A root would have every path be a hook's; OpenClaw refuses it too.
    if !hooks.trim_matches('/').is_empty() && is_under(path, hooks) {
        return OpenClaw;
    }
    let row = ROWS.iter().find(|(at, _)| match at {
        Under(root) => is_under(path, root),
        Ending(end) => ends(path, end),
    });
    row.map_or(USUAL, |(_, judge)| *judge)
}

/// Decides. While guesses of an address are locked out, a right shared secret is refused as a wrong one is; a device's
/// token is no guess.
pub(super) fn authorise(f: &Facts<'_>) -> Verdict {
    let Here(reads, writes) = judge(f.path, f.hooks) else { return Verdict::AsItIs };
    match (f.offered, f.locked) {
        (Offered::Nothing | Offered::Foreign, _) => Verdict::AsItIs,
        _ if f.open => Verdict::WithSecret,
        (Offered::Device(scopes), _) => {
            let needed = if f.kind == Kind::Read { reads } else { writes };
            match scopes.allows(needed) {
                true => Verdict::WithSecret,
                false => Verdict::Refuse(Denied::Scope(needed)),
            }
        }
        (Offered::Shared | Offered::Wrong, Some(left)) => Verdict::Refuse(Denied::Locked(left)),
        (Offered::Shared, None) => Verdict::WithSecret,
        (Offered::Wrong, None) => Verdict::Refuse(Denied::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, *};
    use Offered::*;

    fn device(scopes: &[Scope]) -> Offered {
        Device(scopes.iter().copied().collect())
    }

    fn facts<'a>(kind: Kind, path: &'a str, offered: Offered) -> Facts<'a> {
        Facts { path, kind, offered, locked: None, open: false, hooks: "/hooks" }
    }

    #[test]
    fn who_may_what() {
        let lacks = |scope| Verdict::Refuse(Denied::Scope(scope));
        let (read, write) = (device(&[Scope::Read]), device(&[Scope::Write]));
        let (admin, talk) = (device(&[Scope::Admin]), device(&[Scope::Talk]));
        for (kind, path, offered, verdict) in [
            (Read, "/", Nothing, Verdict::AsItIs),
            (Write, "/v1/chat/completions", Nothing, Verdict::AsItIs),
            (Write, "/api/messages", Foreign, Verdict::AsItIs),
            (Read, "/control-ui-config.json", Shared, Verdict::WithSecret),
            (Read, "/control-ui-config.json", read, Verdict::WithSecret),
            (Read, "/control-ui-config.json", talk, lacks(Scope::Read)),
            (Read, "/control-ui-config.json", Wrong, Verdict::Refuse(Denied::Wrong)),
            (Write, "/api/users/1/avatar", read, lacks(Scope::Write)),
            (Write, "/api/users/1/avatar", write, Verdict::WithSecret),
            (Read, "/v1/models", read, Verdict::WithSecret),
            (Write, "/v1/chat/completions", write, lacks(Scope::Admin)),
            (Write, "/v1/chat/completions", admin, Verdict::WithSecret),
            (Write, "/tools/invoke", write, lacks(Scope::Admin)),
            (Write, "/TOOLS/invoke/", write, lacks(Scope::Admin)),
            (Write, "/tools/invoke", Shared, Verdict::WithSecret),
            (Write, "/tools/invoked", write, Verdict::WithSecret),
            (Write, "/sessions/a/kill", write, lacks(Scope::Admin)),
            (Read, "/sessions/a/history", read, Verdict::WithSecret),
            (Write, "/api/v1/admin/rpc", write, lacks(Scope::Admin)),
            (Write, "/base/__openclaw__/assistant-media", write, lacks(Scope::Admin)),
            (Read, "/__openclaw__/assistant-media", read, Verdict::WithSecret),
            // Another credential than the gateway's.
            (Write, "/hooks/agent", Wrong, Verdict::AsItIs),
            (Write, "/hooks", Shared, Verdict::AsItIs),
            (Write, "/hooksish", Wrong, Verdict::Refuse(Denied::Wrong)),
            (Read, "/__openclaw__/worker-bundle/x", Wrong, Verdict::AsItIs),
            (Read, "/j/CODE", Nothing, Verdict::AsItIs),
            // Another path in disguise.
            (Write, "/x/../tools/invoke", write, lacks(Scope::Admin)),
            (Write, "/hooks/../tools/invoke", Wrong, Verdict::Refuse(Denied::Wrong)),
            (Write, "/x/%2e%2e/tools/invoke", write, lacks(Scope::Admin)),
            (Write, "/api/v1/%61dmin/rpc", write, lacks(Scope::Admin)),
            (Write, "//tools/invoke", write, lacks(Scope::Admin)),
            (Write, "/x\\..\\tools", write, lacks(Scope::Admin)),
            (Read, "/__openclaw__/cap/x/tools/invoke", write, lacks(Scope::Admin)),
            (Read, "/a%20b/", read, Verdict::WithSecret),
        ] {
            assert_eq!(authorise(&facts(kind, path, offered)), verdict, "{kind:?} {path} {offered:?}");
        }
    }

    #[test]
    fn while_locked_out_a_right_secret_is_refused_too() {
        let locked = Some(Duration::from_secs(3));
        let refused = Verdict::Refuse(Denied::Locked(Duration::from_secs(3)));
        for (offered, open, verdict) in [
            (Shared, false, refused),
            (Wrong, false, refused),
            (Nothing, false, Verdict::AsItIs),
            (device(&[Scope::Read]), false, Verdict::WithSecret),
            (Wrong, true, Verdict::WithSecret),
        ] {
            let facts = Facts { locked, open, ..facts(Read, "/", offered) };
            assert_eq!(authorise(&facts), verdict, "{offered:?} {open}");
        }
    }

    #[test]
    fn hooks_are_where_the_file_says() {
        for (hooks, path, verdict) in [
            ("/in", "/in/agent", Verdict::AsItIs),
            ("/in/", "/in/agent", Verdict::AsItIs),
            ("/in", "/hooks/agent", Verdict::Refuse(Denied::Wrong)),
            ("/", "/hooks/agent", Verdict::Refuse(Denied::Wrong)),
            ("", "/hooks/agent", Verdict::Refuse(Denied::Wrong)),
        ] {
            let facts = Facts { hooks, ..facts(Write, path, Wrong) };
            assert_eq!(authorise(&facts), verdict, "{hooks} {path}");
        }
    }
}
