//! `barnacle doctor`: finds problems, explains them, and fixes what is safe to fix.

use super::{Command, Failure, Opt, args::Args, finding::Shown, print};
use crate::{
    config::Env,
    doctor::{self, Facts},
};
use nanoserde::SerJson;

pub(super) static COMMAND: Command = Command {
    name: "doctor",
    summary: "find problems in configuration, state, service and host, and how to fix them",
    about: "Check configuration, tokens, state, disk, service and host for problems. With and without a running \
            gateway.",
    notes: "Without --fix nothing is changed. Exit code 1 where a problem is left.",
    options: &[Opt::flag(
        &["fix", "repair"],
        "fix what is safe to fix (permissions, lingering, units to be reloaded) and say what was done; of your files \
         only Barnacle's own keys are edited: out of openclaw.json, into barnacle.json",
    )],
    calls: true,
    run,
    ..Command::NONE
};

#[derive(SerJson)]
struct Report {
    ok: bool,
    findings: Vec<Shown>,
}

fn run(args: Args) -> Result<(), Failure> {
    let facts = Facts::gather(Env::of_process(), args.options()?, true);
    let facts = facts.map_err(|e| Failure::new(e.exit_code(), e))?;
    let fix = args.has("fix");
    let findings: Vec<_> = doctor::examine(&facts).into_iter().map(|f| Shown::new(f, fix)).collect();
    let left = findings.iter().filter(|finding| finding.is_problem()).count();
    let text = match (args.json, findings.is_empty()) {
        (true, _) => Report { ok: left == 0, findings }.serialize_json() + "\n",
        (false, true) => "no problems found\n".into(),
        (false, false) => findings.iter().map(Shown::text).collect(),
    };
    print(&text)?;
    match left {
        0 => Ok(()),
        1 => Err(Failure::new(1, "1 problem found")),
        n => Err(Failure::new(1, format!("{n} problems found"))),
    }
}
