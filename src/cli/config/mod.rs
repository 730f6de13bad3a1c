//! `barnacle config`: the configuration file, read and changed.

mod get;
mod own;
mod plan;
mod set;
mod validate;

use super::{
    Failure,
    args::{Args, Word},
    print,
};
use crate::config::{Env, Paths};

const HELP: &str = "\
Read and change openclaw.json.

Usage: barnacle config <command> [options]

  get <path>           print a value
  set <path> <value>   set a value, and nothing else in the file
  unset <path>         take a value out
  plan                 what an edit would do to the gateway that runs, before it is made
  validate             say what is wrong or odd in it, as a gateway that starts would
  diff                 say in which keys it differs from what ran last
  file                 print where it is
  schema               print what may stand in it

A path is written agents.list[0].id or channels.discord.guilds[\"1.2\"].name.
  barnacle config <command> --help says more of each.
";

/// Runs `barnacle config`.
pub fn run(mut args: Args) -> Result<(), Failure> {
    match args.next()? {
        Some(Word::Text(command)) => match command.as_str() {
            "plan" => plan::plan(args),
            "get" => get::get(args),
            "validate" => validate::validate(args),
            "diff" => validate::diff_of(args),
            "file" => get::file(args),
            "schema" => get::schema(args),
            "set" => set::set(args),
            "unset" => set::unset(args),
            other => Err(Failure::usage(format!("no command {other:?} of config"))),
        },
        Some(other) => Err(other.unexpected()),
        None => print(HELP),
    }
}

/// Finds the configuration of this process's environment, and reads `.env`.
fn here() -> Result<(Paths, Env), Failure> {
    let process = Env::of_process();
    let mut paths = Paths::resolve(&process).map_err(|e| Failure::new(e.exit_code(), e))?;
    let env = process.with_dotenv(&paths).unwrap_or(process);
    paths.follow_config_path(&env);
    Ok((paths, env))
}
