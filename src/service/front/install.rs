//! The steps that put Barnacle in front of OpenClaw, and the way back where one of them fails.

use super::{
    super::{
        InFront, Installed, Name, Options, Plan, Scope, as_caller, install, is_ours, remove_units,
        stands_before,
    },
    Behind, DropIn, Trouble, call,
    decide::{Facts, Move, Ours, decide},
    trouble::FailedStep,
};
use crate::{
    config::{AuthMode, Env},
    net::port_owner,
    store::lock_holder,
    tls::Trust,
};
use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

/// What is to be done, and with whom.
struct Job {
    behind: Behind,
    plan: Plan,
    todo: Move,
    /// The drop-in before, which is put back where a step fails.
    before: Option<DropIn>,
    /// Whether Barnacle stands in front already.
    stands: bool,
}

/// Puts Barnacle in front of OpenClaw; `say` is told each step as it begins. OpenClaw has `patience` to start again.
///
/// # Errors
/// [`Trouble`]; what was there runs as before, or the message says what does not.
pub fn install_in_front(
    env: &Env,
    options: Options,
    patience: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Installed, Trouble> {
    let mut job = Job::plan(env, options)?;
    let file = job.behind.drop_in_file();
    let mut step = "the drop-in";
    let done = job.steps(patience, say, &mut step);
    let why = match done {
        Ok(done) => return Ok(done),
        Err(why) => why,
    };
    say(&format!("{step} failed; undoing what was done"));
    let undone = job.undo(&file, patience);
    let see = if step == SERVICE { super::super::journal(&job.behind.name) } else { job.behind.journal() };
    Err(Trouble::Step(Box::new(FailedStep { step, why, undone, see })))
}

/// The files that [`install_in_front`] would write.
///
/// # Errors
/// [`Trouble`].
pub fn print_in_front(env: &Env, options: Options) -> Result<String, Trouble> {
    let job = Job::plan(env, options)?;
    let drop_in = format!("# {}\n{}", job.behind.drop_in_file().display(), job.todo.drop_in.text());
    Ok(format!("{drop_in}\n{}", job.plan.text(Some(&job.behind.manager))))
}

const SERVICE: &str = "the service of Barnacle";

impl Job {
    fn plan(env: &Env, options: Options) -> Result<Self, Trouble> {
        let env = as_caller(env.clone());
        let behind = Behind::find(&env, options.scope)?;
        let launch = behind.launch();
        let mut options = Options { scope: Some(behind.name.scope), ..options };
        if behind.name.scope == Scope::System {
            let theirs = behind.user().unwrap_or_else(|| "root".into());
            if let Some(given) = options.run_as.take().filter(|given| *given != theirs) {
                return Err(Trouble::OtherAccount(theirs, given));
            }
            options.run_as = Some(theirs);
        }
        // Of which files the unit says nothing, the account's own are meant.
        let plan = Plan::find(&env, &options).map_err(Trouble::Plan)?;
        let env = match &launch {
            Ok(launch) => behind.env(&env, launch, &plan.account.home),
            Err(_) => env,
        };
        let plan = Plan::find(&env, &options).map_err(Trouble::Plan)?;
        let file = behind.drop_in_file();
        let before = DropIn::read(&file).map_err(|e| Trouble::Io(file.clone(), e))?;
        let configured = plan.settings.port;
        let port = launch.as_ref().ok().and_then(|launch| launch.port()).unwrap_or(configured);
        let bind = launch.as_ref().ok().and_then(|launch| launch.option("--bind")).map(String::from);
        let ours = ours(&behind.name);
        let settings = &plan.settings;
        let tailscale =
            settings.source.root.find(["gateway", "tailscale", "mode"]).and_then(|node| node.text());
        let tls = settings.config.tls.enabled;
        let in_front = |behind_port: u16| InFront {
            unit: behind.unit.clone(),
            upstream: format!("{}://127.0.0.1:{behind_port}", if tls { "wss" } else { "ws" }),
            bind: bind.clone(),
        };
        let trusted = || {
            let options = Options { in_front: Some(in_front(port)), ..options.clone() };
            let plan = Plan::find(&env, &options).ok();
            plan.and_then(|p| p.settings.upstream)
                .is_some_and(|upstream| upstream.trust != Trust::Authorities)
        };
        let no_secret = settings.credentials.active.is_none() && settings.auth != AuthMode::None;
        let facts = Facts {
            unit: behind.unit.clone(),
            scope: behind.name.scope,
            state: behind.state(),
            launch: launch.clone(),
            drop_in: before.clone(),
            has_directory: file.parent().is_some_and(Path::exists),
            drop_in_file: file,
            ours,
            by_hand: lock_holder(&settings.paths.barnacle_dir).filter(|_| ours == Ours::None),
            profile: env.process("OPENCLAW_PROFILE").map(String::from),
            configured_port: configured,
            own_upstream: settings.upstream.as_ref().map(|upstream| upstream.url.to_string()),
            tailscale: tailscale.map(String::from),
            untrusted_tls: tls && !trusted(),
            no_secret: no_secret.then(|| settings.paths.config_file.clone()),
            stranger: behind.stranger(port),
            free: (port.saturating_add(1)..=port.saturating_add(50)).find(|port| is_free(*port)),
        };
        let todo = decide(&facts).map_err(Trouble::Refused)?;
        let options = Options {
            port: (todo.port != configured).then_some(todo.port),
            in_front: Some(in_front(todo.drop_in.port)),
            ..options
        };
        let plan = Plan::find(&env, &options).map_err(Trouble::Plan)?;
        if before.is_none() {
            let answers = call::await_openclaw(&behind, &plan, todo.port, call::ANSWER);
            answers.map_err(|why| Trouble::NoAnswer(todo.port, why))?;
        }
        Ok(Self { behind, plan, todo, before, stands: ours == Ours::InFront })
    }

    /// Does what is to be done; `step` is what is being done.
    fn steps(
        &mut self,
        patience: Duration,
        say: &mut dyn FnMut(&str),
        step: &mut &'static str,
    ) -> Result<Installed, String> {
        let Self { behind, plan, todo, .. } = self;
        let (unit, port, file) = (&behind.unit, todo.drop_in.port, behind.drop_in_file());
        if !todo.is_there {
            say(&format!("writing {}: {unit} gets port {port} of loopback", file.display()));
            todo.drop_in.write(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            behind.systemctl(&["daemon-reload"])?;
        }
        *step = "the restart of OpenClaw on its new port";
        if !todo.is_there || !behind.listens(port) {
            say(&format!("restarting {unit}, which may finish its runs first"));
            behind.restart()?;
        }
        say(&format!("waiting until OpenClaw answers on port {port}, {} s at most", patience.as_secs()));
        let version = call::await_openclaw(behind, plan, port, patience)?;
        say(&format!("OpenClaw {version} answers on port {port}"));
        *step = "the import of the paired devices";
        if !self.stands {
            let (all, new) = call::import(plan, port)?;
            say(&format!("imported the paired devices: {all}, {new} of them new here"));
        }
        *step = SERVICE;
        let done = install(plan, Ok(behind.manager.clone()), false).map_err(|e| e.to_string())?;
        done.lines.iter().for_each(|line| say(line));
        *step = "the call through both";
        say(&format!("calling OpenClaw through Barnacle on port {}", todo.port));
        let version = behind.wait(call::REACH, || call::through(plan, todo.port))?;
        let lines = vec![
            format!("OpenClaw {version} answers through Barnacle: attach to port {}, as before", todo.port),
            "to undo it: barnacle gateway uninstall --restore-openclaw".into(),
        ];
        Ok(Installed { lines, warnings: done.warnings })
    }

    /// Undoes the steps that were done; says what there is now.
    fn undo(&self, file: &Path, patience: Duration) -> Result<String, String> {
        let Self { behind, todo, before, stands, .. } = self;
        let io = |e: std::io::Error| format!("{}: {e}", file.display());
        if !stands {
            let mut done = Installed::default();
            remove_units(&behind.name, Ok(&behind.manager), &mut done).map_err(|e| e.to_string())?;
        }
        let now = DropIn::read(file).map_err(io)?;
        match before {
            Some(before) if now.as_ref() != Some(before) => before.write(file).map_err(io)?,
            None if now.is_some() => _ = todo.drop_in.remove(file).map_err(io)?,
            _ => {}
        }
        if before.is_none() && todo.drop_in.made_directory {
            let _ = file.parent().map(std::fs::remove_dir);
        }
        behind.systemctl(&["daemon-reload"])?;
        let port = before.as_ref().map_or(todo.port, |before| before.port);
        if !behind.listens(port) {
            behind.restart()?;
        }
        behind.wait(patience, || listening(behind, port))?;
        Ok(format!("OpenClaw listens on port {port}, as before"))
    }
}

/// Checks that OpenClaw listens on `port`.
pub(super) fn listening(behind: &Behind, port: u16) -> Result<(), String> {
    match behind.listens(port) {
        true => Ok(()),
        false => Err(format!("{} does not listen on port {port}", behind.unit)),
    }
}

/// The service of Barnacle of that name.
fn ours(name: &Name) -> Ours {
    match (stands_before(name), is_ours(name)) {
        (Some(_), _) => Ours::InFront,
        (None, true) => Ours::Alone,
        (None, false) => Ours::None,
    }
}

fn is_free(port: u16) -> bool {
    !port_owner::is_held(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
