//! What attack, mishap and careless hands must not do to the command line and its host. A test's name begins with
//! the ids of what it shows.

use crate::wire::{Device, Home, Offer, READ, Server, items, json, signal};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Stdio,
};

/// A home where nothing is approved by itself: every new device waits.
fn strict() -> Home {
    let home = Home::empty();
    home.gateway(r#"auth:{mode:"token",token:"T1"},nodes:{pairing:{autoApproveLocal:false}}"#);
    home
}

#[track_caller]
fn ok(home: &Home, args: &[&str]) -> String {
    let (code, out, err) = home.run(args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    out
}

/// The answer of `devices list --json`.
fn listed(home: &Home) -> miniserde::json::Value {
    miniserde::json::from_str(&ok(home, &["devices", "list", "--json"])).unwrap()
}

/// `devices approve` on a terminal; `between` happens while it waits for `answer`. Exit code and everything shown.
fn on_a_terminal(home: &Home, args: &[&str], between: impl FnOnce(), answer: &str) -> (i32, String) {
    let command = [&[env!("CARGO_BIN_EXE_barnacle")], args].concat().join(" ");
    let mut child = home
        .program("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut shown, mut byte) = (Vec::new(), [0]);
    let mut out = child.stdout.take().unwrap();
    while !shown.ends_with(b"[y/N] ") && out.read(&mut byte).unwrap() > 0 {
        shown.push(byte[0]);
    }
    between();
    let mut terminal = child.stdin.take().unwrap();
    // Without a question, nobody reads it.
    let _ = terminal.write_all(answer.as_bytes());
    let _ = out.read_to_end(&mut shown);
    drop(terminal);
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn h10_an_approval_grants_what_was_shown() {
    let home = strict();
    let server = home.start();
    let device = Device::new();
    let ask = |scopes: &[&str]| {
        server.refuse(&Offer::device(&device).token("T1").scopes(scopes)).expect("PAIRING_REQUIRED");
    };
    ask(READ);
    assert_eq!(items(&listed(&home), "pending").len(), 1);
    // Declined, nothing happens.
    let (code, shown) = on_a_terminal(&home, &["devices", "approve", &device.id()], || {}, "n\n");
    assert!(code == 1 && shown.contains("nothing was approved"), "{shown}");
    for what in [&*device.id(), "operator.read", "nothing yet", "127.0.0.1", " UTC"] {
        assert!(shown.contains(what), "{what} is not shown: {shown}");
    }
    assert!(!shown.contains("operator.admin"), "{shown}");
    // Asking for more while the operator reads does not widen what he approves.
    let more = || ask(&["operator.admin"]);
    let (_, shown) = on_a_terminal(&home, &["devices", "approve", &device.id()], more, "y\n");
    let paired: String = items(&listed(&home), "paired").into_iter().map(json).collect();
    assert!(!paired.contains("operator.admin"), "{shown}{paired}");
    assert!(
        shown.contains("changed or is gone") && !paired.contains("operator.read")
            || shown.contains("approved") && paired.contains("operator.read"),
        "{shown}{paired}"
    );
    // Without a terminal, or with --yes, nobody is asked; what is granted is shown all the same.
    let other = Device::new();
    server.refuse(&Offer::device(&other).token("T1").scopes(READ)).expect("PAIRING_REQUIRED");
    let (code, shown) = on_a_terminal(&home, &["devices", "approve", &other.id(), "--yes"], || {}, "");
    assert!(code == 0 && shown.contains("operator.read") && !shown.contains("[y/N]"), "{shown}");
    let third = Device::new();
    server.refuse(&Offer::device(&third).token("T1").scopes(READ)).expect("PAIRING_REQUIRED");
    let shown = ok(&home, &["devices", "approve", &third.id()]);
    assert!(shown.contains("scopes") && shown.contains("approved "), "{shown}");
    server.stop();
}

/// The mode of a path.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn h14_directories_that_others_can_write_are_found_and_closed() {
    let home = Home::fix();
    let dir = home.dir.join(".openclaw");
    let chmod = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(home.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    for open in [0o775, 0o770, 0o2770, 0o777] {
        chmod(open);
        let (code, out, _) = home.run(&["doctor"]);
        let what = format!("can be written by other accounts (mode {open:04o})");
        assert!(code == 1 && out.contains(&what) && out.contains("chmod go-w"), "{out}");
        assert_eq!(home.run(&["doctor", "--fix"]).0, 0);
        assert_eq!(mode(&dir), open & !0o022);
    }
    if rustix::process::geteuid().is_root() {
        chown(&dir, Some(12_345), None).unwrap();
        chown(home.config_path(), Some(12_345), None).unwrap();
        let (code, out, _) = home.run(&["doctor"]);
        assert!(
            code == 1 && out.contains("belongs to uid 12345, and the gateway's account is uid 0"),
            "{out}"
        );
    }
}

#[test]
fn h19_the_doctor_names_the_key_and_not_the_devices() {
    let home = Home::fix();
    let server = home.start();
    Device::pair(&server, READ);
    server.stop();
    fs::write(home.store().join("key"), "").unwrap();
    let (_, out, _) = home.run(&["doctor"]);
    assert!(out.contains("barnacle/key") && !out.contains("tokens.bin*"), "{out}");
}

#[test]
fn h16_a_secret_on_the_command_line_is_warned_of() {
    let home = Home::fix();
    for (option, warned) in [("--token", true), ("--password", true), ("--verbose", false)] {
        let args = if warned { vec![option, "T1"] } else { vec![option] };
        let server = home.start_with(&args, &[]);
        let line = format!("{option} on the command line is visible to every account");
        assert_eq!(server.log().contains(&line), warned, "{}", server.log());
        server.stop();
    }
}

/// The gateway as an account that is not root.
fn as_account(home: &Home, uid: u32) -> Server {
    for path in [home.dir.clone(), home.dir.join(".openclaw"), home.config_path()] {
        chown(path, Some(uid), Some(uid)).unwrap();
    }
    let uid = uid.to_string();
    let port = home.port.to_string();
    let mut command = home.program("sh");
    // Cores of any size, as a system may have it.
    command.args(["-c", "ulimit -c unlimited; cd \"$HOME\"; exec \"$@\"", "sh", "setpriv"]);
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
    command.args([env!("CARGO_BIN_EXE_barnacle"), "gateway", "--port", &port]);
    Server::spawn(command, home.port)
}

#[test]
fn h17_a_crash_leaves_no_core_file() {
    if !rustix::process::geteuid().is_root() {
        return println!("only root can start it as another account");
    }
    const UID: u32 = 23_457;
    let home = Home::fix();
    fs::set_permissions(home.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    let mut server = as_account(&home, UID);
    let pid = server.pid();
    let owner = |name: &str| fs::metadata(format!("/proc/{pid}/{name}")).unwrap().uid();
    assert_eq!((owner("environ"), owner("mem")), (0, 0), "it is dumpable");
    // What reads of it still does: the gateway its memory, the doctor and a restart what they need, as its account.
    let run = |args: &[&str]| {
        let uid = UID.to_string();
        let out = home
            .program("setpriv")
            .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", env!("CARGO_BIN_EXE_barnacle")])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(out.status.success(), "{args:?}: {said}");
        said
    };
    assert!(run(&["status"]).contains("MB resident"));
    assert!(!run(&["doctor"]).contains("another account"));
    let status = run(&["gateway", "status"]);
    assert!(status.contains(&format!("Port {}: process {pid}", home.port)), "{status}");
    run(&["gateway", "restart"]);
    // By a signal, where the gateway refuses the command.
    assert!(run(&["gateway", "restart", "--token", "wrong"]).contains("by a signal"));
    assert_eq!((owner("environ"), owner("mem")), (0, 0), "it is dumpable after a restart");
    signal(pid, "ABRT");
    let end = server.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(6));
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&end));
    let cores = fs::read_dir(&home.dir).unwrap().flatten().filter(|e| e.file_name() != ".openclaw");
    assert_eq!(cores.count(), 0);
}

#[test]
fn h24_a_full_disk_is_reported_and_does_not_prevent_a_restart() {
    let home = Home::fix();
    let store = home.store();
    fs::create_dir_all(&store).unwrap();
    let mount = format!("mount -t tmpfs -o size=128k,mode=700 tmpfs {}", store.display());
    let server = home.start_unshared(&["-m"], &mount, &[]);
    assert_eq!(server.get("/readyz").0, 200);
    assert!(!server.get("/readyz").1.contains("degraded"), "{}", server.get("/readyz").1);
    let inside = format!("/proc/{}/root{}", server.pid(), store.display());
    let ballast = Path::new(&inside).join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    drop(file);
    let check = || {
        let (code, body) = server.get("/readyz");
        assert!(code == 200 && body.contains(r#""ready":true"#), "{body}");
        assert!(body.contains("degraded") && body.contains("is full"), "{body}");
        let health = ok(&home, &["health"]);
        assert!(health.starts_with("degraded: ws://") && health.contains("is full"), "{health}");
    };
    check();
    // Nor after a change that failed, which the store never took.
    let refused = server.refuse(&Offer::device(&Device::new()).token("T1"));
    assert!(json(&refused.error).contains("UNAVAILABLE"), "{}", json(&refused.error));
    check();
    assert!(ok(&home, &["gateway", "restart"]).contains("restarted"), "{}", server.log());
    check();
    fs::remove_file(&ballast).unwrap();
    assert!(!server.get("/readyz").1.contains("degraded"), "{}", server.get("/readyz").1);
    assert!(ok(&home, &["health"]).starts_with("ok: "));
    Device::pair(&server, READ);
    server.stop();
}

#[test]
fn h27_a_gateway_that_does_not_answer_is_a_finding() {
    let home = Home::fix();
    let mut server = home.start();
    let pid = server.pid();
    assert!(!home.run(&["doctor"]).1.contains("kill -9"));
    signal(pid, "STOP");
    let (code, out, err) = home.run(&["doctor", "--timeout", "300"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains(&format!("process {pid} runs the gateway, and is suspended")), "{out}");
    assert!(out.contains(&format!("kill -9 {pid}")), "{out}");
    let (code, _, err) = home.run(&["health", "--timeout", "300"]);
    assert!(code == 3 && err.contains(&format!("process {pid} runs it and does not answer")), "{err}");
    let (_, out, _) = home.run(&["gateway", "status", "--timeout", "300"]);
    assert!(out.contains(&format!("kill -9 {pid}")), "{out}");
    signal(pid, "CONT");
    assert!(!home.run(&["doctor"]).1.contains("kill -9"));
    // It takes the signal only once it runs again.
    signal(pid, "STOP");
    let (code, _, err) = home.run(&["gateway", "stop"]);
    assert!(code == 1 && err.contains(&format!("kill -9 {pid}")), "{err}");
    signal(pid, "CONT");
    assert!(server.child.wait().unwrap().success());
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use std::process::Command;

    /// Runs openssl in `dir`.
    fn openssl(dir: &Path, script: &str) {
        let out = Command::new("sh").args(["-euc", script]).current_dir(dir).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn serve(home: &Home) {
        let (cert, key) = (home.dir.join("cert.pem"), home.dir.join("key.pem"));
        home.gateway(&format!("auth:{{token:'T1'}},tls:{{enabled:true,certPath:{cert:?},keyPath:{key:?}}}"));
    }

    #[test]
    fn h33_keys_that_cannot_be_served_are_named_with_what_helps() {
        for (script, cause, help) in [
            (
                "openssl req -x509 -newkey rsa:2048 -passout pass:secret -keyout key.pem -out cert.pem -subj /CN=x -days 30",
                "is encrypted with a passphrase",
                "openssl pkey -in",
            ),
            (
                "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out cert.pem -subj /CN=x -days 30
                 openssl rsa -in k -traditional -aes128 -passout pass:secret -out key.pem",
                "is encrypted with a passphrase",
                "openssl pkey -in",
            ),
            (
                "openssl req -x509 -newkey rsa:1024 -nodes -keyout key.pem -out cert.pem -subj /CN=x -days 30",
                "is an RSA key of 1024 bits",
                "openssl genpkey -algorithm EC",
            ),
            (
                "openssl req -new -newkey rsa:2048 -nodes -keyout k -out csr -subj /CN=x
                 openssl x509 -req -in csr -signkey k -out cert.pem -days 30
                 openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
                "is not the key of the certificate",
                "of one issue",
            ),
        ] {
            let home = Home::empty();
            openssl(&home.dir, script);
            serve(&home);
            let (code, out, err) = home.run(&["doctor"]);
            assert_eq!(code, 1, "{out}{err}");
            assert!(out.contains(cause) && out.contains(help), "{script}\n{out}");
        }
    }

    #[test]
    fn h33_a_certificate_of_version_1_is_served() {
        let home = Home::empty();
        openssl(
            &home.dir,
            "openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -out csr -subj /CN=x
             openssl x509 -req -in csr -signkey key.pem -out cert.pem -days 30
             openssl x509 -in cert.pem -noout -text | grep -q 'Version: 1 '",
        );
        serve(&home);
        let server = home.start();
        let health = ok(&home, &["health"]);
        assert!(health.starts_with(&format!("ok: wss://127.0.0.1:{} ", home.port)), "{health}");
        // Signed by its key, not only shown.
        let connect = format!(
            "openssl s_client -connect 127.0.0.1:{} -tls1_3 </dev/null | grep -q 'Verification error: self-signed'",
            home.port
        );
        openssl(&home.dir, &connect);
        server.stop();
    }

    #[test]
    fn h33_the_wrong_scheme_is_named_with_the_right_one() {
        let wrong = |home: &Home, scheme: &str, other: &str, word: &str| {
            let url = format!("{scheme}://127.0.0.1:{}", home.port);
            let (code, _, err) = home.run(&["health", "--url", &url]);
            assert_eq!(code, 3, "{err}");
            let wanted = format!("it speaks {word}: {other}://127.0.0.1:{}", home.port);
            assert!(err.contains(&wanted), "{err}");
        };
        let home = Home::fix();
        let server = home.start();
        wrong(&home, "wss", "ws", "no TLS");
        server.stop();
        home.gateway("auth:{token:'T1'},tls:{enabled:true}");
        let server = home.start();
        wrong(&home, "ws", "wss", "TLS");
        server.stop();
    }
}
