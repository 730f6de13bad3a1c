//! The decision: from what is there to what is to be done, or why nothing is. Pure.

use super::{
    super::Scope,
    drop_in::DropIn,
    launch::{BadLaunch, Launch},
};
use std::{fmt, path::PathBuf};

/// What is known before anything is done.
pub(super) struct Facts {
    pub unit: String,
    pub scope: Scope,
    /// `ActiveState` of the unit.
    pub state: String,
    pub launch: Result<Launch, BadLaunch>,
    /// The drop-in of an earlier time, and its place.
    pub drop_in: Option<DropIn>,
    pub drop_in_file: PathBuf,
    /// Whether the directory of drop-ins is there.
    pub has_directory: bool,
    pub ours: Ours,
    /// The process that runs a gateway of Barnacle on the same state, and is no service; its number.
    pub by_hand: Option<u32>,
    /// The profile that is meant here.
    pub profile: Option<String>,
    /// The port of a gateway without one on its command line or in its unit.
    pub configured_port: u16,
    /// `upstream.url` of `barnacle.json`.
    pub own_upstream: Option<String>,
    /// `gateway.tailscale.mode` of `openclaw.json`, where it is not off.
    pub tailscale: Option<String>,
    /// Whether OpenClaw speaks TLS, and nothing says whom to trust.
    pub untrusted_tls: bool,
    /// Whether there is no shared secret, though one is required: where it is to be put.
    pub no_secret: Option<PathBuf>,
    /// The process that listens on OpenClaw's port and is not OpenClaw's; of the port as it is before.
    pub stranger: Option<String>,
    /// The first port above that nobody listens on.
    pub free: Option<u16>,
}

/// The service of Barnacle that is installed under the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ours {
    None,
    /// It runs alone, or in OpenClaw's place.
    Alone,
    /// It stands in front of OpenClaw already.
    InFront,
}

/// What is to be done.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Move {
    /// The port that OpenClaw has without the drop-in, and Barnacle is to have.
    pub port: u16,
    /// The drop-in to be.
    pub drop_in: DropIn,
    /// Whether it is there already.
    pub is_there: bool,
}

/// Why nothing is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    Launch(String, BadLaunch),
    /// The unit does not run.
    NotRunning(String, Scope, String),
    /// Barnacle is a service already, which does not stand in front.
    Alone(String),
    /// A gateway of Barnacle runs by hand.
    ByHand(u32),
    Profile(String, String),
    Upstream(String),
    Tailscale(String),
    Tls(u16),
    NoSecret(PathBuf),
    Stranger(u16, String, String),
    NoFreePort(u16),
    /// The drop-in was changed by hand.
    Edited(PathBuf),
}

/// The page with the recipe by hand.
const BY_HAND: &str = "Set it up by hand: docs/openclaw.md";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch(unit, e @ BadLaunch::Secret(_)) => write!(
                f,
                "{unit} {e}: set gateway.auth in openclaw.json, and take it out of the unit: openclaw gateway install --force"
            ),
            Self::Launch(unit, e) => write!(f, "{unit} {e}. {BY_HAND}"),
            Self::NotRunning(unit, scope, state) => write!(
                f,
                "{unit} does not run ({state}), and only a running OpenClaw gives its paired devices: {} start {unit}",
                scope.systemctl()
            ),
            Self::Alone(unit) => write!(
                f,
                "{unit} is installed already, and does not stand in front of OpenClaw. Remove it first (its state \
                 stays): barnacle gateway uninstall; or, where it took OpenClaw's place, barnacle gateway uninstall \
                 --restore-openclaw"
            ),
            Self::ByHand(pid) => write!(
                f,
                "process {pid} runs a gateway of Barnacle by hand on the same state: stop it first (kill {pid})"
            ),
            Self::Profile(unit, profile) => write!(
                f,
                "{unit} runs the profile {profile}, another one than is meant here: OPENCLAW_PROFILE={profile} barnacle \
                 gateway install --in-front-of-openclaw"
            ),
            Self::Upstream(url) => write!(
                f,
                "barnacle.json names a gateway behind this one already (upstream.url is {url}): remove that key first"
            ),
            Self::Tailscale(mode) => write!(
                f,
                "OpenClaw sets up Tailscale itself (gateway.tailscale.mode is {mode}), which would lead past Barnacle: \
                 openclaw config set gateway.tailscale.mode off, and point Tailscale at the port yourself"
            ),
            Self::Tls(port) => write!(
                f,
                "OpenClaw speaks TLS (gateway.tls.enabled), and nothing says which certificate is its own: set \
                 upstream.tlsFingerprint in barnacle.json (openssl s_client -connect 127.0.0.1:{port} </dev/null | \
                 openssl x509 -noout -fingerprint -sha256)"
            ),
            Self::NoSecret(path) => write!(
                f,
                "there is no shared secret in {}, by which Barnacle and OpenClaw know each other: openclaw doctor \
                 --generate-gateway-token",
                path.display()
            ),
            Self::Stranger(port, unit, holder) => write!(
                f,
                "port {port} is held by {holder}, not by {unit}: stop that first, or see which port OpenClaw listens on: \
                 openclaw gateway status"
            ),
            Self::NoFreePort(port) => {
                write!(f, "none of the ports above {port} is free: ss -ltn shows who has them")
            }
            Self::Edited(path) => write!(
                f,
                "{} was changed by hand, and would be written anew. To keep the changes, put them into another file \
                 there; then: rm {0}",
                path.display()
            ),
        }
    }
}

/// Decides what is to be done.
///
/// # Errors
/// [`Refusal`].
pub(super) fn decide(facts: &Facts) -> Result<Move, Refusal> {
    let unit = || facts.unit.clone();
    let launch = facts.launch.as_ref().map_err(|e| Refusal::Launch(unit(), e.clone()))?;
    let meant = facts.profile.as_deref();
    if let Some(profile) = launch.profile().filter(|p| !p.eq_ignore_ascii_case("default"))
        && meant != Some(profile)
    {
        return Err(Refusal::Profile(unit(), profile.into()));
    }
    if facts.ours == Ours::Alone {
        return Err(Refusal::Alone(unit().replacen("openclaw", "barnacle", 1)));
    }
    if let Some(pid) = facts.by_hand {
        return Err(Refusal::ByHand(pid));
    }
    if let Some(url) = &facts.own_upstream {
        return Err(Refusal::Upstream(url.clone()));
    }
    let serves = launch.option("--tailscale").map(String::from).or(facts.tailscale.clone());
    if let Some(mode) = serves.filter(|mode| mode != "off") {
        return Err(Refusal::Tailscale(mode));
    }
    if let Some(path) = &facts.no_secret {
        return Err(Refusal::NoSecret(path.clone()));
    }
    let port = launch.port().unwrap_or(facts.configured_port);
    if facts.untrusted_tls {
        return Err(Refusal::Tls(port));
    }
    let before = facts.drop_in.as_ref();
    if before.is_some_and(|before| before.edited) {
        return Err(Refusal::Edited(facts.drop_in_file.clone()));
    }
    if before.is_none() {
        if facts.state != "active" {
            return Err(Refusal::NotRunning(unit(), facts.scope, facts.state.clone()));
        }
        if let Some(holder) = &facts.stranger {
            return Err(Refusal::Stranger(port, unit(), holder.clone()));
        }
    }
    let behind = match before {
        Some(before) if before.port != port => before.port,
        _ => facts.free.ok_or(Refusal::NoFreePort(port))?,
    };
    let made_directory = before.map_or(!facts.has_directory, |before| before.made_directory);
    let drop_in = DropIn::new(launch, port, behind, made_directory);
    let is_there = before == Some(&drop_in);
    Ok(Move { port, drop_in, is_there })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(command: &str) -> Facts {
        Facts {
            unit: "openclaw-gateway.service".into(),
            scope: Scope::User,
            state: "active".into(),
            launch: Launch::read([format!("[Service]\nExecStart={command}\n").as_str()]),
            drop_in: None,
            drop_in_file: "/u/zz-barnacle.conf".into(),
            has_directory: false,
            ours: Ours::None,
            by_hand: None,
            profile: None,
            configured_port: 18789,
            own_upstream: None,
            tailscale: None,
            untrusted_tls: false,
            no_secret: None,
            stranger: None,
            free: Some(18790),
        }
    }

    const COMMAND: &str = "/o gateway --port 18789";

    #[test]
    fn what_is_done() {
        let first = decide(&facts(COMMAND)).unwrap();
        assert_eq!((first.port, first.drop_in.port, first.is_there), (18789, 18790, false));
        assert!(first.drop_in.made_directory);
        let there = || Some(DropIn { ..decide(&facts(COMMAND)).unwrap().drop_in });
        // name, facts, port, the port behind, whether it is there already
        for (name, facts, port, behind, is_there) in [
            (
                "the same again",
                Facts { drop_in: there(), ours: Ours::InFront, ..facts(COMMAND) },
                18789,
                18790,
                true,
            ),
            (
                "interrupted",
                Facts { drop_in: there(), state: "failed".into(), ..facts(COMMAND) },
                18789,
                18790,
                true,
            ),
            (
                "a newer unit",
                Facts { drop_in: there(), ..facts("/p gateway --port 18789") },
                18789,
                18790,
                false,
            ),
            (
                "a unit of another port",
                Facts { drop_in: there(), ..facts("/o gateway --port 5") },
                5,
                18790,
                false,
            ),
            (
                "its port is the unit's now",
                Facts { drop_in: there(), free: Some(9), ..facts("/o gateway --port 18790") },
                18790,
                9,
                false,
            ),
            ("no port in the unit", facts("/o gateway"), 18789, 18790, false),
            (
                "a port in the configuration",
                Facts { configured_port: 7, ..facts("/o gateway") },
                7,
                18790,
                false,
            ),
            ("the default profile by name", facts("/o --profile default gateway"), 18789, 18790, false),
            ("Tailscale switched off", facts("/o gateway --tailscale off"), 18789, 18790, false),
        ] {
            let done = decide(&facts).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((done.port, done.drop_in.port, done.is_there), (port, behind, is_there), "{name}");
        }
    }

    #[test]
    fn what_is_refused() {
        let edited = || decide(&facts(COMMAND)).map(|m| DropIn { edited: true, ..m.drop_in }).ok();
        for (facts, says) in [
            (facts("/home/pi/start.sh"), "starts /home/pi/start.sh, and not `openclaw gateway`"),
            (facts("/o gateway --token T1"), "openclaw gateway install --force"),
            (Facts { state: "failed".into(), ..facts(COMMAND) }, "(failed), and only a running OpenClaw"),
            (
                Facts { state: "inactive".into(), scope: Scope::System, ..facts(COMMAND) },
                "sudo systemctl start openclaw-gateway.service",
            ),
            (Facts { ours: Ours::Alone, ..facts(COMMAND) }, "barnacle-gateway.service is installed already"),
            (facts("/o --profile work gateway"), "OPENCLAW_PROFILE=work barnacle gateway install"),
            (Facts { by_hand: Some(7), ..facts(COMMAND) }, "kill 7"),
            (Facts { own_upstream: Some("ws://x".into()), ..facts(COMMAND) }, "remove that key first"),
            (Facts { tailscale: Some("serve".into()), ..facts(COMMAND) }, "gateway.tailscale.mode off"),
            (facts("/o gateway --tailscale serve"), "gateway.tailscale.mode off"),
            (Facts { untrusted_tls: true, ..facts(COMMAND) }, "upstream.tlsFingerprint"),
            (
                Facts { no_secret: Some("/c".into()), ..facts(COMMAND) },
                "openclaw doctor --generate-gateway-token",
            ),
            (
                Facts { stranger: Some("process 7 (x)".into()), ..facts(COMMAND) },
                "held by process 7 (x), not by",
            ),
            (Facts { free: None, ..facts(COMMAND) }, "none of the ports above 18789"),
            (Facts { drop_in: edited(), ..facts(COMMAND) }, "rm /u/zz-barnacle.conf"),
        ] {
            let refusal = decide(&facts).map_err(|e| e.to_string()).unwrap_err();
            assert!(refusal.contains(says), "{says:?} is not in {refusal:?}");
        }
    }
}
