//! Ways in which files change: editors, tools, symlinks, includes, and files that cannot be read.

use super::json5::Config;
use crate::wire::{ADMIN, Client, Device, Home, Offer, READ, Server, Strace, flag, items, json, list, text};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A gateway, and an administrator who sees its reloads.
struct Watched {
    home: Home,
    server: Server,
    admin: Client,
}

impl Watched {
    fn new(config: &Config, home: Home) -> Self {
        home.config(&config.text());
        Self::started(home)
    }

    fn started(home: Home) -> Self {
        let server = home.start();
        let device = Device::pair(&server, ADMIN);
        let admin = server.connect(&Offer::device(&device).token(device.token()).scopes(ADMIN));
        Self { home, server, admin }
    }

    /// The next reload: whether it went well, what changed, and what was wrong.
    fn reloaded(&mut self) -> (bool, Vec<String>, String) {
        let event = self.admin.event("config.reloaded");
        (flag(&event, "payload.ok"), list(&event, "payload.changed"), text(&event, "payload.issue"))
    }

    /// Waits for the reload that brings in the token `token`, and sees that it counts.
    fn expect_token(&mut self, token: &str, how: &str) {
        let (ok, changed, issue) = self.reloaded();
        assert!(ok && changed == ["gateway.auth.token"], "{how}: {changed:?} {issue}");
        let connected = self.server.try_connect(&Offer::new().token(token).scopes(READ));
        assert!(connected.is_ok(), "{how}: {token} does not count\n{}", self.server.log());
    }
}

fn sh(dir: &Path, script: &str) {
    let done = Command::new("sh").args(["-euc", script]).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

fn with_token(port: u16, token: &str) -> String {
    Config::new(port).set("gateway.auth.token", &format!("'{token}'")).text()
}

#[test]
fn every_way_to_save_a_file_is_seen_once() {
    let home = Home::empty();
    let mut w = Watched::new(&Config::new(home.port), home);
    let dir = w.home.config_path().parent().unwrap().to_owned();
    // In place, jq and mv, an editor that renames the old file away, tee, cp, a new link, a half and its rest.
    let ways = [
        "sed -i 's/NOW/NEXT/' openclaw.json",
        "sed 's/NOW/NEXT/' openclaw.json > x && mv x openclaw.json",
        "sed 's/NOW/NEXT/' openclaw.json > 4913 && mv openclaw.json openclaw.json~ && mv 4913 openclaw.json \
         && rm openclaw.json~",
        "sed 's/NOW/NEXT/' openclaw.json > x && tee openclaw.json < x > /dev/null",
        "sed 's/NOW/NEXT/' openclaw.json > x && cp x openclaw.json && rm x",
        "sed 's/NOW/NEXT/' openclaw.json > x && rm openclaw.json && ln x openclaw.json && rm x",
        "sed 's/NOW/NEXT/' openclaw.json > x && { head -c 40 x; tail -c +41 x; } > openclaw.json",
    ];
    for (n, way) in ways.iter().enumerate() {
        let (now, next) = (format!("T{}", n + 1), format!("T{}", n + 2));
        sh(&dir, &way.replace("NOW", &now).replace("NEXT", &next));
        w.expect_token(&next, way);
    }
    let reloads = w.server.log().matches("configuration reloaded").count();
    assert_eq!(reloads, ways.len(), "each once:\n{}", w.server.log());
}

/// As a config map is mounted: the name is a link into a folder that is itself a link, and can be turned to v2.
fn linked() -> (Home, u16, PathBuf) {
    let home = Home::empty();
    let (port, dir) = (home.port, home.config_path().parent().unwrap().to_owned());
    fs::create_dir_all(dir.join("v1")).unwrap();
    fs::create_dir_all(dir.join("v2")).unwrap();
    fs::write(dir.join("v1/c.json"), with_token(port, "T1")).unwrap();
    fs::write(dir.join("v2/c.json"), with_token(port, "T2")).unwrap();
    sh(&dir, "ln -s v1 data && ln -s data/c.json openclaw.json");
    (home, port, dir)
}

#[test]
fn symlinks_and_their_targets_are_watched() {
    let (home, port, dir) = linked();
    let mut w = Watched::started(home);
    sh(&dir, "ln -s v2 next && mv -T next data");
    w.expect_token("T2", "the folder's link is turned");
    fs::write(dir.join("v2/c.json"), with_token(port, "T3")).unwrap();
    w.expect_token("T3", "the file is written where the link leads");
    sh(&dir, "cp v1/c.json x && mv x openclaw.json");
    w.expect_token("T1", "a file in the link's place");
}

#[test]
fn a_write_before_a_new_symlink_target_is_watched_counts() {
    let (home, port, dir) = linked();
    let mut w = Watched::started(home);
    // The gateway comes to watch late where a link leads.
    let pid = w.server.pid();
    let late = "inject=inotify_add_watch:delay_enter=100000";
    let _late = Strace::attach(pid, &["-e", "trace=inotify_add_watch", "-e", late]);
    sh(&dir, "ln -s v2 next && mv -T next data");
    assert_eq!(w.reloaded().1, ["gateway.auth.token"]);
    fs::write(dir.join("v2/c.json"), with_token(port, "T3")).unwrap();
    w.expect_token("T3", "the file is written where the link leads, before that is watched");
}

#[test]
fn included_files_are_watched_as_they_come_and_go() {
    let home = Home::empty();
    let (port, dir) = (home.port, home.config_path().parent().unwrap().to_owned());
    let root = |auth: &str| {
        format!("{{gateway: {{mode: 'local', port: {port}, reload: {{debounceMs: 5}}, auth: {auth}}}}}")
    };
    let (included, plain) = (root("{$include: './sub/auth.json5'}"), root("{mode: 'token', token: 'T9'}"));
    home.config(&included);
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/auth.json5"), "{mode: 'token', token: 'T1'}").unwrap();
    let mut w = Watched::started(home);
    fs::write(dir.join("sub/auth.json5"), "{mode: 'token', $include: './deep.json5'}").unwrap();
    let (ok, _, issue) = w.reloaded();
    assert!(!ok && issue.contains("sub/auth.json5:1:") && issue.contains("no such file"), "{issue}");
    w.server.connect(&Offer::new().token("T1"));
    fs::write(dir.join("sub/deep.json5"), "{token: 'T2'}").unwrap();
    w.expect_token("T2", "a missing include appears");
    fs::write(dir.join("sub/deep.json5"), "{token: 'T3'").unwrap();
    let (ok, _, issue) = w.reloaded();
    assert!(!ok && issue.contains("deep.json5:1:1"), "{issue}");
    fs::write(dir.join("sub/deep.json5"), "{token: 'T4'}").unwrap();
    w.expect_token("T4", "and is fixed");
    w.home.config(&plain);
    w.expect_token("T9", "the include is gone");
    // It is nobody's file now.
    fs::write(dir.join("sub/deep.json5"), "{token: 'T5'}").unwrap();
    w.home.config(&included);
    w.expect_token("T5", "and is back");
    fs::write(dir.join(".env"), "SHARED=T6\n").unwrap();
    fs::write(dir.join("sub/deep.json5"), "{token: '${SHARED}'}").unwrap();
    w.expect_token("T6", "a variable of .env");
    fs::write(dir.join(".env"), "SHARED=T7\n").unwrap();
    let (ok, changed, _) = w.reloaded();
    assert!(ok && changed.is_empty(), "the files themselves did not change: {changed:?}");
    w.server.connect(&Offer::new().token("T7"));
}

#[test]
fn a_file_reference_is_watched() {
    let home = Home::empty();
    let (port, dir) = (home.port, home.config_path().parent().unwrap().to_owned());
    home.config(&format!(
        "{{gateway: {{mode: 'local', port: {port}, reload: {{debounceMs: 5}}, auth: {{mode: 'token',
           token: {{source: 'file', provider: 'kept', id: 'value'}}}}}},
           secrets: {{providers: {{kept: {{source: 'file', path: '{}/token', mode: 'singleValue'}}}}}}}}",
        dir.display()
    ));
    let write = |token: &str| sh(&dir, &format!("umask 077; echo {token} > x && mv x token"));
    write("T1");
    let mut w = Watched::started(home);
    for token in ["T2", "T3"] {
        write(token);
        let (ok, changed, issue) = w.reloaded();
        assert!(ok && changed.is_empty(), "{changed:?} {issue}");
        w.server.connect(&Offer::new().token(token).scopes(READ));
        w.server.refuse(&Offer::new().token("T1").scopes(READ));
    }
}

#[test]
fn an_unreadable_file_changes_nothing_and_is_reported() {
    let home = Home::empty();
    let mut w = Watched::new(&Config::new(home.port), home);
    let whole = fs::read_to_string(w.home.config_path()).unwrap();
    let mut agent = w.server.admin();
    let half = &whole[..whole.len() / 2];
    let two = format!("{whole}{whole}");
    let rows: [(&str, &str); 6] = [
        ("", "the file is empty"),
        (half, "openclaw.json:"),
        (&two, "openclaw.json:"),
        ("[]", "does not hold an object"),
        ("\u{0}\u{1}\u{2}", "openclaw.json:1:1"),
        ("{gateway: {auth: {token: 'sk-secret", "Unterminated"),
    ];
    for (broken, words) in rows {
        w.home.config(broken);
        let (ok, _, issue) = w.reloaded();
        assert!(!ok && issue.contains(words) && issue.contains("what it runs with"), "{broken:?}: {issue}");
        assert!(!issue.contains("sk-secret"));
        agent.ok("health", "{}");
        let status = list(&agent.ok("status", "{}"), "barnacle.notices").join("\n");
        assert!(status.contains(words), "{status}");
        let shown = agent.ok("config.get", "{}");
        assert!(!flag(&shown, "valid"), "{}", json(&shown));
        assert!(
            items(&shown, "issues").iter().any(|i| text(i, "message").contains(words)),
            "{}",
            json(&shown)
        );
        w.server.connect(&Offer::new().token("T1"));
        assert_eq!(fs::read_to_string(w.home.config_path()).unwrap(), broken, "not our file to fix");
    }
    let path = w.home.config_path();
    fs::remove_file(&path).unwrap();
    let (ok, _, issue) = w.reloaded();
    assert!(!ok && issue.contains("openclaw.json is gone"), "{issue}");
    w.home.config(&whole);
    w.server.wait_log(&["can be read again"]);
    let status = list(&agent.ok("status", "{}"), "barnacle.notices").join("\n");
    assert!(!status.contains("what it runs with"), "{status}");
    // 100 MB, a pipe, a folder, a deep pit: no harm and no wait.
    fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    assert!(w.reloaded().2.contains("104857600 bytes, more than"), "{}", w.server.log());
    fs::remove_file(&path).unwrap();
    sh(path.parent().unwrap(), "mkfifo pipe && mv pipe openclaw.json");
    while !w.reloaded().2.contains("no regular file") {}
    sh(path.parent().unwrap(), "rm openclaw.json && mkdir openclaw.json");
    while !w.reloaded().2.contains("cannot be read") {}
    fs::remove_dir(&path).unwrap();
    w.home.config(&format!("{{a: {}{}}}", "[".repeat(50_000), "]".repeat(50_000)));
    while !w.reloaded().2.contains("depth") {}
    agent.ok("health", "{}");
}

#[test]
fn a_file_that_is_gone_at_the_start_is_not_a_first_start() {
    let home = Home::fix();
    let server = home.start();
    server.admin();
    server.stop();
    let path = home.config_path();
    for broken in [None, Some(""), Some("{}{}")] {
        match broken {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => home.config(text),
        }
        let server = home.start();
        server.wait_log(&["what it ran with last"]);
        server.admin();
        assert_eq!(path.exists(), broken.is_some(), "no file is made up");
        server.stop();
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    home.start().admin();
}

#[test]
fn off_keeps_changes_for_the_next_start() {
    let home = Home::empty();
    let mut config = Config::new(home.port);
    config.set("gateway.reload.mode", "'off'");
    let w = Watched::new(&config, home);
    w.home.config(&config.set("gateway.auth.token", "'T2'").text());
    let line = w.server.wait_log(&["gateway.reload.mode is \"off\""]);
    assert!(line.contains("gateway.auth.token") && line.contains("barnacle gateway restart"), "{line}");
    let mut old = w.server.admin();
    assert!(list(&old.ok("status", "{}"), "barnacle.notices").iter().any(|n| n.contains("is \"off\"")));
    w.server.stop();
    let server = w.home.start();
    server.connect(&Offer::new().token("T2"));
}

#[test]
fn hup_reads_at_once() {
    let home = Home::empty();
    let mut config = Config::new(home.port);
    // A minute of quiet: nothing but the signal brings it in.
    config.set("gateway.reload.debounceMs", "60000");
    let mut w = Watched::new(&config, home);
    w.home.config(&config.set("gateway.auth.token", "'T2'").text());
    crate::wire::signal(w.server.pid(), "HUP");
    w.expect_token("T2", "SIGHUP");
}

#[test]
fn without_inotify_the_files_are_polled() {
    let home = Home::empty();
    let mut config = Config::new(home.port);
    home.config(&config.text());
    // A user namespace of its own, so that nobody else is left without a watch.
    let none = "echo 0 > /proc/sys/user/max_inotify_instances";
    let server = home.start_unshared(&["--user", "--map-root-user"], none, &[]);
    server.wait_log(&["cannot be watched", "max_user_instances"]);
    home.config(&config.set("gateway.auth.token", "'T2'").text());
    server.wait_log(&["configuration reloaded: gateway.auth.token"]);
    server.connect(&Offer::new().token("T2"));
    assert_eq!(server.log().matches("cannot be watched").count(), 1, "told once");
}

#[test]
fn a_directory_full_of_other_files_costs_nothing() {
    let home = Home::empty();
    let mut w = Watched::new(&Config::new(home.port), home);
    let dir = w.home.config_path().parent().unwrap().to_owned();
    sh(
        &dir,
        "mkdir -p workspace && cd workspace && seq 5000 | xargs mkdir && seq -f '%.0f/x' 5000 | xargs touch",
    );
    fs::write(w.home.config_path(), with_token(w.home.port, "T2")).unwrap();
    w.expect_token("T2", "beside a full workspace");
    let open = fs::read_dir(format!("/proc/{}/fd", w.server.pid())).unwrap().count();
    assert!(open < 32, "{open} descriptors");
}
