//! Files with secrets that blink, and texts that only stand for a secret.

use crate::wire::{ADMIN, Client, Home, Offer, READ, Server, flag, items, json, list, text};
use std::{fs, path::PathBuf, process::Command};

const OLD: &str = "T-old-0123456789abcdef";
const NEW: &str = "T-new-fedcba9876543210";

/// Where the shared secret of a gateway stands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    /// `OPENCLAW_GATEWAY_TOKEN` in `.env`.
    DotEnv,
    /// `${SHARED}`, from `.env`.
    Variable,
    /// A SecretRef to a file that holds nothing else.
    WholeFile,
    /// A SecretRef into a JSON file.
    JsonFile,
    /// The file of `--token-file`.
    TokenFile,
}

const PLACES: [Place; 5] =
    [Place::DotEnv, Place::Variable, Place::WholeFile, Place::JsonFile, Place::TokenFile];

/// A running gateway whose secret is at a place, and an administrator who holds nothing but that secret.
struct Kept {
    place: Place,
    file: PathBuf,
    home: Home,
    server: Server,
    admin: Client,
    changes: u32,
}

impl Kept {
    fn start(place: Place) -> Self {
        let home = Home::empty();
        let dir = home.config_path().parent().unwrap().to_owned();
        let file = match place {
            Place::DotEnv | Place::Variable => dir.join(".env"),
            _ => dir.join("shared"),
        };
        let auth = match place {
            Place::DotEnv | Place::TokenFile => "{mode: 'token'}",
            Place::Variable => "{mode: 'token', token: '${SHARED}'}",
            Place::WholeFile => "{mode: 'token', token: {source: 'file', provider: 'whole', id: 'value'}}",
            Place::JsonFile => "{mode: 'token', token: {source: 'file', provider: 'json', id: '/a/token'}}",
        };
        home.config(&format!(
            "{{gateway: {{mode: 'local', port: {}, reload: {{debounceMs: 5}}, auth: {auth}}}, secrets: {{providers: {{
               whole: {{source: 'file', path: '{1}', mode: 'singleValue'}},
               json: {{source: 'file', path: '{1}'}}}}}}}}",
            home.port,
            file.display()
        ));
        fs::write(&file, Self::content(place, OLD)).unwrap();
        chmod(&file, "600");
        let flag = ["--token-file", file.to_str().unwrap()];
        let flags: &[&str] = if place == Place::TokenFile { &flag } else { &[] };
        let server = home.start_with(flags, &[]);
        let admin = server.connect(&Offer::new().token(OLD).scopes(ADMIN));
        Self { place, file, home, server, admin, changes: 0 }
    }

    fn content(place: Place, token: &str) -> String {
        match place {
            Place::DotEnv => format!("FIRST=1\nOPENCLAW_GATEWAY_TOKEN={token}\nLAST=2\n"),
            Place::Variable => format!("FIRST=1\nSHARED={token}\nLAST=2\n"),
            Place::WholeFile | Place::TokenFile => format!("{token}\n"),
            Place::JsonFile => format!("{{\"a\": {{\"token\": \"{token}\"}}}}\n"),
        }
    }

    fn whole(&self, token: &str) -> String {
        Self::content(self.place, token)
    }

    /// Has the gateway read everything anew, by a change of something else.
    fn change_something_else(&mut self, how: &str) {
        self.changes += 1;
        let hash = text(&self.admin.ok("config.get", "{}"), "hash");
        let raw = format!("{{gateway: {{auth: {{rateLimit: {{maxAttempts: {}}}}}}}}}", 10 + self.changes);
        let params = format!(r#"{{"raw":"{raw}","baseHash":"{hash}"}}"#);
        let done = self.admin.call("config.patch", &params);
        assert!(done.is_ok_and(|d| flag(&d, "ok")), "{:?}, {how}\n{}", self.place, self.server.log());
    }

    /// Whoever is attached stays, and the secret of before lets in.
    fn expect_old(&mut self, how: &str) {
        let how = format!("{:?}, {how}", self.place);
        self.change_something_else(&how);
        self.admin.ok("health", "{}");
        let connected = self.server.try_connect(&Offer::new().token(OLD).scopes(READ));
        assert!(connected.is_ok(), "{how}: the secret of before lets nobody in\n{}", self.server.log());
        for part in ["T-old", &OLD[..12], "T-new", &NEW[..12]] {
            assert!(self.server.try_connect(&Offer::new().token(part)).is_err(), "{how}: {part} lets in");
        }
    }

    fn held(&mut self) -> Vec<String> {
        let notices = list(&self.admin.ok("status", "{}"), "barnacle.notices");
        notices.into_iter().filter(|line| line.contains("before")).collect()
    }
}

fn chmod(file: &std::path::Path, mode: &str) {
    assert!(Command::new("chmod").arg(mode).arg(file).status().unwrap().success());
}

fn sh(file: &std::path::Path, script: &str) {
    let dir = file.parent().unwrap();
    let done = Command::new("sh").args(["-euc", script]).env("F", file).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Each way in which the file is away for a moment, then back with what it held.
#[test]
fn h18_a_secret_file_that_blinks_changes_nothing() {
    for place in PLACES {
        let mut kept = Kept::start(place);
        let mut blinks = vec![
            ("truncated", ": > $F"),
            ("blank", "echo > $F"),
            ("removed", "rm $F"),
            ("moved away", "mv $F $F.away"),
            ("a directory", "rm $F && mkdir $F"),
            ("a pipe", "rm $F && mkfifo $F"),
            ("a link to nowhere", "rm $F && ln -s nowhere $F"),
            ("bytes", "head -c 64 /dev/zero > $F"),
        ];
        if matches!(place, Place::WholeFile | Place::JsonFile) {
            blinks.push(("open to others", "chmod 644 $F"));
            blinks.push(("a link", "rm -f $F.away; mv $F $F.away && ln -s $F.away $F"));
        }
        for (how, script) in blinks {
            // What it is in bytes is a value to a file that holds nothing else, and is waited for.
            sh(&kept.file, script);
            kept.expect_old(how);
            if how != "bytes" {
                let lines = kept.held();
                assert_eq!(lines.len(), 1, "{place:?}, {how}: told in status: {lines:?}");
                assert!(lines[0].contains(if place == Place::TokenFile { "shared" } else { "" }));
            }
            sh(&kept.file, "rm -rf $F");
            fs::write(&kept.file, kept.whole(OLD)).unwrap();
            chmod(&kept.file, "600");
            kept.expect_old(&format!("{how}, and back"));
            assert_eq!(kept.held(), Vec::<String>::new(), "{place:?}, {how}: it is back");
        }
        for n in [1, 5, 8, 12, 20, kept.whole(OLD).len() - 6] {
            let half = kept.whole(OLD)[..n].to_owned();
            fs::write(&kept.file, half).unwrap();
            kept.expect_old(&format!("the first {n} bytes of what it held"));
            let half = kept.whole(NEW)[..n].to_owned();
            fs::write(&kept.file, half).unwrap();
            kept.expect_old(&format!("the first {n} bytes of what it is to hold"));
            fs::write(&kept.file, kept.whole(OLD)).unwrap();
            kept.expect_old("whole again");
        }
        // Another whole value counts, as ever, and closes connections with the one before.
        fs::write(&kept.file, kept.whole(NEW)).unwrap();
        assert_eq!(kept.admin.closed().0, 4001, "{place:?}");
        kept.server.connect(&Offer::new().token(NEW).scopes(ADMIN));
        kept.server.refuse(&Offer::new().token(OLD));
        drop(kept.home);
    }
}

/// Nobody asks for a reload: the gateway sees the file itself, says so once, and stays at what it has.
#[test]
fn h18_a_missing_secret_is_reported_once_and_waited_for() {
    for place in [Place::DotEnv, Place::Variable, Place::WholeFile, Place::TokenFile] {
        let mut kept = Kept::start(place);
        fs::remove_file(&kept.file).unwrap();
        kept.server.wait_log(&["until it holds a whole value again"]);
        kept.expect_old("gone");
        kept.change_something_else("gone still");
        let count = kept.server.log().matches("until it holds a whole value again").count();
        assert_eq!(count, 1, "{place:?}: once\n{}", kept.server.log());
        // The next image of the process would know nothing of it.
        let restart = kept.admin.call("gateway.restart.request", "{}");
        assert!(restart.is_err() || !flag(&restart.unwrap(), "restarted"), "{place:?}");
        fs::write(&kept.file, kept.whole(NEW)).unwrap();
        chmod(&kept.file, "600");
        assert_eq!(kept.admin.closed().0, 4001, "{place:?}");
        kept.server.connect(&Offer::new().token(NEW));
    }
}

/// A line that is gone from a `.env` that is otherwise whole, for good.
#[test]
fn h18_a_variable_that_is_gone_keeps_what_it_was() {
    for place in [Place::DotEnv, Place::Variable] {
        let mut kept = Kept::start(place);
        fs::write(&kept.file, "FIRST=1\n").unwrap();
        kept.expect_old("the line is gone");
        kept.server.wait_log(&["the token from before is used"]);
        kept.expect_old("the line is gone for good");
        assert_eq!(kept.held().len(), 1, "{place:?}");
    }
}

/// A kill, or a start from nothing, while the file is away: what ran last lets in, and nothing else.
#[test]
fn h39_a_secret_whose_file_is_away_at_a_start_is_the_one_that_ran_last() {
    for place in PLACES {
        for script in ["rm $F", ": > $F"] {
            let how = format!("{place:?}, {script}");
            let Kept { file, home, server, mut admin, .. } = Kept::start(place);
            while !home.store().join("secret.last").exists() {
                admin.ok("health", "{}");
            }
            let config = fs::read_to_string(home.config_path()).unwrap();
            server.kill();
            sh(&file, script);
            let flag = ["--token-file", file.to_str().unwrap()];
            let flags: &[&str] = if place == Place::TokenFile { &flag } else { &[] };
            let server = home.start_with(flags, &[]);
            server.refuse(&Offer::new().token(NEW));
            let connected = server.try_connect(&Offer::new().token(OLD).scopes(ADMIN));
            let mut admin = connected.unwrap_or_else(|_| panic!("{how}:\n{}", server.log()));
            let notices = list(&admin.ok("status", "{}"), "barnacle.notices").join("\n");
            assert_eq!(notices.matches("that was used last").count(), 1, "{how}: {notices}");
            assert_eq!(fs::read_to_string(home.config_path()).unwrap(), config, "{how}: no token is made");
            let stored = fs::read(home.store().join("secret.last")).unwrap();
            assert!(!String::from_utf8_lossy(&stored).contains("T-old"), "{how}");
            // A change of something else is applied meanwhile.
            let text = fs::read_to_string(home.config_path()).unwrap();
            home.config(&text.replace("debounceMs: 5", "debounceMs: 6"));
            server.wait_log(&["configuration reloaded"]);
            server.connect(&Offer::new().token(OLD));
            // It is back: nobody is closed.
            fs::write(&file, Kept::content(place, OLD)).unwrap();
            chmod(&file, "600");
            server.wait_log(&["holds a whole value again"]);
            admin.ok("health", "{}");
            // Another one counts, now and at the next start.
            fs::write(&file, Kept::content(place, NEW)).unwrap();
            assert_eq!(admin.closed().0, 4001, "{how}");
            server.connect(&Offer::new().token(NEW));
            server.refuse(&Offer::new().token(OLD));
        }
    }
}

/// A secret that stands in `openclaw.json` itself is kept with that, and one that may be guessed not at all.
#[test]
fn h39_only_what_needs_to_be_kept_is() {
    let mut kept = Kept::start(Place::WholeFile);
    let last = kept.home.store().join("secret.last");
    while !last.exists() {
        kept.admin.ok("health", "{}");
    }
    fs::write(&kept.file, "short-password\n").unwrap();
    assert_eq!(kept.admin.closed().0, 4001);
    let mut admin = kept.server.connect(&Offer::new().token("short-password"));
    while last.exists() {
        admin.ok("health", "{}");
    }
}

/// A value without a final newline counts, if it stays.
#[test]
fn h18_a_value_without_a_newline_is_taken_when_it_stays() {
    let mut kept = Kept::start(Place::WholeFile);
    fs::write(&kept.file, NEW).unwrap();
    assert_eq!(kept.admin.closed().0, 4001);
    kept.server.connect(&Offer::new().token(NEW));
}

const PLACEHOLDERS: [&str; 9] = [
    "__OPENCLAW_REDACTED__",
    "<redacted>",
    "[REDACTED]",
    "REDACTED",
    "***",
    "<your-token>",
    "xxxxxxxx",
    "•••••••",
    "${TOKEN_OF_NOBODY}",
];

/// A placeholder is no secret wherever it stands, and whoever runs, looks or sends it is told.
#[test]
fn h22_a_placeholder_is_no_secret() {
    for placeholder in PLACEHOLDERS {
        for place in ["env", "dotenv", "config"] {
            let home = Home::empty();
            home.config(&format!(
                "{{gateway: {{mode: 'local', port: {}, auth: {{mode: 'token'}}}}}}",
                home.port
            ));
            let mut vars = Vec::new();
            match place {
                "env" => vars.push(("OPENCLAW_GATEWAY_TOKEN", placeholder)),
                "dotenv" => fs::write(
                    home.config_path().with_file_name(".env"),
                    format!("OPENCLAW_GATEWAY_TOKEN='{placeholder}'\n"),
                )
                .unwrap(),
                _ => home.auth(&format!("{{mode:'token',token:'{placeholder}'}}")),
            }
            let server = home.start_with(&[], &vars);
            let refused = server.refuse(&Offer::new().token(placeholder).scopes(READ));
            let how = format!("{place} {placeholder}: {}", json(&refused.error));
            let line = server.wait_log(&["placeholder", "is set neither", "nobody replaced"]);
            assert!(line.contains("TOKEN") || line.contains("gateway.auth.token"), "{how}: {line}");
            if place != "config" && !placeholder.starts_with('$') {
                assert!(json(&refused.error).contains("a placeholder"), "the sender is told: {how}");
            }
        }
        let home = Home::empty();
        let file = home.dir.join("token");
        fs::write(&file, format!("{placeholder}\n")).unwrap();
        let flag = home.run(&["gateway", "--token-file", file.to_str().unwrap()]);
        assert!(flag.0 == 78 && flag.2.contains("placeholder"), "{placeholder}: {flag:?}");
        let flag = home.run(&["gateway", "--token", placeholder]);
        assert!(flag.0 != 0 && flag.2.contains("placeholder"), "{placeholder}: {flag:?}");
    }
}

/// A program that was shown placeholders writes them back: the secret in force stays.
#[test]
fn h22_a_placeholder_written_over_the_secret_changes_nothing() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    home.auth("{mode:\"token\",token:\"__OPENCLAW_REDACTED__\"}");
    server.wait_log(&["the token from before is used"]);
    server.connect(&Offer::new().token("T1").scopes(READ));
    server.refuse(&Offer::new().token("__OPENCLAW_REDACTED__"));
    let notices = list(&admin.ok("status", "{}"), "barnacle.notices").join("\n");
    assert!(notices.contains("placeholder"), "{notices}");
    let found = home.run(&["doctor"]);
    assert!(found.0 != 0 && found.1.contains("placeholder"), "{found:?}");
    let shown = home.run(&["config", "get", "gateway.auth.token"]);
    assert!(shown.2.contains("hidden"), "a hidden secret is told on standard error: {shown:?}");
    assert!(items(&admin.ok("status", "{}"), "barnacle.nothing").is_empty());
}
