//! Checks of Barnacle and the OpenClaw behind it, side by side.

use super::{Facts, Finding, Service};
use crate::{
    config::{Env, Paths, Secret},
    net::{port_owner, url::Url},
    service::{
        Account, Name, Scope,
        front::{Behind, DropIn, Launch, WHICH, variables},
        stands_before,
    },
};
use std::path::PathBuf;

/// OpenClaw's unit of the same profile, and what moves it out of Barnacle's way.
pub struct Pair {
    pub name: Name,
    pub unit: String,
    /// How the unit launches OpenClaw without our drop-in, where that can be told.
    launch: Option<Launch>,
    drop_in: Option<DropIn>,
    drop_in_file: PathBuf,
    /// Whether Barnacle's service says that it stands before it.
    stands: bool,
    /// The home of OpenClaw's account.
    home: PathBuf,
}

/// The command that sets both up anew.
const INSTALL: &str = "barnacle gateway install --in-front-of-openclaw";
const RESTORE: &str = "barnacle gateway uninstall --restore-openclaw";

impl Pair {
    /// Looks for the pair that `name` may be one half of.
    pub(super) fn find(name: Name, paths: &Paths) -> Option<Self> {
        let behind = Behind::look(name)?;
        let drop_in_file = behind.drop_in_file();
        let account = behind.user().and_then(|user| Account::named(&user));
        Some(Self {
            launch: behind.launch().ok(),
            drop_in: DropIn::read(&drop_in_file).ok().flatten(),
            drop_in_file,
            stands: stands_before(&behind.name).is_some(),
            home: account.map_or_else(|| paths.os_home.clone(), |account| account.home),
            name: behind.name,
            unit: behind.unit,
        })
    }

    /// The port on which the unit starts OpenClaw.
    pub(super) fn port(&self, configured: u16) -> u16 {
        let own = || self.launch.as_ref().and_then(Launch::port).unwrap_or(configured);
        self.drop_in.as_ref().map_or_else(own, |drop_in| drop_in.port)
    }

    fn command(&self, command: &str) -> String {
        match self.name.scope {
            Scope::User => command.into(),
            Scope::System => format!("sudo {command}"),
        }
    }
}

/// Where the gateway behind this one is: by the unit, the configuration, or the gateway that runs.
fn upstream(facts: &Facts) -> Option<Url> {
    let word = |service: &Service| {
        let start = service.line("ExecStart")?;
        let url = start.split_whitespace().find_map(|word| word.strip_prefix("--upstream="));
        url.and_then(|url| Url::parse(url).ok())
    };
    let configured = || facts.settings.as_ref().ok()?.upstream.as_ref().map(|upstream| upstream.url.clone());
    let running = || Url::parse(facts.running.as_ref().ok()?.upstream()?.text("url")).ok();
    facts.services.iter().find_map(word).or_else(configured).or_else(running)
}

/// The port that Barnacle has, or is to have.
fn own_port(facts: &Facts) -> Option<u16> {
    let given = |service: &Service| {
        let start = service.line("ExecStart")?;
        start.split_whitespace().find_map(|word| word.strip_prefix("--port="))?.parse().ok()
    };
    let configured = || Some(facts.settings.as_ref().ok()?.port);
    facts.services.iter().find_map(given).or_else(configured)
}

/// Reports an OpenClaw that was moved and has nobody before it, or that came back beside Barnacle.
pub fn moved(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for pair in &facts.pairs {
        let (unit, file) = (&pair.unit, pair.drop_in_file.display());
        match (&pair.drop_in, pair.stands) {
            (Some(drop_in), false) if upstream(facts).is_none() => {
                let what = format!(
                    "{unit} has port {} by {file}, and Barnacle does not stand before it",
                    drop_in.port
                );
                let why = "an installation was interrupted: clients look for OpenClaw on its old port";
                let fix = format!("{}; or, to finish it: {}", pair.command(RESTORE), pair.command(INSTALL));
                found.push(Finding::error(what, why, fix));
            }
            (Some(drop_in), _) => {
                let Some(launch) = &pair.launch else { continue };
                if !drop_in.edited && launch.moved_to(drop_in.port) != drop_in.command {
                    let what =
                        format!("{unit} was changed since {file} was written, which holds its command");
                    let why = "OpenClaw is started as it was before, by an older program perhaps";
                    found.push(Finding::error(what, why, pair.command(INSTALL)));
                }
            }
            (None, true) => {
                let what = format!("{file} is gone: {unit} starts OpenClaw on the port that Barnacle has");
                let why = "the second one to start fails, at every boot";
                found.push(Finding::error(what, why, pair.command(INSTALL)));
            }
            (None, false) => {}
        }
    }
    found
}

/// Reports a Barnacle that has itself behind it.
pub fn one_port(facts: &Facts) -> Vec<Finding> {
    let (Some(url), Some(port)) = (upstream(facts), own_port(facts)) else { return Vec::new() };
    if !url.is_loopback() || url.port() != port {
        return Vec::new();
    }
    let what = format!("OpenClaw is expected at {url}, and port {port} is Barnacle's own");
    let why = "no request for OpenClaw gets there";
    let by_unit = facts.pairs.first().map(|pair| pair.command(INSTALL));
    let by_hand =
        || "start OpenClaw with --port <another>, and set upstream.url in barnacle.json to that".into();
    vec![Finding::error(what, why, by_unit.unwrap_or_else(by_hand))]
}

/// Reports an OpenClaw that can be reached from other hosts, past Barnacle.
pub fn open_behind(facts: &Facts) -> Vec<Finding> {
    let Some(url) = upstream(facts).filter(Url::is_loopback) else { return Vec::new() };
    let open = port_owner::addresses(url.port()).into_iter().find(|ip| !ip.to_canonical().is_loopback());
    let Some(ip) = open.filter(|_| own_port(facts) != Some(url.port())) else { return Vec::new() };
    let what =
        format!("the OpenClaw behind Barnacle listens on {ip}, port {}, for other hosts, too", url.port());
    let why = "whoever comes in there passes by Barnacle: what is revoked here is not revoked there";
    let by_unit = facts.pairs.iter().find(|pair| pair.stands).map(|pair| pair.command(INSTALL));
    vec![Finding::error(what, why, by_unit.unwrap_or_else(|| "start OpenClaw with --bind loopback".into()))]
}

/// Reports a shared secret of OpenClaw's that is not Barnacle's.
pub fn two_tokens(facts: &Facts) -> Vec<Finding> {
    let (Ok(settings), Some(url)) = (&facts.settings, upstream(facts)) else { return Vec::new() };
    let Some((active, _)) = settings.credentials.active.as_ref().filter(|_| url.is_loopback()) else {
        return Vec::new();
    };
    let why = "OpenClaw refuses Barnacle: what is OpenClaw's waits, and is then answered UNAVAILABLE";
    let mut found = Vec::new();
    let given = settings.upstream.as_ref().and_then(|upstream| upstream.token.as_ref());
    if given.is_some_and(|given| given != active) {
        let what = "upstream.token or upstream.tokenFile in barnacle.json is another token than that of openclaw.json";
        let fix = format!(
            "remove it from {}: on this host the shared token is used",
            facts.paths.own_file().display()
        );
        found.push(Finding::error(what, why, fix));
    }
    for pair in facts.pairs.iter().filter(|pair| pair.stands || pair.drop_in.is_some()) {
        let launch = pair.launch.iter();
        let all = launch.flat_map(|launch| variables(launch, &pair.home, &["OPENCLAW_GATEWAY_TOKEN"]));
        if let Some((_, value)) = all.last()
            && Secret::new(&value).is_some_and(|theirs| theirs != *active)
        {
            let what = format!(
                "{} gives OpenClaw another token (OPENCLAW_GATEWAY_TOKEN) than openclaw.json has",
                pair.unit
            );
            let fix = format!(
                "take it out of the unit, or out of its EnvironmentFile: {} cat {}",
                pair.name.scope.systemctl(),
                pair.unit
            );
            found.push(Finding::error(what, why, fix));
        }
    }
    found
}

/// Reports an OpenClaw that uses other files than Barnacle.
pub fn two_files(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for pair in facts.pairs.iter().filter(|pair| pair.stands) {
        let service = facts.services.iter().find(|service| service.name.scope == pair.name.scope);
        let ours = service.and_then(|service| Launch::read([service.text.as_str()]).ok());
        let (Some(theirs), Some(ours)) = (&pair.launch, &ours) else { continue };
        let file = |launch: &Launch| {
            let home = ("HOME".to_owned(), pair.home.to_string_lossy().into_owned());
            let env: Env = variables(launch, &pair.home, &WHICH).into_iter().chain([home]).collect();
            let mut paths = Paths::resolve(&env).ok()?;
            paths.follow_config_path(&env);
            Some(paths.config_file)
        };
        if let (Some(theirs), Some(ours)) = (file(theirs), file(ours))
            && theirs != ours
        {
            let what = format!("{} reads {}, and Barnacle {}", pair.unit, theirs.display(), ours.display());
            let why = "an edit of one has no effect on the other, and Barnacle may be refused";
            let fix = format!("{}; {}", pair.command(RESTORE), pair.command(INSTALL));
            found.push(Finding::error(what, why, fix));
        }
    }
    found
}

/// The commands that look after the OpenClaw behind a service of Barnacle's, where one was moved there.
pub(super) fn restart(facts: &Facts) -> Option<String> {
    let pair = facts.pairs.iter().find(|pair| pair.stands)?;
    Some(format!("{0} status {1}; {0} restart {1}", pair.name.scope.systemctl(), pair.unit))
}
