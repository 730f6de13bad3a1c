//! `barnacle gateway install`, `uninstall` and `start`: the gateway as a service.

use super::{Failure, print};
use crate::{
    config::{Env, Paths},
    service::{self, Init, Installed, Manager, Name, NoPlan, Options, Plan, Scope, Unreachable, as_caller},
};
use lexopt::{Parser, ValueExt};

const INSTALL: &str = "\
Have systemd run the gateway: now, and from every boot on.

Usage: barnacle gateway install [options]

  --system               a unit of the host: starts with the board [where root asks]
  --user                 a unit of your own: needs no root, but lingering [where anyone else asks]
  --run-as <account>     whom a system unit runs as [who called sudo]
  --port <port>          listen there, whatever gateway.port says
  --socket               a socket unit as well: systemd opens the port, before the gateway runs
  --replace-openclaw     take the place of OpenClaw's service, which is stopped, disabled and kept
  --print                print the units, and change nothing
  -h, --help             print this

What says which gateway is meant goes into the unit: OPENCLAW_PROFILE, OPENCLAW_HOME, OPENCLAW_STATE_DIR and
OPENCLAW_CONFIG_PATH, where they are set. A secret never does. Where another init rules, it prints an example.
";

const UNINSTALL: &str = "\
Stop the gateway's service, and take its units away. What the gateway knows stays.

Usage: barnacle gateway uninstall [options]

  --system, --user       which one [as for install]
  --restore-openclaw     enable and start OpenClaw's service again
  -h, --help             print this
";

const START: &str = "\
Start the gateway's service.

Usage: barnacle gateway start [options]

  --system, --user       which one [the one that is installed]
  -h, --help             print this
";

impl From<service::Failed> for Failure {
    fn from(e: service::Failed) -> Self {
        Self::new(e.exit_code(), e)
    }
}

impl From<NoPlan> for Failure {
    fn from(e: NoPlan) -> Self {
        Self::new(e.exit_code(), e)
    }
}

/// Runs `barnacle gateway install`.
pub fn install(mut args: Parser) -> Result<(), Failure> {
    use lexopt::Arg::{Long, Short};
    let (mut options, mut only_print, mut replace) = (Options::default(), false, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("system") => options.scope = Some(Scope::System),
            Long("user") => options.scope = Some(Scope::User),
            Long("run-as") => options.run_as = Some(args.value()?.string()?),
            Long("port") => options.port = Some(super::args::port(&args.value()?.string()?)?),
            Long("socket") => options.socket = true,
            Long("replace-openclaw") => replace = true,
            Long("print" | "dry-run") => only_print = true,
            Long("token" | "password") => {
                return Err(Failure::usage(
                    "a unit holds no secret: set gateway.auth.token in openclaw.json, where the gateway and its \
                     clients both find it",
                ));
            }
            Long("help") | Short('h') => return print(INSTALL),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut plan = Plan::find(&Env::of_process(), &options)?;
    let manager = Manager::find(plan.name.scope);
    if only_print {
        return print(&plan.text(manager.ok().as_ref()));
    }
    if let Err(Unreachable::OtherInit(init)) = &manager {
        print(&by_hand(*init, &plan))?;
        return Err(Failure::new(1, format!("no systemd runs here ({init}), so nothing was installed")));
    }
    tell(service::install(&mut plan, manager, replace)?)
}

/// Runs `barnacle gateway uninstall`.
pub fn uninstall(args: Parser) -> Result<(), Failure> {
    let (scope, restore, help) = scope_and(args, "restore-openclaw")?;
    if help {
        return print(UNINSTALL);
    }
    let names = names()?;
    let root = rustix::process::geteuid().is_root();
    let usual = if root { Scope::System } else { Scope::User };
    let name = names.into_iter().find(|n| n.scope == scope.unwrap_or(usual));
    let Some(name) = name else { return Ok(()) };
    let manager = Manager::find(name.scope);
    tell(service::uninstall(&name, manager, restore)?)
}

/// Runs `barnacle gateway start`.
pub fn start(args: Parser) -> Result<(), Failure> {
    let (scope, _, help) = scope_and(args, "")?;
    if help {
        return print(START);
    }
    let wanted = |name: &&Name| scope.is_none_or(|s| s == name.scope);
    let names = names()?;
    let Some(name) = names.iter().filter(wanted).find(|n| n.is_installed()) else {
        return Err(Failure::new(
            1,
            "no service is installed. Install one: barnacle gateway install. Or run it here: barnacle gateway",
        ));
    };
    let manager = Manager::find(name.scope).map_err(|e| Failure::new(1, e))?;
    service::start(name, &manager)?;
    print(&format!("{} runs\n", name.service()))
}

/// The names that a service of this environment may have.
fn names() -> Result<[Name; 2], Failure> {
    let env = as_caller(Env::of_process());
    let paths = Paths::resolve(&env).map_err(|e| Failure::new(e.exit_code(), e))?;
    Ok(Name::both(&env, &paths))
}

/// Reads `--system`, `--user` and one flag more; and whether help is wanted.
fn scope_and(mut args: Parser, flag: &str) -> Result<(Option<Scope>, bool, bool), Failure> {
    use lexopt::Arg::{Long, Short};
    let (mut scope, mut set) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("system") => scope = Some(Scope::System),
            Long("user") => scope = Some(Scope::User),
            Long(name) if name == flag => set = true,
            Long("help") | Short('h') => return Ok((scope, set, true)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((scope, set, false))
}

fn by_hand(init: Init, plan: &Plan) -> String {
    format!("# {init}: this makes it run the gateway\n{}", init.example(plan))
}

fn tell(done: Installed) -> Result<(), Failure> {
    let lines: String = done.lines.iter().map(|line| format!("{line}\n")).collect();
    print(&lines)?;
    done.warnings.iter().for_each(|line| eprintln!("barnacle: {line}"));
    Ok(())
}
