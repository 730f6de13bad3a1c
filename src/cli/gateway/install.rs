//! `barnacle gateway install`: installs the gateway as a service of the host.

use super::{
    super::{Command, Failure, Opt, args::Args, print},
    WAIT, patience, report, say, scope,
};
use crate::{
    config::Env,
    service::{self, Manager, Options, Plan, Unreachable, front},
};

pub(super) static COMMAND: Command = Command {
    name: "install",
    summary: "install the gateway as a service: runs now, and from every boot on",
    about: "Install the gateway as a service of systemd: it runs now, and from every boot on. For another init it \
            prints an example.",
    notes: "The variables that say which gateway is meant go into the unit: OPENCLAW_PROFILE, OPENCLAW_HOME, \
            OPENCLAW_STATE_DIR, OPENCLAW_CONFIG_PATH. A secret never does.",
    options: &[
        Opt::flag(&["system"], "a unit of the host: starts with the board [the default for root]"),
        Opt::flag(&["user"], "a unit of your own: needs no root, but lingering [the default for others]"),
        Opt::value(&["run-as"], "<account>", "account that a system unit runs as [the caller of sudo]"),
        Opt::value(&["port"], "<port>", "port to listen on, whatever gateway.port says"),
        Opt::flag(&["socket"], "install a socket unit, too: systemd opens the port before the gateway runs"),
        Opt::flag(
            &["replace-openclaw"],
            "take the place of OpenClaw's service, which is stopped, disabled and kept",
        ),
        Opt::flag(
            &["in-front-of-openclaw"],
            "stand in front of OpenClaw's service: it gets another port, and Barnacle takes its own",
        ),
        WAIT,
        Opt::flag(&["print", "dry-run"], "print the units, and change nothing"),
        Opt::value(&["token"], "<token>", ""),
        Opt::value(&["password"], "<password>", ""),
        Opt::flag(&["json"], ""),
    ],
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    if args.has("token") || args.has("password") {
        return Err(Failure::usage(
            "a unit holds no secret: set gateway.auth.token in openclaw.json, where the gateway and its clients \
             both find it",
        ));
    }
    let options = Options {
        scope: scope(&args),
        run_as: args.text("run-as").map(String::from),
        port: args.number("port", 1..=u16::MAX)?,
        socket: args.has("socket"),
        in_front: None,
    };
    if args.has("in-front-of-openclaw") {
        return in_front(&args, options);
    }
    let mut plan = Plan::find(&Env::of_process(), &options)?;
    let manager = Manager::find(plan.name.scope);
    if args.has("print") {
        return print(&plan.text(manager.ok().as_ref()));
    }
    if let Err(Unreachable::OtherInit(init)) = &manager {
        print(&format!("# {init}: this makes it run the gateway\n{}", init.example(&plan)))?;
        return Err(Failure::new(1, format!("no systemd runs here ({init}), so nothing was installed")));
    }
    report(service::install(&mut plan, manager, args.has("replace-openclaw"))?)
}

/// Installs it in front of OpenClaw's service.
fn in_front(args: &Args, options: Options) -> Result<(), Failure> {
    let (env, patience) = (Env::of_process(), patience(args)?);
    for (option, why) in [
        ("replace-openclaw", "one takes OpenClaw's place, the other leaves it there"),
        ("port", "Barnacle takes the port that OpenClaw has"),
    ] {
        if args.has(option) {
            return Err(Failure::usage(format!("--in-front-of-openclaw and --{option}: {why}")));
        }
    }
    if args.has("print") {
        return print(&front::print_in_front(&env, options)?);
    }
    report(front::install_in_front(&env, options, patience, &mut say)?)
}
