//! `barnacle doctor`: what is wrong, why it matters, what mends it.

use super::{
    Failure,
    args::{Args, OPTIONS, Word},
    print,
    table::plain,
};
use crate::{
    config::Env,
    doctor::{self, Facts, Finding, Weight},
};
use nanoserde::SerJson;

const HELP: &str = "\
Look for what is wrong, or will be: configuration, tokens, state, disk, service, host.

Usage: barnacle doctor [--fix] [options]

  --fix                  mend what can be mended safely (permissions, lingering, units to be read anew), and say
                         what was done; nothing of yours is edited

It changes nothing else, and works with and without a gateway. Exit code 1 where something is left to mend.
";

/// A finding, as JSON.
#[derive(SerJson)]
struct Told {
    weight: &'static str,
    what: String,
    why: String,
    mend: String,
    fixed: Option<String>,
}

#[derive(SerJson)]
struct Report {
    ok: bool,
    findings: Vec<Told>,
}

/// Runs `barnacle doctor`.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut fix = false;
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(name) if name == "fix" || name == "repair" => fix = true,
            other => return Err(other.unexpected()),
        }
    }
    if args.help {
        return print(&format!("{HELP}{OPTIONS}"));
    }
    let facts = Facts::gather(Env::of_process(), args.options(), true);
    let facts = facts.map_err(|e| Failure::new(e.exit_code(), e))?;
    let told: Vec<_> = doctor::examine(&facts).into_iter().map(|finding| tell(finding, fix)).collect();
    let left = told.iter().filter(|t| t.weight == "fault" && t.fixed.is_none()).count();
    if args.json {
        let report = Report { ok: left == 0, findings: told };
        print(&(report.serialize_json() + "\n"))?;
    } else {
        print(&text(&told))?;
    }
    match left {
        0 => Ok(()),
        1 => Err(Failure::new(1, "one thing is to be mended")),
        n => Err(Failure::new(1, format!("{n} things are to be mended"))),
    }
}

fn tell(finding: Finding, fix: bool) -> Told {
    let Finding { weight, what, why, mut mend, fix: mending } = finding;
    let done = mending.filter(|_| fix).map(|mending| mending());
    let fixed = match done {
        Some(Err(e)) => {
            mend.push_str(&format!(" (--fix could not: {e})"));
            None
        }
        Some(Ok(done)) => Some(done),
        None => None,
    };
    let weight = if weight == Weight::Fault { "fault" } else { "note" };
    Told { weight, what, why, mend, fixed }
}

fn text(told: &[Told]) -> String {
    if told.is_empty() {
        return "Nothing is wrong.\n".into();
    }
    told.iter().map(entry).collect()
}

fn entry(told: &Told) -> String {
    let sign = if told.weight == "fault" { "!" } else { "-" };
    let end = match &told.fixed {
        Some(done) => format!("mended: {done}"),
        None => format!("mend: {}", told.mend),
    };
    format!("{sign} {}\n    {}\n    {}\n", plain(&told.what), plain(&told.why), plain(&end))
}
