//! Configuration files that are mounted, read-only, owned by others or on a full disk, and concurrent writers.

use crate::wire::{Home, Server, json, text};
use nanoserde::SerJson;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Who these tests play besides root.
const NOBODY: u32 = 65534;

fn with(text: &str) -> Home {
    let home = Home::empty();
    home.config(text);
    home
}

fn read(home: &Home) -> String {
    fs::read_to_string(home.config_path()).unwrap()
}

fn backup(home: &Home) -> PathBuf {
    home.config_path().with_extension("json.bak")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The program as somebody else may run it. `cp` writes it, for a file that this process has open for
/// writing cannot be run.
fn as_nobody(home: &Home, args: &[&str]) -> Output {
    let program = home.dir.join("program");
    if !program.exists() {
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_barnacle")).arg(&program).status().unwrap();
        assert!(copied.success());
    }
    Command::new(program)
        .args(args)
        .env_clear()
        .env("HOME", &home.dir)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap()
}

/// Gives a tree away.
fn give(path: &Path, to: u32) {
    chown(path, Some(to), Some(to)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|e| give(&e.path(), to));
    }
}

#[track_caller]
fn done(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    printed
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stderr);
    words.iter().for_each(|word| assert!(printed.contains(word), "{word} is not in: {printed}"));
}

/// `script` in a mount namespace of its own, with the home's environment; `$0` is the program.
fn in_namespace(home: &Home, script: &str) -> Output {
    let barnacle = env!("CARGO_BIN_EXE_barnacle");
    Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", script, barnacle])
        .env("HOME", &home.dir)
        .output()
        .unwrap()
}

#[test]
fn a_mounted_file_is_written_in_place() {
    let home = with("{a: 1, // the first\n}");
    let host = home.dir.join("host.json");
    fs::write(&host, read(&home)).unwrap();
    let inode = fs::metadata(&host).unwrap().ino();
    let script = "mount --bind \"$HOME/host.json\" \"$HOME/.openclaw/openclaw.json\"; \"$0\" config set b longer; \
                  \"$0\" config set a '{}'; cat \"$HOME/.openclaw/openclaw.json\"";
    let printed = done(&in_namespace(&home, script));
    assert!(printed.contains("Updated b.") && printed.contains("a: {}"), "{printed}");
    assert_eq!(
        fs::read_to_string(&host).unwrap(),
        "{a: {}, b: \"longer\", // the first
}"
    );
    assert_eq!(fs::metadata(&host).unwrap().ino(), inode);
    assert!(fs::read_to_string(backup(&home)).unwrap().contains("a: 1"));
    assert_eq!(
        fs::read_to_string(home.config_path().with_extension("json.bak.1")).unwrap(),
        "{a: 1, // the first\n}"
    );
}

#[test]
fn a_full_disk_loses_nothing() {
    let home = with("{}");
    // Once by renaming, once in place: in neither case is there room.
    let script = "mount -t tmpfs -o size=64k none \"$HOME/.openclaw\"; cd \"$HOME/.openclaw\"; \
                  echo '{a: 1}' > openclaw.json; head -c 70000 /dev/zero > fill || true; \
                  \"$0\" config set big \"$(head -c 9000 /dev/zero | tr '\\0' x)\" && exit 9; \
                  ln openclaw.json other; : > small; \
                  \"$0\" config set big \"$(head -c 9000 /dev/zero | tr '\\0' x)\" && exit 9; \
                  ls; cat openclaw.json";
    let output = in_namespace(&home, script);
    let printed = done(&output);
    assert!(printed.ends_with("{a: 1}\n") && !printed.contains(".tmp"), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("No space left on device").count(), 3, "{errors}");
    assert!(errors.contains("nothing has changed"), "{errors}");
}

#[test]
fn a_read_only_file_stays_one() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    chmod(&home.config_path(), 0o444);
    let before = read(&home);
    let output = home.command(&["config", "set", "ui.x", "1"]).output().unwrap();
    refused(&output, 1, &["is read-only (mode 0444)", "chmod u+w ", "openclaw.json"]);
    let base = text(&client.ok("config.get", "{}"), "hash");
    let error = client.err("config.patch", &format!(r#"{{"raw":"{{ui:{{x:1}}}}","baseHash":"{base}"}}"#));
    assert!(text(&error, "message").contains("read-only (mode 0444)"), "{}", json(&error));
    assert_eq!(read(&home), before);
    assert!(!backup(&home).exists());
    assert_eq!(fs::metadata(home.config_path()).unwrap().mode() & 0o777, 0o444);
}

#[test]
fn a_file_of_another_owner_is_named() {
    let home = with("{gateway: {mode: 'local'}}");
    give(&home.dir, NOBODY);
    let config = home.config_path();
    chown(&config, Some(0), Some(0)).unwrap();
    let run = |args: &[&str]| as_nobody(&home, args);
    chmod(&config, 0o600);
    refused(&run(&["config", "set", "a", "1"]), 78, &["cannot be read (Permission denied", "ls -l"]);
    chmod(&config, 0o644);
    refused(
        &run(&["config", "set", "a", "1"]),
        1,
        &["belongs to uid 0 and this is uid 65534", "sudo chown 65534 "],
    );
    assert_eq!(read(&home), "{gateway: {mode: 'local'}}");
    assert_eq!(fs::read_dir(home.config_path().parent().unwrap()).unwrap().count(), 1, "nothing new");
    // Root does not take it from whoever has it.
    give(&config, NOBODY);
    done(&home.command(&["config", "set", "a", "1"]).output().unwrap());
    for file in [&config, &backup(&home)] {
        assert_eq!((fs::metadata(file).unwrap().uid(), fs::metadata(file).unwrap().gid()), (NOBODY, NOBODY));
    }
}

#[test]
fn a_file_in_a_read_only_directory_is_written_in_place() {
    let home = with("{a: 1}");
    give(&home.dir, NOBODY);
    let (config, state) = (home.config_path(), home.store());
    fs::create_dir(&state).unwrap();
    let dir = config.parent().unwrap();
    chown(dir, Some(0), Some(0)).unwrap();
    chmod(dir, 0o755);
    let run = || as_nobody(&home, &["config", "set", "a", "2"]);
    // Without a place for what was before, nothing is written.
    refused(&run(), 1, &["cannot be written (Permission denied", "nothing has changed"]);
    assert_eq!(read(&home), "{a: 1}");
    give(&state, NOBODY);
    done(&run());
    assert_eq!(read(&home), "{a: 2}");
    assert_eq!(fs::read_to_string(state.join("openclaw.json.bak")).unwrap(), "{a: 1}");
}

#[test]
fn a_managed_file_is_not_written() {
    let home = with("{a: 1}");
    for name in ["OPENCLAW_CONFIG_READONLY", "OPENCLAW_NIX_MODE"] {
        let output = home.command(&["config", "set", "a", "2"]).env(name, "1").output().unwrap();
        refused(&output, 1, &["is managed elsewhere"]);
    }
    assert_eq!(read(&home), "{a: 1}");
}

#[test]
fn temporary_files_of_a_killed_writer_are_removed() {
    let home = with("{a: 1}");
    let dir = home.config_path().parent().unwrap().to_owned();
    let left = ["openclaw.json.12.tmp", "openclaw.json.bak.9.tmp"];
    let others =
        ["openclaw.json.tmp", "openclaw.json.x.tmp", "openclaw.json.12.tmp.mine", "openclaw.json.last-good"];
    left.iter().chain(&others).for_each(|name| fs::write(dir.join(name), "").unwrap());
    done(&home.command(&["config", "set", "a", "2"]).output().unwrap());
    left.iter().for_each(|name| assert!(!dir.join(name).exists(), "{name}"));
    others.iter().for_each(|name| assert!(dir.join(name).exists(), "{name}"));
}

#[test]
fn a_broken_file_is_not_written_to() {
    for broken in
        [&b"{a: 1"[..], b"", b"{} {}", b"[1]", b"{a: 'caf\xe9'}", b"{a: {$include: './none.json5'}}"]
    {
        let home = with("");
        fs::write(home.config_path(), broken).unwrap();
        let code = if broken.contains(&0xe9) { 1 } else { 78 };
        let output = home.command(&["config", "set", "b", "2"]).output().unwrap();
        refused(&output, code, &["openclaw.json"]);
        assert_eq!(fs::read(home.config_path()).unwrap(), broken);
    }
}

/// Six programs of each kind at once, each with keys of its own.
#[test]
fn concurrent_writers_lose_nothing() {
    const EACH: u32 = 5;
    let home =
        with("// kept\n{\n  gateway: {mode: 'local', port: 0, auth: {mode: 'token', token: 'T1'}},\n}\n");
    let server = home.start();
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let (home, server) = (&home, &server);
            scope.spawn(move || {
                for n in 0..EACH {
                    done(
                        &home
                            .command(&["config", "set", &format!("cli{writer}.k{n}"), "1"])
                            .output()
                            .unwrap(),
                    );
                }
            });
            scope.spawn(move || patches(server, writer, EACH));
        }
    });
    let text = read(&home);
    let count = |word: &str| text.matches(word).count() as u32;
    assert_eq!(count(": 1"), 12 * EACH, "{text}");
    assert!(text.starts_with("// kept\n"));
    let names = fs::read_dir(home.config_path().parent().unwrap()).unwrap().flatten();
    assert!(!names.map(|e| e.file_name().into_string().unwrap()).any(|n| n.ends_with(".tmp")));
}

/// Patches over one connection; a conflict says so, and is tried again.
fn patches(server: &Server, writer: u32, each: u32) {
    let mut client = server.admin();
    for n in 0..each {
        loop {
            let base = text(&client.ok("config.get", "{}"), "hash");
            let raw = format!("{{rpc{writer}: {{k{n}: 1}}}}").serialize_json();
            match client.call("config.patch", &format!(r#"{{"raw":{raw},"baseHash":"{base}"}}"#)) {
                Ok(_) => break,
                Err(error) => {
                    assert!(
                        text(&error, "message").starts_with("config changed since last load"),
                        "{}",
                        json(&error)
                    );
                }
            }
        }
    }
}

#[test]
fn a_failed_read_is_retried() {
    let home = Home::fix();
    let server = home.start();
    let mut shared = server.admin();
    let descriptors = |most: &str| {
        let limit = format!("--nofile={most}:4096");
        let done = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status();
        assert!(done.unwrap().success());
    };
    // Nothing can be opened any more; what is open stays so.
    descriptors("4");
    home.gateway("auth:{mode:'token',token:'T1'},handshakeTimeoutMs:9000");
    server.wait_log(&["configuration not reloaded: "]);
    shared.ok("health", "{}");
    descriptors("1024");
    server.wait_log(&["configuration reloaded: +gateway.handshakeTimeoutMs"]);
    shared.ok("health", "{}");
}

#[test]
fn an_unreadable_dotenv_changes_nothing() {
    let home = Home::empty();
    home.gateway("auth:{mode:'token',token:'${SAFE}'}");
    let dotenv = home.config_path().with_file_name(".env");
    fs::write(&dotenv, "SAFE=T1").unwrap();
    let server = home.start();
    let mut shared = server.admin();
    fs::remove_file(&dotenv).unwrap();
    fs::create_dir(&dotenv).unwrap();
    let line = server.wait_log(&[".env cannot be read (Is a directory"]);
    assert!(line.ends_with("until it holds a whole value again: what it held before"), "{line}");
    shared.ok("health", "{}");
    server.admin();
    fs::remove_dir(&dotenv).unwrap();
    fs::write(&dotenv, "SAFE=T1").unwrap();
    server.wait_log(&["the shared secret's file holds"]);
    shared.ok("health", "{}");
}
