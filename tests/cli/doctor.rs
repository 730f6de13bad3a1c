//! `barnacle doctor` and `barnacle gateway status`: each finding on a home that has it, and its fix.

use crate::wire::{Device, Home, READ};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

/// Runs the doctor: its exit code, and what it says.
fn doctor(home: &Home, args: &[&str]) -> (i32, String) {
    let (code, out, err) = home.run(&[&["doctor"], args].concat());
    assert!(!err.contains("panicked"), "{err}");
    (code, out)
}

/// The finding that holds `word`: what, why, fix.
#[track_caller]
fn entry(text: &str, word: &str) -> String {
    let entries: Vec<_> = text.split("\n! ").flat_map(|t| t.split("\n- ")).collect();
    let found = entries.iter().find(|e| e.contains(word));
    let found = found.unwrap_or_else(|| panic!("no finding with {word:?} in:\n{text}"));
    assert_eq!(found.trim_end().lines().count(), 3, "what, why and fix of {word}: {found}");
    (*found).to_owned()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A home on which nothing is wrong, with a store.
fn well() -> Home {
    let home = Home::fix();
    chmod(&home.config_path(), 0o600);
    let server = home.start();
    Device::pair(&server, READ);
    Device::pair(&server, READ);
    server.stop();
    assert_eq!(doctor(&home, &[]), (0, "no problems found\n".into()));
    home
}

#[test]
fn a_broken_or_missing_file_is_one_finding() {
    let home = well();
    fs::write(home.config_path(), "{ gateway: ").unwrap();
    chmod(&home.config_path(), 0o600);
    let findings = |text: &str| text.lines().filter(|l| l.starts_with("! ") || l.starts_with("- ")).count();
    let text = doctor(&home, &[]).1;
    assert_eq!(findings(&text), 1, "{text}");
    fs::remove_file(home.config_path()).unwrap();
    let text = doctor(&home, &[]).1;
    assert_eq!(findings(&text), 1, "{text}");
}

#[test]
fn a_healthy_home_and_an_empty_one() {
    let home = well();
    let before = tree(&home);
    assert_eq!(doctor(&home, &["--fix"]).0, 0);
    assert_eq!(tree(&home), before, "it changed what was well");
    let empty = Home::empty();
    assert_eq!(doctor(&empty, &[]).0, 0);
    assert!(!empty.store().exists(), "looking made something");
    let server = home.start();
    assert_eq!(doctor(&home, &[]), (0, "no problems found\n".into()), "while it runs");
    server.stop();
}

/// Every file with its mode and content.
fn tree(home: &Home) -> Vec<(String, u32, Vec<u8>)> {
    let mut files: Vec<_> = [home.dir.join(".openclaw"), home.store()]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap().flatten())
        .map(|e| (e.path().display().to_string(), mode(&e.path()), fs::read(e.path()).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn permissions_are_reported_and_fixed() {
    let home = well();
    let key = home.store().join("key");
    chmod(&key, 0o644);
    chmod(&home.config_path(), 0o644);
    let (code, text) = doctor(&home, &[]);
    assert_eq!(code, 1);
    assert!(entry(&text, "barnacle/key is open").contains("chmod 600"), "{text}");
    assert!(entry(&text, "other accounts can read it").contains("chmod go-rwx"), "{text}");
    assert_eq!(mode(&key), 0o644, "without --fix nothing is changed");
    let (code, text) = doctor(&home, &["--fix"]);
    assert!(code == 0 && text.matches("fixed: ").count() == 2, "{text}");
    assert_eq!((mode(&key), mode(&home.config_path())), (0o600, 0o600));
    assert_eq!(doctor(&home, &[]).0, 0);
    // B61, B156: after sudo, and read-only.
    chown(home.config_path(), Some(12345), None).unwrap();
    chmod(&home.config_path(), 0o400);
    let (code, text) = doctor(&home, &["--fix"]);
    assert_eq!(code, 1, "an owner is not changed by itself");
    assert!(entry(&text, "belongs to uid 12345").contains("sudo chown 0:0"), "{text}");
    assert!(entry(&text, "is read-only (mode 0400)").contains("chmod u+w"), "{text}");
}

#[test]
fn odd_configurations() {
    let home = well();
    let port = home.port;
    let text = "{\n  gateway: { mode: \"local\", port: \"x\", hotCocoa: 1,\n    auth: { mode: \"token\", token: \"T1\" } }\n}\n";
    home.config(text);
    chmod(&home.config_path(), 0o600);
    let (code, output) = doctor(&home, &[]);
    assert_eq!(code, 1);
    assert!(entry(&output, "gateway.port is").contains("openclaw.json:2:35"), "{output}");
    assert!(entry(&output, "hotCocoa").contains("openclaw.json:2:"), "{output}");
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), text);
    home.config("{ half");
    let (code, output) = doctor(&home, &["--fix"]);
    assert!(code == 1 && entry(&output, "openclaw.json:1:").contains("last good configuration"), "{output}");
    assert_eq!(fs::read_to_string(home.config_path()).unwrap(), "{ half", "the file is the user's");
    home.config(&format!("{{gateway:{{mode:\"local\",bind:\"lan\",port:{port},auth:{{mode:\"none\"}}}}}}"));
    let output = doctor(&home, &[]).1;
    assert!(entry(&output, "gateway.bind is lan").contains("gateway.auth.mode"), "{output}");
    home.config("{gateway:{mode:\"remote\"}}");
    let (code, output) = doctor(&home, &[]);
    assert!(code == 1 && entry(&output, "gateway.mode is \"remote\"").contains("78"), "{output}");
}

#[test]
fn conflicting_tokens_and_unused_variables() {
    let home = well();
    let units = home.dir.join(".config/systemd/user");
    fs::create_dir_all(&units).unwrap();
    let unit = units.join("openclaw-gateway.service");
    fs::write(&unit, "[Service]\nEnvironment=OPENCLAW_GATEWAY_TOKEN=T-OLD-SECRET\n").unwrap();
    fs::create_dir(home.dir.join(".clawdbot")).unwrap();
    let out = home
        .command(&["doctor"])
        .env("OPENCLAW_GATEWAY_TOKEN", "T-ENV-SECRET")
        .env("MOLTBOT_X", "1")
        .output()
        .unwrap();
    let output = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(entry(&output, "openclaw-gateway.service").contains("AUTH_TOKEN_MISMATCH"), "{output}");
    assert!(entry(&output, "gateway.auth.token in").contains("unset OPENCLAW_GATEWAY_TOKEN"), "{output}");
    assert!(entry(&output, "MOLTBOT_X").contains("OPENCLAW_X"), "{output}");
    assert!(output.contains(".clawdbot"), "{output}");
    assert!(!output.contains("SECRET"), "a secret is shown: {output}");
    // The same value in a unit is only to be known.
    fs::write(&unit, "[Service]\nEnvironment=OPENCLAW_GATEWAY_TOKEN=T1\n").unwrap();
    fs::remove_dir(home.dir.join(".clawdbot")).unwrap();
    let (code, output) = doctor(&home, &[]);
    assert!(code == 0 && entry(&output, "openclaw-gateway.service").contains("outlives"), "{output}");
}

#[test]
fn damaged_stores_are_reported_and_left_alone() {
    let home = well();
    fs::write(home.tokens(), b"BARNACLE").unwrap();
    let before = tree(&home);
    let (code, output) = doctor(&home, &["--fix"]);
    assert!(
        code == 1 && entry(&output, "the previous one is intact").contains("barnacle devices list"),
        "{output}"
    );
    fs::write(home.store().join("tokens.bin.prev"), b"").unwrap();
    let (code, output) = doctor(&home, &["--fix"]);
    assert!(code == 1 && entry(&output, "tokens.bin").contains("restore it from a backup"), "{output}");
    assert_eq!(tree(&home).len(), before.len());
    assert_eq!(fs::read(home.tokens()).unwrap(), b"BARNACLE", "only a gateway repairs, at its start");
    fs::remove_file(home.tokens()).unwrap();
    fs::write(home.store().join("key"), b"short").unwrap();
    assert_eq!(doctor(&home, &[]).0, 1);
}

#[test]
fn a_rotated_token_that_its_device_has_not_used() {
    let home = Home::fix();
    chmod(&home.config_path(), 0o600);
    let server = home.start();
    let device = Device::pair(&server, READ);
    let (code, _, err) = home.run(&["devices", "rotate", &device.id(), "--role", "operator"]);
    assert_eq!(code, 0, "{err}");
    let (code, output) = doctor(&home, &[]);
    assert!(code == 0 && entry(&output, &device.id()).contains("has not used the token made"), "{output}");
    server.stop();
}

#[test]
fn a_port_that_is_held_names_who_holds_it() {
    let home = well();
    // B24, B86. The holder is this very process.
    let held = TcpListener::bind(("127.0.0.1", home.port)).unwrap();
    let (code, output) = doctor(&home, &["--timeout", "200"]);
    let pid = std::process::id().to_string();
    assert!(code == 1 && entry(&output, "is held by process").contains(&pid), "{output}");
    let (code, out, _) = home.run(&["gateway", "status", "--timeout", "200"]);
    assert!(code == 0 && out.contains("Connectivity probe: failed") && out.contains(&pid), "{out}");
    drop(held);
    assert_eq!(doctor(&home, &[]).0, 0);
}

#[test]
fn volatile_full_and_read_only_disks() {
    // B153, B63: a state directory on tmpfs, then nearly full, then read-only, each in a mount namespace.
    let home = well();
    let script = r#"
        mount --make-rprivate / && mount -t tmpfs -o size=17m,mode=700 tmpfs "$S" || exit 99
        "$B" doctor; head -c 4m /dev/zero > "$S/ballast"; "$B" doctor
        mount -o remount,ro "$S"; "$B" doctor"#;
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", &home.dir)
        .env("S", home.store())
        .env("B", env!("CARGO_BIN_EXE_barnacle"))
        .output()
        .unwrap();
    let output = String::from_utf8(out.stdout).unwrap();
    assert!(entry(&output, "is on tmpfs").contains("OPENCLAW_STATE_DIR"), "{output}");
    assert!(entry(&output, "left on the disk").contains("df -h"), "{output}");
    assert_eq!(output.matches("left on the disk").count(), 2, "{output}");
    assert!(entry(&output, "cannot be written by uid").contains("mount -o remount,rw"), "{output}");
}

#[test]
fn a_clock_before_its_files() {
    let home = well();
    let later = "2099-01-01";
    assert!(Command::new("touch").args(["-d", later]).arg(home.config_path()).status().unwrap().success());
    let (code, output) = doctor(&home, &[]);
    assert!(code == 0 && entry(&output, "the clock says").contains("2099-01-01"), "{output}");
}

#[test]
fn status_says_what_is_there_with_and_without_a_gateway() {
    let home = well();
    let (code, out, _) = home.run(&["gateway", "status"]);
    assert_eq!(code, 0, "as OpenClaw's does");
    assert!(out.contains("Service: none installed") && out.contains("Connectivity probe: failed"), "{out}");
    let (code, _, err) = home.run(&["gateway", "status", "--require-rpc"]);
    assert!(code == 3 && err.contains("nobody listens there"), "{err}");
    let server = home.start();
    let (code, out, _) = home.run(&["gateway", "status", "--require-rpc"]);
    assert_eq!(code, 0);
    assert!(out.contains(&format!("running (pid {})", server.pid())) && out.contains("probe: ok"), "{out}");
    let (_, json, _) = home.run(&["gateway", "status", "--json"]);
    for part in
        [format!(r#""port":{}"#, home.port), r#""bindMode":"loopback""#.into(), r#""valid":true"#.into()]
    {
        assert!(json.contains(&part), "no {part} in {json}");
    }
    miniserde::json::from_str::<miniserde::json::Value>(&json).unwrap();
    // Another state directory than that of the gateway that answers.
    let other = Home::fix();
    let port = home.port.to_string();
    let out = other.command(&["gateway", "status"]).env("OPENCLAW_GATEWAY_PORT", &port).output().unwrap();
    let output = String::from_utf8(out.stdout).unwrap();
    assert!(output.contains("it is another gateway than the one that is meant here"), "{output}");
    server.stop();
    // What is said there stays true when nobody is let in.
    let server = home.start();
    let (code, _, err) = home.run(&["gateway", "status", "--require-rpc", "--token", "wrong"]);
    assert!(code == 4, "{err}");
    server.stop();
}

#[cfg(feature = "tls")]
mod tls {
    use super::{Home, chmod, chown, doctor, entry, fs, mode, well};
    use barnacle::internals::tls::{Certificate, Files};
    use base64ct::{Base64, Encoding};
    use std::path::Path;

    /// A home with this in `gateway.tls`, beside what turns it on.
    fn asks(home: &Home, more: &str) {
        home.gateway(&format!("auth:{{token:'T1'}},tls:{{enabled:true{more}}}"));
    }

    fn made(home: &Home, dir: &str) -> Files {
        let dir = home.dir.join(dir);
        let files = Files { cert: dir.join("cert.pem"), key: dir.join("key.pem"), generate: true };
        Certificate::make(&files).unwrap();
        files
    }

    /// Has the certificate valid between these: nobody checks who signed it.
    fn dates(cert: &Path, from: &str, until: &str) {
        let text = fs::read_to_string(cert).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = Base64::decode_vec(&body).unwrap();
        let at = der.windows(2).position(|w| w == [0x17, 13]).unwrap();
        der[at + 2..at + 15].copy_from_slice(from.as_bytes());
        der[at + 17..at + 30].copy_from_slice(until.as_bytes());
        let body = Base64::encode_string(&der);
        fs::write(cert, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")).unwrap();
    }

    /// A date so many days from now, as certificates write it.
    fn day(days: i32) -> String {
        let command = format!("date -u -d '{days} days' +%y%m%d%H%M%SZ");
        let out = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().into()
    }

    #[test]
    fn the_certificate_and_its_key() {
        let home = well();
        let (files, other) = (made(&home, "a"), made(&home, "b"));
        let pair = |cert: &Path, key: &Path| asks(&home, &format!(",certPath:{cert:?},keyPath:{key:?}"));
        pair(&files.cert, &files.key);
        assert_eq!(doctor(&home, &[]), (0, "no problems found\n".into()));

        let none = home.dir.join("none.pem");
        let cases = [
            (&files.cert, &other.key, "is not the key of the certificate", "one issue"),
            (&files.cert, &none, "is missing. Put it there", "mv "),
            (&files.key, &files.key, "holds no certificate in PEM", "-inform der"),
            (&home.dir, &files.key, "it is no file", "barnacle config set gateway.tls.certPath"),
        ];
        for (cert, key, what, fix) in cases {
            pair(cert, key);
            let (code, output) = doctor(&home, &[]);
            assert_eq!(code, 1, "{output}");
            let entry = entry(&output, what);
            assert!(entry.contains("admits nobody") && entry.contains(fix), "{entry}");
            assert_eq!(output.matches("admits nobody").count(), 1, "{output}");
        }
        asks(&home, &format!(",autoGenerate:false,certPath:{none:?},keyPath:{none:?}"));
        assert!(entry(&doctor(&home, &[]).1, "autoGenerate is false").contains("autoGenerate true"));

        pair(&files.cert, &files.key);
        for (from, until, code, what) in [
            (day(-90), day(-1), 1, "was valid until"),
            (day(-90), day(3), 0, "is valid until"),
            (day(2), day(90), 1, "is valid from"),
        ] {
            dates(&files.cert, &from, &until);
            let (ended, output) = doctor(&home, &[]);
            assert_eq!(ended, code, "{output}");
            assert!(entry(&output, what).contains("fingerprint"), "{output}");
        }
        dates(&files.cert, &day(-90), &day(90));
        assert_eq!(doctor(&home, &[]), (0, "no problems found\n".into()));

        chmod(&files.key, 0o644);
        let (code, output) = doctor(&home, &[]);
        assert!(code == 1 && entry(&output, "mode 0644").contains("chmod o-rwx"), "{output}");
        assert_eq!(doctor(&home, &["--fix"]).0, 0);
        assert_eq!(mode(&files.key), 0o640);

        asks(&home, &format!(",certPath:{:?},keyPath:{:?},caPath:{:?}", files.cert, files.key, other.cert));
        let (code, output) = doctor(&home, &[]);
        let entry = entry(&output, "gateway.tls.caPath has no effect");
        assert!(code == 0 && entry.contains("no client is asked for a certificate"), "{output}");
        assert_eq!(output.matches("caPath").count(), 2, "{output}");
    }

    #[test]
    fn a_key_of_roots_under_a_gateway_of_somebody_elses() {
        if !rustix::process::geteuid().is_root() {
            return println!("only root can make another's file");
        }
        let home = well();
        let files = made(&home, "a");
        asks(&home, &format!(",certPath:{:?},keyPath:{:?}", files.cert, files.key));
        for path in [home.config_path(), home.config_path().parent().unwrap().into(), home.store()] {
            chown(path, Some(1234), Some(1234)).unwrap();
        }
        let (_, output) = doctor(&home, &[]);
        let entry = entry(&output, "key.pem is readable by uid 0 alone");
        assert!(entry.contains("sudo chown 1234"), "{entry}");
    }

    #[test]
    fn others_reach_it_and_nothing_is_encrypted() {
        let home = well();
        let bind = |bind: &str, tls: bool| {
            home.config(&format!(
                "{{gateway:{{mode:'local',bind:'{bind}',port:{},auth:{{token:'T1'}},tls:{{enabled:{tls}}}}}}}",
                home.port
            ));
            doctor(&home, &[])
        };
        let (code, output) = bind("lan", false);
        assert_eq!(code, 0, "{output}");
        let entry = entry(&output, "listens on every address, without TLS");
        assert!(entry.contains("barnacle config set gateway.tls.enabled true"), "{entry}");
        for (where_, tls) in [("lan", true), ("loopback", false)] {
            assert_eq!(bind(where_, tls), (0, "no problems found\n".into()), "{where_} {tls}");
        }
    }
}
