//! The text of the units, from the templates in `templates/`. Source: systemd.service(5), systemd.exec(5),
//! systemd.socket(5).
//!
//! A pure function from a [`Plan`] and systemd's version to text: what that version does not know is left out, and so
//! is what a user's systemd may not do. No secret ever stands in it: units are world-readable, outlive changes of
//! the configuration, and are copied into backups.

use super::{Plan, Scope};
use crate::protocol::TICK_MS;
use std::path::Path;

/// The first line of every unit of ours: a file that does not begin with it is never overwritten.
pub const MARK: &str = "# Written by `barnacle gateway install`.";
/// Names the unit whose place a unit takes; systemd ignores sections that begin with `X-`.
pub const REPLACES: &str = "Replaces=";
/// Names the unit that a unit stands before.
pub const IN_FRONT_OF: &str = "InFrontOf=";

const SERVICE: &str = include_str!("templates/gateway.service");
const SOCKET: &str = include_str!("templates/gateway.socket");

/// Placeholder line of a template.
enum Slot {
    /// The line itself, where this holds.
    If(bool),
    Lines(Vec<String>),
}

/// Renders a template: `##` lines are dropped, and `#[name]` lines are what `slots` says of that name.
fn render(template: &str, slots: &[(&str, Slot)]) -> String {
    let mut text = String::new();
    for line in template.lines().filter(|line| !line.starts_with("##")) {
        let Some((name, rest)) = line.strip_prefix("#[").and_then(|line| line.split_once(']')) else {
            text.push_str(&format!("{line}\n"));
            continue;
        };
        match slots.iter().find(|(slot, _)| *slot == name) {
            Some((_, Slot::If(true))) => text.push_str(&format!("{}\n", rest.trim_start())),
            Some((_, Slot::Lines(lines))) => {
                lines.iter().for_each(|line| text.push_str(&format!("{line}\n")))
            }
            _ => {}
        }
    }
    text
}

pub fn service(plan: &Plan, systemd: u32) -> String {
    let system = plan.name.scope == Scope::System;
    let low = plan.port < 1024;
    let in_tmp = plan.writes.iter().chain([&plan.program]).any(|dir| under_tmp(dir));
    let variable =
        |(name, value): &(&str, String)| format!("Environment={}", quote(&format!("{name}={value}")));
    let writes = |dir: &std::path::PathBuf| format!("ReadWritePaths={}", quote(&dir.to_string_lossy()));
    let of_openclaw = [(REPLACES, &plan.replaces), (IN_FRONT_OF, &plan.in_front_of)];
    let of_openclaw = of_openclaw.iter().filter_map(|(name, unit)| Some(format!("{name}{}", unit.as_ref()?)));
    let mut of_openclaw: Vec<_> = of_openclaw.collect();
    if !of_openclaw.is_empty() {
        of_openclaw.splice(0..0, [String::new(), "[X-Barnacle]".into()]);
    }
    let edit = format!("{} edit {}", plan.name.scope.systemctl(), plan.name.service());
    render(
        SERVICE,
        &[
            ("system", Slot::If(system)),
            ("user", Slot::If(!system)),
            ("notify-reload", Slot::If(systemd >= 253)),
            ("notify", Slot::If(systemd < 253)),
            ("restart-steps", Slot::If(systemd >= 254)),
            ("no-restart-steps", Slot::If(systemd < 254)),
            ("low-port", Slot::If(system && low)),
            ("high-port", Slot::If(system && !low)),
            ("private-tmp", Slot::If(system && !in_tmp)),
            ("environment", Slot::Lines(plan.variables.iter().map(variable).collect())),
            ("writes", Slot::Lines(plan.writes.iter().filter(|_| system).map(writes).collect())),
            ("openclaw", Slot::Lines(of_openclaw)),
        ],
    )
    .replacen("#[edit]", &edit, 1)
    .replacen("ExecStart=/bin/true", &exec_start(plan), 1)
    .replacen("User=nobody", &format!("User={}", plan.account.name), 1)
    .replacen("WatchdogSec=90", &format!("WatchdogSec={}", 6 * TICK_MS / 1000), 1)
}

/// Returns the socket unit, if the plan has one.
pub fn socket(plan: &Plan) -> Option<String> {
    let port = plan.sockets.first()?.port();
    let listen: Vec<_> = plan.sockets.iter().map(|at| format!("ListenStream={at}")).collect();
    let text = SOCKET.replacen("ListenStream=127.0.0.1:18789", &listen.join("\n"), 1);
    Some(text.replacen("Port of", &format!("Port {port} of"), 1))
}

fn exec_start(plan: &Plan) -> String {
    let arguments = plan.arguments.iter().map(|word| quote(&word.replace('$', "$$")));
    let words: Vec<_> = [quote(&plan.program.to_string_lossy())].into_iter().chain(arguments).collect();
    format!("ExecStart={}", words.join(" "))
}

/// Quotes a word for a unit: systemd.syntax(7), with `%` for itself.
fn quote(word: &str) -> String {
    let word = word.replace('%', "%%");
    if word.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ';')) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    } else {
        word
    }
}

fn under_tmp(path: &Path) -> bool {
    ["/tmp", "/var/tmp"].iter().any(|tmp| path.starts_with(tmp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_have_what_is_put_into_them() {
        assert!(SERVICE.starts_with(MARK) && SOCKET.starts_with(MARK));
        for (template, value) in [
            (SERVICE, "#[edit]"),
            (SERVICE, "\nExecStart=/bin/true\n"),
            (SERVICE, "User=nobody\n"),
            (SERVICE, "\nWatchdogSec=90\n"),
            (SOCKET, "=Port of "),
            (SOCKET, "\nListenStream=127.0.0.1:18789\n"),
        ] {
            assert_eq!(template.matches(value).count(), 1, "{value}");
        }
        assert_eq!(
            render("#[a] x\n## y\n#[b] z\n#[c]\nw\n", &[("a", Slot::If(true)), ("b", Slot::If(false))]),
            "x\nw\n"
        );
    }
}
