//! The installer on difficult boards: another processor, a full disk, a damaged download, an incomplete release. Over
//! ssh and with systemd: `tests/deploy`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A home with a program of before in its place.
struct Home(PathBuf);

const BEFORE: &str = "#!/bin/sh\n[ \"$1\" = --version ] && echo barnacle 0.0.9\n";

impl Home {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("barnacle-install-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let home = Self(std::env::temp_dir().join(name));
        home.write(".local/bin/barnacle", BEFORE.as_bytes());
        home
    }

    /// Writes a program.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs `script` in namespaces of its own; the exit code, and what was said.
    fn run(&self, script: &str) -> (i32, String) {
        let out = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "timeout", "60", "sh", "-c"])
            .arg(format!("exec 2>&1\n{script}"))
            .env_clear()
            .env("HOME", &self.0)
            .env("PATH", format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        (out.status.code().unwrap_or(-1), text)
    }

    /// Installs `binary`, after `prepare`: it must fail, say `why`, and leave what was there.
    #[track_caller]
    fn fails(&self, binary: &Path, prepare: &str, why: &str) {
        let sum = format!("$(sha256sum <{} | cut -d ' ' -f 1)", binary.display());
        let install = format!("sh cross/install.sh --user --binary {} --sha256 {sum}", binary.display());
        let (code, output) =
            self.run(&format!("{prepare}\n{install}; code=$?; ls $HOME/.local/bin; exit $code"));
        assert!(code == 1 && output.contains(why), "{why}: {code} {output}");
        assert!(output.ends_with("\nbarnacle\n"), "more than what was there: {output}");
        assert_eq!(fs::read(self.0.join(".local/bin/barnacle")).unwrap(), BEFORE.as_bytes());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// B9: an ARMv6 board is not given what kills it.
#[test]
fn each_processor_gets_its_own_binary() {
    let home = Home::new();
    home.write("bin/uname", b"#!/bin/sh\necho $MACHINE\n");
    let v7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4";
    for (machine, features, name) in [
        ("armv6l", "half thumb fastmult vfp edsp java tls", "armv6"),
        ("armv7l", v7, "armv7"),
        // Without the floating point unit that the binary for it counts on.
        ("armv7l", "half thumb fastmult edsp", "armv6"),
        // A 32-bit system, whose kernel says what it could be.
        ("armv8l", v7, "armv7"),
        ("aarch64", "fp asimd", "aarch64"),
        ("riscv64", "", "riscv64"),
        ("x86_64", "", "x86_64"),
    ] {
        let cpuinfo = format!("printf 'Features\\t: {features} \\n' >$HOME/cpuinfo");
        let mount = "mount --bind $HOME/cpuinfo /proc/cpuinfo";
        let cpu = format!("{cpuinfo} && {mount} && MACHINE={machine} sh cross/install.sh --cpu");
        assert_eq!(home.run(&cpu), (0, format!("{name}\n")), "{machine} with {features}");
    }
    let (code, output) = home.run("MACHINE=mips sh cross/install.sh --cpu");
    assert!(code == 1 && output.contains("no binary for this processor (mips)"), "{output}");
}

/// B10, B133.
#[test]
fn a_failed_installation_changes_nothing() {
    let home = Home::new();
    // 2 MB for a directory that has room for 1.
    let script = "#!/bin/sh\necho barnacle 9.9.9\nexit\n".to_owned() + &" ".repeat(2 << 20);
    let large = home.write("large", script.as_bytes());
    let small = "cp -p $HOME/.local/bin/barnacle $HOME/before &&
        mount -t tmpfs -o size=1m none $HOME/.local/bin && cp -p $HOME/before $HOME/.local/bin/barnacle";
    home.fails(&large, small, "cannot be written; nothing was changed");
    // Of another kind, and yet with the right checksum.
    let mut program = fs::read("/bin/true").unwrap();
    program[18] ^= 0xff;
    let foreign = home.write("foreign", &program);
    home.fails(&foreign, "", "does not run here");
    home.fails(
        &large,
        "mount --bind -o noexec $HOME/.local $HOME/.local && mount -o remount,bind,noexec $HOME/.local",
        "does not run here",
    );
    let script = format!("PATH= /bin/sh cross/install.sh --binary {0} --sha256 x", large.display());
    let (code, output) = home.run(&script);
    assert!(code == 1 && output.contains("sha256sum is missing"), "{output}");
}

/// B83, B132: of every target the same files, each with its checksum.
#[test]
fn an_incomplete_release_is_refused() {
    let home = Home::new();
    home.write("release-set/stray", b"");
    home.write("release-set/SHA256SUMS", b"");
    let (code, output) = home.run("CARGO_TARGET_DIR=$HOME cross/check.sh");
    assert_eq!(code, 1, "{output}");
    let targets = include_str!("../../cross/targets");
    let targets: Vec<_> =
        targets.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(' ').next()).collect();
    assert_eq!(targets.len(), 5);
    for name in targets.into_iter().flatten() {
        for file in [format!("barnacle-0.1.0-{name}"), format!("barnacle-0.1.0-{name}.deb")] {
            assert!(output.contains(&format!("{file} is missing\n")), "{file}: {output}");
        }
    }
    for wrong in
        ["install.sh is missing", "stray does not belong there", "SHA256SUMS does not name each file"]
    {
        assert!(output.contains(wrong), "{wrong}: {output}");
    }
}
