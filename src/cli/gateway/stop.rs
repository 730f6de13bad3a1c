//! `barnacle gateway stop`: ends the gateway of this state directory.

use super::super::{Command, Failure, Opt, args::Args, print};
use crate::{
    config::{Env, Paths},
    host,
    service::{Manager, Name},
    store::lock_holder,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

pub(super) static COMMAND: Command = Command {
    name: "stop",
    summary: "stop the gateway",
    about: "Stop the gateway of this state directory. It finishes requests under way, tells every client, and saves \
            its state.",
    notes: "Exit codes: 0 it stopped, or none ran; 1 it does not stop.",
    options: &[Opt::flag(&["json"], "")],
    run,
    ..Command::NONE
};

/// Time limit of a stop.
const PATIENCE: Duration = Duration::from_secs(15);

fn run(_: Args) -> Result<(), Failure> {
    let env = Env::of_process();
    let paths = Paths::resolve(&env).map_err(|e| Failure::new(e.exit_code(), e))?;
    let dir = &paths.barnacle_dir;
    let Some(pid) = lock_holder(dir) else {
        return print(&format!("no gateway runs on {}\n", dir.display()));
    };
    match unit_of(pid, &env, &paths) {
        // After a signal alone, systemd would start it again.
        Some((manager, unit)) => {
            manager.run(&["stop", &unit]).map_err(|e| Failure::new(1, e))?;
            print(&format!("stopped {unit}\n"))
        }
        None => {
            stop_process(dir, pid)?;
            print(&format!("stopped process {pid}\n"))
        }
    }
}

/// Ends the gateway `pid` that holds the store in `dir`, and waits until it has.
pub(super) fn stop_process(dir: &Path, pid: u32) -> Result<(), Failure> {
    let process = Pid::from_raw(pid.try_into().unwrap_or(0));
    let process = process.ok_or_else(|| Failure::new(1, format!("{pid} is no process")))?;
    kill_process(process, Signal::TERM).map_err(|e| Failure::new(1, format!("process {pid}: {e}")))?;
    let began = Instant::now();
    // The lock decides and not the process: a number may be someone else's by now, and a process whose parent
    // has not waited for it is still there when it has long ended.
    while lock_holder(dir) == Some(pid) {
        if host::is_suspended(pid) {
            let why = format!("process {pid} is suspended, so it cannot stop; end it with kill -9 {pid}");
            return Err(Failure::new(1, why));
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(1, format!("process {pid} does not stop; end it with kill -9 {pid}")));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The unit that `pid` is the main process of.
fn unit_of(pid: u32, env: &Env, paths: &Paths) -> Option<(Manager, String)> {
    Name::both(env, paths).into_iter().find_map(|name| {
        let unit = name.service();
        let manager = name.is_installed().then(|| Manager::find(name.scope).ok())??;
        let main = manager.show(&unit).ok()?.main_pid();
        (main == Some(pid)).then_some((manager, unit))
    })
}
