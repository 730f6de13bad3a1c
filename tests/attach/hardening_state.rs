//! What stands in the state directory, by accident or by malice.

use crate::wire::{Device, Home, Offer, READ, Server, list};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A device that was paired, by its key alone.
fn expect_device(server: &Server, device: &Device, how: &str) {
    let offer = Offer::device(device).scopes(READ);
    assert!(server.try_connect(&offer).is_ok(), "{how}: the paired device is out\n{}", server.log());
    let stale = Offer::device(device).token(device.token()).scopes(READ);
    let client = server.try_connect(&stale);
    assert!(client.is_ok(), "{how}: the token of the old key costs the device its session\n{}", server.log());
    assert_ne!(
        client.unwrap_or_else(|_| unreachable!()).device_token(),
        device.token(),
        "{how}: a new token"
    );
}

fn no_keys() -> Vec<(&'static str, Vec<u8>)> {
    let mut torn = (1..=32).collect::<Vec<u8>>();
    torn.truncate(31);
    vec![
        ("0 bytes", Vec::new()),
        ("31 bytes", torn),
        ("33 bytes", (1..=33).collect()),
        ("zeros", vec![0; 32]),
        ("ones", vec![0xff; 32]),
        ("one byte", vec![7; 32]),
        ("4 KiB of zeros", vec![0; 4096]),
    ]
}

#[test]
fn h19_h20_what_is_no_key_is_set_aside_and_made_anew() {
    for (how, bytes) in no_keys() {
        let home = Home::fix();
        let server = home.start();
        let device = Device::pair(&server, READ);
        server.stop();
        let key = home.store().join("key");
        let before = fs::read(&key).unwrap();
        fs::write(&key, &bytes).unwrap();
        let found = home.run(&["doctor"]);
        assert!(found.0 != 0 && found.1.contains("barnacle/key"), "{how}: doctor names the key: {found:?}");
        assert!(!found.1.contains("tokens.bin*"), "{how}: doctor loses the pairings: {}", found.1);
        assert_eq!(fs::read(&key).unwrap(), bytes, "{how}: doctor changes nothing");
        let server = home.start();
        server.wait_log(&["no key. A new one was made"]);
        let now = fs::read(&key).unwrap();
        assert!(now.len() == 32 && now.iter().any(|b| *b != now[0]) && now != before, "{how}");
        assert_eq!(mode(&key), 0o600);
        assert_eq!(fs::read(home.store().join("key.damaged")).unwrap(), bytes, "{how}: kept");
        expect_device(&server, &device, how);
        server.stop();
        // The next start finds a key, and the next damage is kept beside the first.
        fs::write(&key, &bytes).unwrap();
        let server = home.start();
        expect_device(&server, &device, how);
        assert_eq!(fs::read(home.store().join("key.damaged.1")).unwrap(), bytes, "{how}: kept too");
    }
}

/// A card that loses the key of a running gateway: the next commit puts it back.
#[test]
fn h19_a_key_that_is_wiped_while_it_is_in_use_is_written_again() {
    let home = Home::fix();
    let server = home.start();
    let key = home.store().join("key");
    let before = fs::read(&key).unwrap();
    fs::write(&key, [0; 32]).unwrap();
    Device::pair(&server, READ);
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn h14_no_link_is_followed_in_the_state_directory() {
    for name in ["lock", "key", "tokens.bin.tmp", "key.tmp", "openclaw.json.last", "openclaw.json.last.tmp"] {
        let home = Home::fix();
        fs::create_dir_all(home.store()).unwrap();
        let victim = home.dir.join("victim");
        fs::write(&victim, "of another").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&victim, home.store().join(name)).unwrap();
        let server = home.start();
        server.admin();
        Device::pair(&server, READ);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of another", "{name}");
        assert_eq!(mode(&victim), 0o644, "{name}");
        if name == "lock" {
            server.wait_log(&["lock was a link"]);
            let second = home.run(&["gateway", "--port", "1"]);
            assert!(second.0 == 78, "the lock holds: {second:?}");
        }
        server.stop();
    }
    // The registry itself is not read through a link: it could be anybody's.
    let home = Home::fix();
    let server = home.start();
    Device::pair(&server, READ);
    server.stop();
    let away = home.dir.join("tokens.bin");
    fs::rename(home.tokens(), &away).unwrap();
    symlink(&away, home.tokens()).unwrap();
    let (code, _, err) = home.run(&["gateway"]);
    assert!(code == 78 && err.contains("is a link"), "{err}");
}

#[test]
fn h14_a_state_directory_that_others_can_write_is_reported() {
    for bits in [0o775, 0o770, 0o2770, 0o777] {
        let home = Home::fix();
        let dir = home.config_path().parent().unwrap().to_owned();
        fs::set_permissions(&dir, fs::Permissions::from_mode(bits)).unwrap();
        let server = home.start();
        let line = server.wait_log(&["can be written by others"]);
        assert!(line.contains(&format!("chmod go-w {}", dir.display())), "{line}");
        let notices = list(&server.admin().ok("status", "{}"), "barnacle.notices").join("\n");
        assert!(notices.contains("chmod go-w"), "{notices}");
        let found = home.run(&["doctor"]);
        assert!(found.0 != 0 && found.1.contains("chmod go-w"), "{found:?}");
    }
    let home = Home::fix();
    let dir = home.config_path().parent().unwrap().to_owned();
    chown(&dir, Some(4711), None).unwrap();
    let server = home.start();
    let line = server.wait_log(&["belongs to uid 4711"]);
    assert!(line.contains("sudo chown"), "{line}");
    let found = home.run(&["doctor"]);
    assert!(found.0 != 0 && found.1.contains("belongs to uid 4711"), "{found:?}");
}

#[test]
fn h14_a_file_of_another_account_is_not_applied() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    let path = home.config_path();
    let planted = home.dir.join("planted");
    fs::write(&planted, fs::read_to_string(&path).unwrap().replace("T1", "T-planted")).unwrap();
    chown(&planted, Some(4711), Some(4711)).unwrap();
    fs::rename(&planted, &path).unwrap();
    let line = server.wait_log(&["belongs to uid 4711"]);
    assert!(line.contains("not reloaded"), "{line}");
    server.refuse(&Offer::new().token("T-planted"));
    server.admin();
    admin.ok("health", "{}");
    // Its directory's owner may.
    chown(path.parent().unwrap(), Some(4711), None).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("T-planted", "T-owner")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), 4711);
    assert_eq!(admin.closed().0, 4001);
    server.connect(&Offer::new().token("T-owner"));
}

#[test]
fn h25_a_given_state_directory_needs_no_home() {
    let home = Home::fix();
    let state = home.config_path().parent().unwrap().to_owned();
    let mut command = home.command(&["gateway", "--port", &home.port.to_string()]);
    command.env_remove("HOME").env("OPENCLAW_STATE_DIR", &state);
    let server = Server::spawn(command, home.port);
    server.admin();
}

/// An account without an entry in passwd(5), whose HOME is `/`.
#[test]
fn h25_the_folder_that_lacks_the_right_is_named() {
    let home = Home::empty();
    fs::set_permissions(&home.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let program = home.dir.join("barnacle");
    fs::copy(home.command(&[]).get_program(), &program).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "54321", "--clear-groups"]).arg(&program);
    command.args(["gateway", "--port", &home.port.to_string()]);
    command.env_clear().env("HOME", "/").env("PATH", std::env::var_os("PATH").unwrap());
    let server = Server::spawn(command, home.port);
    let line = server.wait_log(&["cannot be made"]);
    assert!(line.contains("uid 54321 may not write to /;") && line.contains("OPENCLAW_STATE_DIR="), "{line}");
}

/// Taken away while no device is paired, or with the lock's file alone: another gateway must not begin there.
#[test]
fn h42_a_state_directory_that_is_made_anew_is_locked() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    while !home.store().join("openclaw.json.last").exists() {
        admin.ok("health", "{}");
    }
    let expect_locked = |how: &str| {
        let (code, _, err) = home.run(&["gateway", "--port", "1"]);
        let holder = format!("already runs on {} (process {})", home.store().display(), server.pid());
        assert!(code == 78 && err.contains(&holder), "{how}: {code} {err}");
    };
    fs::rename(home.config_path().parent().unwrap(), home.dir.join("away")).unwrap();
    server.wait_log(&["was gone, and is written again"]);
    expect_locked("the directory");
    fs::remove_file(home.store().join("lock")).unwrap();
    Device::pair(&server, READ);
    expect_locked("the lock");
}
