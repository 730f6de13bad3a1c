//! A board that one reaches by ssh: a host with a real sshd, and the scripts that one types here.

use crate::{
    host::{ACCOUNT, Host, shared},
    wire::{Client, free_port},
};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// A release set of this machine's kind, in a directory that is removed again.
pub struct Set(pub PathBuf);

impl Set {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("barnacle-set-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::copy("cross/install.sh", dir.join("install.sh")).unwrap();
        Self(dir)
    }

    /// Has it hold `program`.
    pub fn of(&self, program: impl AsRef<Path>) -> &Self {
        fs::copy(program, self.binary()).unwrap();
        self.sum()
    }

    /// Has it hold a script.
    pub fn of_script(&self, text: &str) -> &Self {
        fs::write(self.binary(), text).unwrap();
        self.sum()
    }

    pub fn binary(&self) -> PathBuf {
        self.0.join("barnacle-0.1.0-x86_64")
    }

    fn sum(&self) -> &Self {
        fs::set_permissions(self.binary(), fs::Permissions::from_mode(0o755)).unwrap();
        let sums =
            Command::new("sha256sum").arg("barnacle-0.1.0-x86_64").current_dir(&self.0).output().unwrap();
        fs::write(self.0.join("SHA256SUMS"), sums.stdout).unwrap();
        self
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with its owner.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who logs in.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    Root,
    /// An account that has a systemd of its own, and no more.
    Account,
    /// The same, that finds a directory in `/opt`.
    Beside(&'a Path),
    /// An account that may be root by `sudo`, if [`Board::sudoers`] says so.
    Sudoer,
}

/// A host that one reaches by ssh, and what a `Set` has for it.
pub struct Board {
    pub host: Host,
    pub set: Set,
    /// Where its gateway listens.
    pub at: SocketAddr,
    /// The home of who logs in, as the host knows it.
    home: String,
    /// The ssh client's own configuration.
    config: PathBuf,
    _sshd: [Ends; 2],
}

impl Board {
    pub fn new(login: Login) -> Self {
        let (host, set) = match login {
            Login::Root => (Host::for_packages(false), "root"),
            Login::Account => (Host::for_packages(true), "account"),
            Login::Beside(dir) => (Host::beside(true, dir), "beside"),
            Login::Sudoer => (Host::for_packages(false), "sudoer"),
        };
        let (name, home) = match login {
            Login::Root => ("root", "/root".into()),
            _ => (ACCOUNT, format!("/home/{ACCOUNT}")),
        };
        let set = Set::new(set);
        let dir = host.path(&home).join("sshd");
        fs::create_dir_all(&dir).unwrap();
        for key in [dir.join("host"), set.0.join("key")] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.unwrap().success());
        }
        fs::copy(set.0.join("key.pub"), dir.join("authorized")).unwrap();
        // Of who may log in sshd asks the host, and root's it gives up its privileges to.
        let passwd = host.path("etc/passwd");
        let with = fs::read_to_string(&passwd).unwrap() + "sshd:x:101:101::/run/sshd:/bin/false\n";
        fs::write(passwd, with).unwrap();
        fs::create_dir_all(host.path("run/sshd")).unwrap();
        let (port, other) = (free_port(), free_port());
        // The second one tells whoever comes that this is a processor of another kind.
        let sshd = |port: u16, words: &[&str]| {
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/sshd/host\nPidFile none\nStrictModes no\n\
                 AuthorizedKeysFile {home}/sshd/authorized\nUsePAM no\nPermitRootLogin yes\n"
            );
            let file = format!("{home}/sshd/config-{port}");
            fs::write(host.path(&file), config).unwrap();
            let all: Vec<_> = dir.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
            let id = fs::metadata(host.path(&home)).map(|m| m.uid()).unwrap();
            all.iter().for_each(|path| chown(path, Some(id), Some(id)).unwrap());
            let words = [words, &["/usr/sbin/sshd", "-D", "-e", "-f", &file]].concat();
            let log = fs::File::create(set.0.join(format!("sshd-{port}"))).unwrap();
            let child = host.command(words[0], &words[1..]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
            let ends = Ends(child);
            host.until("no sshd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
            ends
        };
        let sshd = [sshd(port, &[]), sshd(other, &["setarch", "i686"])];
        let config = set.0.join("ssh_config");
        let client = format!(
            "Host board\n Port {port}\nHost foreign\n Port {other}\nHost *\n HostName 127.0.0.1\n User {name}\n \
             IdentityFile {dir}/key\n IdentitiesOnly yes\n UserKnownHostsFile {dir}/known\n \
             StrictHostKeyChecking accept-new\n BatchMode yes\n LogLevel ERROR\n",
            dir = set.0.display(),
        );
        fs::write(&config, client).unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let board = Self { host, set, at, home, config, _sshd: sshd };
        board.write(".openclaw/openclaw.json", &shared(at.port()));
        board
    }

    /// Writes a file of who logs in.
    pub fn write(&self, name: &str, text: &str) {
        if self.home != "/root" {
            self.host.write(name, text);
        } else {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.host.path(&format!("{}/{name}", self.home))
    }

    /// Has `sudo` hold its account to this, such as `NOPASSWD: ALL`; its password is `swordfish`.
    pub fn sudoers(&self, rule: &str) {
        let sudoers = format!("Defaults lecture=never\nroot ALL=(ALL) ALL\n{ACCOUNT} ALL=(ALL) {rule}\n");
        let hash = "$6$barnacle$tVnALFyVP.LU5mzTz6BRS1x6xBkBghwMIDLYsTQ/5sPJE8SFYNLTCwg8AJGPxJwPPXk7DJFf4l1/dq5nnpC8R0";
        let pam =
            "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
        fs::create_dir_all(self.host.path("etc/pam.d")).unwrap();
        for (file, text, mode) in [
            ("etc/sudoers", sudoers.as_str(), 0o440),
            ("etc/pam.d/sudo", pam, 0o644),
            ("etc/shadow", &format!("root:*:::::::\n{ACCOUNT}:{hash}:20000::::::\n"), 0o600),
        ] {
            let path = self.host.path(file);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// A script of `cross/` against the host.
    fn words(&self, name: &str, args: &[&str]) -> Vec<String> {
        let set = self.set.0.display().to_string();
        let words = args.iter().copied().chain(["--set", &set]).map(String::from);
        std::iter::once(format!("cross/{name}.sh")).chain(words).collect()
    }

    fn ssh(&self) -> String {
        format!("ssh -F {}", self.config.display())
    }

    /// Runs it; its exit code, and what it says.
    pub fn script(&self, name: &str, args: &[&str]) -> (i32, String) {
        let words = self.words(name, args);
        let mut command = Command::new(&words[0]);
        said(command.args(&words[1..]).stdin(Stdio::null()).env("SSH", self.ssh()).output().unwrap())
    }

    /// Deploys from a terminal, at which whoever is asked for a password types `password`.
    pub fn at_a_terminal(&self, args: &[&str], password: &str) -> (i32, String) {
        let words = self.words("deploy", &[&["board"], args].concat()).join(" ");
        let mut terminal = Command::new("timeout");
        terminal.args(["60", "script", "-q", "-e", "-c", &words, "/dev/null"]).env("SSH", self.ssh());
        let mut terminal = Ends(terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let (mut keys, mut screen) = (terminal.0.stdin.take().unwrap(), terminal.0.stdout.take().unwrap());
        let (mut shown, mut part, mut asked) = (String::new(), [0; 4096], 0);
        while let Ok(n @ 1..) = screen.read(&mut part) {
            shown += &String::from_utf8_lossy(&part[..n]);
            if shown.matches("password for").count() > asked {
                asked += 1;
                keys.write_all(format!("{password}\n").as_bytes()).unwrap();
            }
        }
        (terminal.0.wait().unwrap().code().unwrap_or(-1), shown)
    }

    #[track_caller]
    pub fn deploy(&self, args: &[&str]) -> String {
        let (code, said) = self.script("deploy", &[&["board"], args].concat());
        assert_eq!(code, 0, "{said}\nlog:\n{}", self.host.log());
        said
    }

    /// A deployment that fails, and says why.
    #[track_caller]
    pub fn fails(&self, args: &[&str], why: &str) {
        let (code, said) = self.script("deploy", &[&["board"], args].concat());
        assert!(code == 1 && said.contains(why), "{why}: {code} {said}\nlog:\n{}", self.host.log());
    }

    #[track_caller]
    pub fn attach(&self) -> Client {
        self.host.attach(self.at)
    }
}

pub fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), text)
}
