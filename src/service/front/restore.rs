//! The way back: OpenClaw on its own port, its unit as it was, and no Barnacle before it.

use super::{
    super::{Installed, Name, remove_units, stands_before},
    Behind, DropIn, Trouble,
    install::listening,
};
use std::{path::Path, time::Duration};

/// The unit of OpenClaw's that the service `name` stands before, or was to: its drop-in is there.
pub fn is_in_front(name: &Name) -> Option<String> {
    let unit = stands_before(name).unwrap_or_else(|| name.openclaw());
    (stands_before(name).is_some() || DropIn::path(name, &unit).exists()).then_some(unit)
}

/// Undoes what [`install_in_front`](super::install_in_front) did, or began to do.
///
/// # Errors
/// [`Trouble`]; what was not undone is undone by another call.
pub fn restore(behind: &Behind, patience: Duration, say: &mut dyn FnMut(&str)) -> Result<Installed, Trouble> {
    let Behind { name, unit, .. } = behind;
    let file = behind.drop_in_file();
    let mut done = Installed::default();
    remove_units(name, Ok(&behind.manager), &mut done).map_err(Trouble::Service)?;
    std::mem::take(&mut done.lines).iter().for_each(|line| say(line));
    let before = take_away(&file, &mut done.warnings).map_err(|e| Trouble::Io(file.clone(), e))?;
    let systemd =
        |why: String| Trouble::NotBack(before.as_ref().map_or(0, |b| b.old_port), why, behind.journal());
    behind.systemctl(&["daemon-reload"]).map_err(systemd)?;
    if let Some(before) = &before {
        say(&format!("removed {}", file.display()));
        if !behind.is_loaded() {
            done.warnings
                .push(format!("{unit} is gone, so no OpenClaw was started: openclaw gateway install"));
            return Ok(done);
        }
        if let Ok(launch) = behind.launch()
            && launch.moved_to(before.port) != before.command
        {
            done.warnings.push(format!("{unit} was changed meanwhile; it runs as it says now"));
        }
    }
    let port = behind.launch().ok().and_then(|launch| launch.port());
    let port = port.or(before.as_ref().map(|before| before.old_port)).unwrap_or(18789);
    if !behind.listens(port) {
        say(&format!("restarting {unit}, which may finish its runs first"));
        behind.restart().map_err(|why| Trouble::NotBack(port, why, behind.journal()))?;
    }
    say(&format!("waiting until OpenClaw listens on port {port}, {} s at most", patience.as_secs()));
    let back = behind.wait(patience, || listening(behind, port));
    back.map_err(|why| Trouble::NotBack(port, why, behind.journal()))?;
    done.lines.push(format!("OpenClaw listens on port {port}, and its unit is as it was"));
    done.warnings.push(
        "devices that were paired or revoked at Barnacle meanwhile are not at OpenClaw: openclaw devices list".into(),
    );
    Ok(done)
}

/// Takes the drop-in away; what it said.
fn take_away(file: &Path, warnings: &mut Vec<String>) -> std::io::Result<Option<DropIn>> {
    let Some(before) = DropIn::read(file)? else { return Ok(None) };
    if let Some(kept) = before.remove(file)? {
        let (file, kept) = (file.display(), kept.display());
        warnings
            .push(format!("{file} was changed by hand; it has no effect any more, and is kept as {kept}"));
    }
    Ok(Some(before))
}
