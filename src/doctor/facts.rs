//! The facts that checks look at.

use super::pair::Pair;
use crate::{
    client::{CallError, Client, Options, Target, Url},
    config::{Env, Flags, Paths, Settings, StartError},
    protocol::{Fields, Scope},
    service::{Manager, Name, Properties, Unreachable, as_caller},
    store::{Notice, OpenError, Registry, gateway_at, inspect, lock_holder},
};
use miniserde::json::Value;
use std::time::{Duration, Instant};

/// Time-out of a gateway's answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Facts, gathered without changing anything.
pub struct Facts {
    /// The environment of the gateway that is meant.
    pub env: Env,
    /// The paths of that gateway.
    pub paths: Paths,
    /// The settings of a gateway started now.
    pub settings: Result<Settings, StartError>,
    /// The content of the store, and its warnings.
    pub store: Result<(Registry, Vec<Notice>), OpenError>,
    /// The services that are installed.
    pub services: Vec<Service>,
    /// The units of OpenClaw's of the same profile.
    pub pairs: Vec<Pair>,
    /// The process that holds the lock of the state directory.
    pub lock_pid: Option<u32>,
    /// The gateway that answers, or why none does.
    pub running: Result<Running, NoAnswer>,
}

pub struct NoAnswer {
    pub why: String,
    /// Whether it was no answer within the time limit.
    pub timed_out: bool,
    pub code: u8,
}

/// A service of ours that is installed.
pub struct Service {
    pub name: Name,
    pub text: String,
    /// Properties of the unit, or why systemd cannot be asked.
    pub shown: Result<Properties, Unreachable>,
}

pub struct Running {
    pub url: String,
    /// Duration of the answer, milliseconds.
    pub ms: u128,
    /// The answer of `status`.
    status: Value,
}

impl Running {
    /// Barnacle's own part of `status`. `None` for another gateway.
    pub fn own(&self) -> Option<Fields<'_>> {
        Fields::of(&self.status)?.object("barnacle")
    }

    /// What it says of the gateway behind it, if there is one.
    pub fn upstream(&self) -> Option<Fields<'_>> {
        Fields::of(&self.status)?.object("upstream")
    }

    /// Version of the gateway that answered, whichever it is.
    pub fn version(&self) -> String {
        let of = Fields::of(&self.status);
        let version = of.and_then(|f| f.str("runtimeVersion").map(String::from));
        version.unwrap_or_else(|| "of unknown version".into())
    }

    pub fn pid(&self) -> Option<u32> {
        self.own()?.u64("pid").and_then(|pid| pid.try_into().ok())
    }
}

impl Facts {
    /// Gathers the facts for `env`; queries the gateway unless that is switched off.
    ///
    /// # Errors
    /// [`StartError`] where not even the paths can be known.
    pub fn gather(env: Env, options: Options, probe: bool) -> Result<Self, StartError> {
        let env = as_caller(env);
        let mut paths = Paths::resolve(&env)?;
        let settings = Settings::resolve(&env, &Flags::default());
        if let Ok(settings) = &settings {
            paths = settings.paths.clone();
        }
        let services = Name::both(&env, &paths).into_iter().filter_map(Service::find).collect();
        let pairs =
            Name::both(&env, &paths).into_iter().filter_map(|name| Pair::find(name, &paths)).collect();
        let running = match probe {
            true => ask(&env, options),
            false => Err(NoAnswer { why: "not probed".into(), timed_out: false, code: 0 }),
        };
        let lock_pid = lock_holder(&paths.barnacle_dir);
        Ok(Self {
            lock_pid,
            store: inspect(&paths.barnacle_dir),
            env,
            paths,
            settings,
            services,
            pairs,
            running,
        })
    }
}

impl Facts {
    /// Whether the gateway that holds the lock says that it listens on `port`.
    pub fn lock_has_port(&self, port: u16) -> bool {
        let url = gateway_at(&self.paths.barnacle_dir).and_then(|url| Url::parse(&url).ok());
        url.is_some_and(|url| url.port() == port)
    }
}

impl Service {
    fn find(name: Name) -> Option<Self> {
        let text = std::fs::read_to_string(name.service_file()?).ok()?;
        let unit = name.service();
        let shown = Manager::find(name.scope)
            .and_then(|m| m.show(&unit).map_err(|e| Unreachable::Failed(e.to_string())));
        Some(Self { name, text, shown })
    }

    /// The value of a line of its file.
    pub fn line(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

fn ask(env: &Env, options: Options) -> Result<Running, NoAnswer> {
    let options = Options { timeout: options.timeout.or(Some(TIMEOUT)), ..options };
    let target = Target::find(env, options).map_err(|e| NoAnswer {
        why: e.to_string(),
        timed_out: false,
        code: e.exit_code(),
    })?;
    let began = Instant::now();
    let scopes = [Scope::Read].into_iter().collect();
    let answer = Client::connect(&target, scopes).and_then(|mut client| client.call("status", "{}"));
    let answer = answer.map_err(|e| NoAnswer {
        why: e.to_string(),
        timed_out: matches!(e, CallError::TimedOut(..)),
        code: e.exit_code(),
    })?;
    let status = miniserde::json::from_str(&answer).unwrap_or_default();
    Ok(Running { url: target.url.to_string(), ms: began.elapsed().as_millis(), status })
}
