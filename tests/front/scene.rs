//! A host with an OpenClaw that its systemd runs.

use crate::host::{ACCOUNT, Host, UNIT};
use crate::wire::free_port;
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub const OPENCLAW: &str = "openclaw-gateway.service";
/// The drop-in, below the directory of the units.
pub const DROP_IN: &str = "openclaw-gateway.service.d/zz-barnacle.conf";
const NODE: &str = "/opt/node_modules/.bin/node";
/// The real one.
pub const REAL: &str = "/opt/node_modules/openclaw/openclaw.mjs";
const STAND_IN: &str = include_str!("stand-in.mjs");

/// Files by their path: mode and content.
pub type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

pub struct Scene {
    pub host: Host,
    /// The port that OpenClaw has at first.
    pub port: u16,
}

impl Scene {
    /// One whose account has a systemd of its own, and OpenClaw there.
    pub fn user() -> Self {
        Self::on(Host::beside(true, &modules()))
    }

    /// One whose system runs OpenClaw as the account.
    pub fn system() -> Self {
        Self::on(Host::beside(false, &modules()))
    }

    fn on(host: Host) -> Self {
        let scene = Self { host, port: two_ports() };
        scene.host.config(&scene.config("token:\"T1\""));
        scene.host.write("stand-in.mjs", STAND_IN);
        scene
    }

    /// `openclaw.json`, with this in `gateway.auth`.
    pub fn config(&self, auth: &str) -> String {
        let port = self.port;
        format!(
            "{{\n  // by hand\n  gateway: {{ mode: \"local\", bind: \"loopback\", port: {port}, auth: {{ mode: \"token\", {auth} }} }},\n  \
             update: {{ checkOnStart: false }},\n}}\n"
        )
    }

    /// The command of the stand-in, with `arguments`.
    pub fn stand_in(&self, arguments: &str) -> String {
        format!("{NODE} /home/{ACCOUNT}/stand-in.mjs {arguments}")
    }

    /// Writes OpenClaw's unit, as its page on Linux has it, with `command` and further lines of the section `[Service]`.
    pub fn unit(&self, command: &str, more: &str) -> PathBuf {
        let (user, wanted) = match self.is_user() {
            true => (String::new(), "default.target"),
            false => (format!("User={ACCOUNT}\n"), "multi-user.target"),
        };
        let text = format!(
            "[Unit]\nDescription=OpenClaw Gateway\nStartLimitBurst=10\nStartLimitIntervalSec=300\n\n[Service]\n{user}ExecStart={command}\n\
             Restart=always\nRestartSec=1\nRestartPreventExitStatus=78\nTimeoutStopSec=330\nTimeoutStartSec=30\n\
             SuccessExitStatus=0 143\nOOMPolicy=continue\nKillMode=mixed\n{more}\n[Install]\nWantedBy={wanted}\n"
        );
        let path = self.host.units().join(OPENCLAW);
        match self.is_user() {
            true => _ = self.host.write(&format!(".config/systemd/user/{OPENCLAW}"), &text),
            false => fs::write(&path, &text).unwrap(),
        }
        assert_eq!(self.host.systemctl(&["daemon-reload"]).0, 0);
        path
    }

    fn is_user(&self) -> bool {
        self.host.units().starts_with(&self.host.home)
    }

    /// Has systemd run it, and waits until it listens.
    #[track_caller]
    pub fn start(&self) {
        let (code, _, err) = self.host.systemctl(&["enable", "--now", OPENCLAW]);
        assert_eq!(code, 0, "{err}");
        self.until_listens(self.port);
    }

    /// The stand-in as OpenClaw's unit, which runs.
    pub fn with_stand_in(self) -> Self {
        let port = self.port;
        self.unit(
            &self.stand_in(&format!("gateway --port {port}")),
            &format!("Environment=OPENCLAW_GATEWAY_PORT={port}\n"),
        );
        self.start();
        self
    }

    #[track_caller]
    pub fn until_listens(&self, port: u16) {
        let minutes = std::time::Duration::from_secs(240);
        self.host.until_in(minutes, "nobody listens there", || self.version_at(port));
    }

    /// The version of the gateway that answers there.
    pub fn version_at(&self, port: u16) -> Option<String> {
        let (code, out, _) =
            self.host.run(&["call", "status", "--url", &format!("ws://127.0.0.1:{port}"), "--token", "T1"]);
        (code == 0).then_some(out)
    }

    /// Checks that OpenClaw and nobody else answers on its own port, and that nothing of Barnacle's is left.
    #[track_caller]
    pub fn assert_as_before(&self, before: &Files) {
        let status = self.version_at(self.port).expect("nobody answers on the old port");
        assert!(!status.contains("\"barnacle\""), "{status}");
        assert_same(before, &self.files());
        assert_eq!(self.host.property(UNIT, "LoadState"), "not-found");
        assert!(!self.host.property(OPENCLAW, "DropInPaths").contains("zz-barnacle"));
        assert_eq!(self.host.property(OPENCLAW, "UnitFileState"), "enabled");
        assert_eq!(self.host.property(OPENCLAW, "NeedDaemonReload"), "no");
    }

    /// The units and what is the user's of the state directory.
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        gather(&self.host.units(), &mut files);
        for name in ["openclaw.json", ".env"] {
            gather(&self.host.home.join(".openclaw").join(name), &mut files);
        }
        gather(&self.host.path("var/lib/systemd/linger"), &mut files);
        files
    }

    /// Installs Barnacle in front, which succeeds; what it says.
    #[track_caller]
    pub fn install(&self) -> String {
        self.host.ok(&["gateway", "install", "--in-front-of-openclaw", "--wait", "240"])
    }

    /// Fails to, and says why.
    #[track_caller]
    pub fn fails(&self, why: &str) -> String {
        let (code, out, err) =
            self.host.run(&["gateway", "install", "--in-front-of-openclaw", "--wait", "20"]);
        assert!(
            code != 0 && err.contains(why),
            "{code}: {why:?} is not in {err}\nafter {out}\nlog:\n{}",
            self.host.log()
        );
        out + &err
    }

    #[track_caller]
    pub fn restore(&self) -> String {
        self.host.ok(&["gateway", "uninstall", "--restore-openclaw", "--wait", "240"])
    }
}

/// Compares all files.
#[track_caller]
pub fn assert_same(before: &Files, after: &Files) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after));
    for (path, (mode, bytes)) in before {
        let (mode_now, bytes_now) = &after[path];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!((mode, text(bytes)), (mode_now, text(bytes_now)), "{}", path.display());
    }
}

/// Everything at `path`: files, directories, and where links lead.
fn gather(path: &Path, files: &mut Files) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let bytes = match (meta.is_symlink(), meta.is_dir()) {
        (true, _) => fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
        (_, true) => {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| gather(&entry.path(), files));
            Vec::new()
        }
        _ => fs::read(path).unwrap(),
    };
    files.insert(path.to_owned(), (meta.permissions().mode(), bytes));
}

/// Where OpenClaw and its Node are.
fn modules() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/node_modules");
    assert!(path.join("openclaw").exists(), "OpenClaw is missing; tests/peers/install.sh installs it");
    path
}

/// A port that is free, and the next one, too.
fn two_ports() -> u16 {
    loop {
        let port = free_port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}
