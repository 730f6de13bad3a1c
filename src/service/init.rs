//! The init of a host that has no systemd, and an example that makes it run the gateway.

use super::Plan;
use std::{fmt, path::Path};

/// The kind of process 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// OpenRC, as on Alpine and Gentoo.
    OpenRc,
    Runit,
    S6,
    Sysv,
    BusyBox,
    /// No init that supervises, as in a container.
    None,
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenRc => "the init is OpenRC",
            Self::Runit => "the init is runit",
            Self::S6 => "the init is s6",
            Self::Sysv => "the init is System V's",
            Self::BusyBox => "the init is BusyBox's",
            Self::None => "nothing here supervises services; a container, perhaps",
        })
    }
}

impl Init {
    /// Detects the init of this host.
    pub fn detect() -> Self {
        let there = |path: &str| Path::new(path).exists();
        let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
        let init = std::fs::canonicalize("/sbin/init").unwrap_or_default();
        // OpenRC stands on top of another's process 1.
        match first.trim() {
            _ if there("/run/openrc") => Self::OpenRc,
            "runit" | "runsvdir" => Self::Runit,
            "s6-svscan" => Self::S6,
            _ if there("/run/runit") => Self::Runit,
            _ if there("/run/s6") || there("/run/service/.s6-svscan") => Self::S6,
            "busybox" => Self::BusyBox,
            "init" | "linuxrc" if init.ends_with("busybox") => Self::BusyBox,
            "init" if there("/etc/inittab") => Self::Sysv,
            _ => Self::None,
        }
    }

    /// Returns what makes this init run `plan`: files with their text, and the commands after them.
    pub fn example(self, plan: &Plan) -> String {
        let base = &plan.name.base;
        let (user, home) = (&plan.account.name, shell(&plan.account.home.to_string_lossy()));
        let words = [plan.program.to_string_lossy().into_owned()].into_iter().chain(plan.arguments.clone());
        let words: Vec<_> = words.map(|word| shell(&word)).collect();
        let command = words.join(" ");
        let vars = plan.variables.iter().map(|(name, value)| format!("{name}={}", shell(value)));
        let vars = [format!("HOME={home}")].into_iter().chain(vars).collect::<Vec<_>>().join(" ");
        let fill = |template: &str, setuid: &str| {
            [
                ("@program@", words[0].as_str()),
                ("@arguments@", &words[1..].join(" ")),
                ("@command@", &command),
                ("@variables@", &vars),
                ("@user@", user),
                ("@setuid@", setuid),
            ]
            .iter()
            .fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let inittab = |id: &str, reload: &str| {
            let command = within_quotes(&format!("{vars} exec {command}"));
            format!(
                "# a line of /etc/inittab; sudo {reload} reads it\n\
                 {id}:respawn:/bin/su -s /bin/sh {user} -c \"{command}\"\n"
            )
        };
        match self {
            Self::OpenRc => {
                file(&format!("/etc/init.d/{base}"), &fill(OPENRC, ""))
                    + &format!("sudo rc-update add {base} default\nsudo rc-service {base} start\n")
            }
            // Both start it again at once whatever its exit code: after 78 it has to stay down.
            Self::Runit => {
                file(&format!("/etc/sv/{base}/run"), &fill(RUN, "chpst -u"))
                    + &file(&format!("/etc/sv/{base}/finish"), RUNIT_FINISH)
                    + &format!("sudo ln -s /etc/sv/{base} /var/service/\n")
            }
            Self::S6 => {
                file(&format!("/run/service/{base}/run"), &fill(RUN, "s6-setuidgid"))
                    + &file(&format!("/run/service/{base}/finish"), S6_FINISH)
                    + "sudo s6-svscanctl -a /run/service\n"
            }
            Self::Sysv => inittab("bg:2345", "telinit q"),
            Self::BusyBox => inittab(":", "kill -HUP 1"),
            Self::None => format!(
                "# in a container, its command:\n{command}\n\
                 # else, until the host stops:\n{vars} setsid nohup {command} >{home}/barnacle.log 2>&1 &\n"
            ),
        }
    }
}

const OPENRC: &str = include_str!("templates/openrc.sh");
/// Run script of runit and s6.
const RUN: &str = include_str!("templates/run.sh");
const RUNIT_FINISH: &str = include_str!("templates/runit-finish.sh");
const S6_FINISH: &str = include_str!("templates/s6-finish.sh");

/// Returns the command that writes an executable file.
fn file(path: &str, text: &str) -> String {
    format!("sudo install -D -m 755 /dev/stdin {path} <<'EOF'\n{text}EOF\n")
}

/// Quotes a word for a shell.
fn shell(word: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '=' | ':' | ',' | '@' | '~')
    };
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Escapes a command for use between double quotes.
fn within_quotes(command: &str) -> String {
    ['\\', '"', '$', '`'].iter().fold(command.to_owned(), |text, c| text.replace(*c, &format!("\\{c}")))
}
