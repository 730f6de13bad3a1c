//! The init of a host that has no systemd, and what makes it run the gateway.

use super::Plan;
use std::{fmt, path::Path};

/// What process 1 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// OpenRC, as on Alpine and Gentoo.
    OpenRc,
    /// runit, as on Void.
    Runit,
    /// s6.
    S6,
    /// System V init.
    Sysv,
    /// BusyBox init.
    BusyBox,
    /// None that supervises: a container, say.
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
    /// Looks what is there.
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

    /// What makes this init run `plan`: files with their text, and the commands after them.
    pub fn example(self, plan: &Plan) -> String {
        let base = &plan.name.base;
        let (user, home) = (&plan.account.name, shell(&plan.account.home.to_string_lossy()));
        let words = [plan.program.to_string_lossy().into_owned()].into_iter().chain(plan.arguments.clone());
        let words: Vec<_> = words.map(|word| shell(&word)).collect();
        let command = words.join(" ");
        let vars: Vec<_> =
            plan.variables.iter().map(|(name, value)| format!("{name}={}", shell(value))).collect();
        let vars = [format!("HOME={home}")].into_iter().chain(vars).collect::<Vec<_>>().join(" ");
        let daemon =
            |setuid: &str| format!("#!/bin/sh\nexec 2>&1\nexport {vars}\nexec {setuid} {user} {command}\n");
        match self {
            Self::OpenRc => {
                let script = format!(
                    "#!/sbin/openrc-run\n\
                     description=\"Barnacle gateway\"\n\
                     supervisor=supervise-daemon\n\
                     command={}\n\
                     command_args=\"{}\"\n\
                     command_user={user}\n\
                     respawn_delay=2\n\
                     respawn_max=30\n\
                     respawn_period=300\n\
                     export {vars}\n",
                    words[0],
                    words[1..].join(" ")
                );
                file(&format!("/etc/init.d/{base}"), &script)
                    + &format!("sudo rc-update add {base} default\nsudo rc-service {base} start\n")
            }
            Self::Runit => {
                // Started again at once whatever its exit code: at 78 it is to be left down.
                let finish = "#!/bin/sh\n[ \"$1\" = 78 ] && sv down .\nsleep 1\n";
                file(&format!("/etc/sv/{base}/run"), &daemon("chpst -u"))
                    + &file(&format!("/etc/sv/{base}/finish"), finish)
                    + &format!("sudo ln -s /etc/sv/{base} /var/service/\n")
            }
            Self::S6 => {
                let finish = "#!/bin/sh\n[ \"$1\" = 78 ] && exit 125\nsleep 1\n";
                file(&format!("/run/service/{base}/run"), &daemon("s6-setuidgid"))
                    + &file(&format!("/run/service/{base}/finish"), finish)
                    + "sudo s6-svscanctl -a /run/service\n"
            }
            Self::Sysv => format!(
                "# a line of /etc/inittab; sudo telinit q reads it\n\
                 bg:2345:respawn:/bin/su -s /bin/sh {user} -c \"{}\"\n",
                within_quotes(&format!("{vars} exec {command}"))
            ),
            Self::BusyBox => format!(
                "# a line of /etc/inittab; sudo kill -HUP 1 reads it\n\
                 ::respawn:/bin/su -s /bin/sh {user} -c \"{}\"\n",
                within_quotes(&format!("{vars} exec {command}"))
            ),
            Self::None => format!(
                "# in a container, its command:\n{command}\n\
                 # else, until the host stops:\n{vars} setsid nohup {command} >{home}/barnacle.log 2>&1 &\n"
            ),
        }
    }
}

/// A command that writes an executable file.
fn file(path: &str, text: &str) -> String {
    format!("sudo install -D -m 755 /dev/stdin {path} <<'EOF'\n{text}EOF\n")
}

/// A word for a shell.
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

/// A command for a shell, between double quotes.
fn within_quotes(command: &str) -> String {
    ['\\', '"', '$', '`'].iter().fold(command.to_owned(), |text, c| text.replace(*c, &format!("\\{c}")))
}
