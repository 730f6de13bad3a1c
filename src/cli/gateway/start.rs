//! `barnacle gateway start`: starts the installed service.

use super::{
    super::{Command, Failure, Opt, args::Args, print},
    SYSTEM, USER, names, scope,
};
use crate::service::{self, Manager, Name};

pub(super) static COMMAND: Command = Command {
    name: "start",
    summary: "start the installed service",
    about: "Start the gateway's service: the one that is installed, or the one that is named.",
    options: &[SYSTEM, USER, Opt::flag(&["json"], "")],
    run,
    ..Command::NONE
};

fn run(args: Args) -> Result<(), Failure> {
    let scope = scope(&args);
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
    print(&format!("{} is running\n", name.service()))
}
