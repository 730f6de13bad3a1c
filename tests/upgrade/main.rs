//! The program on disk is replaced and the gateway told to restart: by another version that writes a
//! hand-over down in another way, and by all that is no successor. Nobody attached sees either.
//!
//! This file is a program of its own (no test harness), because it is the other version, too: called as
//! `… gateway …` it is Barnacle with format 3, which reads format 2 as well.

#[path = "../support/versions.rs"]
mod versions;
#[path = "../support/wire/mod.rs"]
mod wire;

use barnacle::handoff::{STATE_FORMAT, State, StateFormat};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::ExitCode};
use wire::{ADMIN, Client, Home, Offer, Server, json, number, text};

/// Format 3: that of this version, read backwards.
static NEXT: StateFormat = StateFormat {
    version: "9.9.9",
    format: 3,
    encode: |state: &State| (STATE_FORMAT.encode)(state).into_iter().rev().collect(),
    decode: |payload| (STATE_FORMAT.decode)(&payload.iter().rev().copied().collect::<Vec<_>>()),
    older: |format, payload| (format == STATE_FORMAT.format).then(|| (STATE_FORMAT.decode)(payload))?,
};

fn main() -> ExitCode {
    if versions::is_called(&["gateway"]) {
        return versions::be(&NEXT);
    }
    versions::pass(
        &[
            ("a_newer_version_takes_over_and_an_older_does_not", || newer_and_older(&mut Upgrade::begin())),
            ("one_that_crashes_at_once", || crashes(&mut Upgrade::begin())),
            ("one_that_does_not_know_the_question", || does_not_know(&mut Upgrade::begin())),
            ("a_file_that_is_no_program", || no_program(&mut Upgrade::begin())),
            ("a_missing_file", || missing(&mut Upgrade::begin())),
            ("one_that_says_yes_to_everything", || says_yes(&mut Upgrade::begin())),
            ("one_that_says_nothing", || hangs(&mut Upgrade::begin())),
        ],
        false,
    )
}

/// A gateway whose program can be replaced, and a client that is attached all the time.
struct Upgrade {
    home: Home,
    program: PathBuf,
    server: Server,
    client: Client,
}

impl Upgrade {
    fn begin() -> Self {
        let home = Home::fix();
        let program = home.dir.join("barnacle");
        fs::copy(versions::this(), &program).unwrap();
        let mut command = home.program(&program);
        command.args(["gateway", "--port", &home.port.to_string()]);
        let server = Server::spawn(command, home.port);
        let client = server.connect(&Offer::new().token("T1").scopes(ADMIN));
        Self { home, program, server, client }
    }

    /// Puts `with` in the program's place, as an upgrade does: beside it, then renamed over it.
    fn replace(&self, with: &[u8]) {
        let beside = self.home.dir.join("barnacle.new");
        fs::write(&beside, with).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&beside, &self.program).unwrap();
    }

    fn restarts(&mut self) -> u64 {
        number(&self.client.ok("status", "{}"), "barnacle.restarts")
    }

    /// Restarts by the command line; what it printed.
    fn restart(&mut self) -> String {
        let (code, out, err) = self.home.run(&["gateway", "restart"]);
        assert_eq!(code, 0, "{err}\n{}", self.server.log());
        out
    }

    /// Asks for a restart by every way there is, and expects the old to serve on and to say why.
    #[track_caller]
    fn stays(&mut self, why: &str) {
        let before = self.restarts();
        let error = self.client.err("gateway.restart.request", "{}");
        let message = text(&error, "message");
        assert!(message.contains("everything goes on as before") && message.contains(why), "{message}");
        let (code, _, err) = self.home.run(&["gateway", "restart"]);
        assert!(code == 1 && err.contains(why), "{code} {err}");
        wire::signal(self.server.pid(), "USR2");
        let line = self.server.wait_log(&["not restarted (SIGUSR2)"]);
        assert!(line.contains(why), "{line}");
        let status = self.client.ok("status", "{}");
        assert!(text(&status, "barnacle.notRestarted").contains(why), "{}", json(&status));
        assert_eq!(self.restarts(), before);
        self.server.admin().ok("health", "{}");
    }
}

fn this_version() -> Vec<u8> {
    fs::read(versions::this()).unwrap()
}

fn newer_and_older(up: &mut Upgrade) {
    up.replace(&fs::read(versions::next()).unwrap());
    let said = up.restart();
    assert!(said.contains("1 connections") || said.contains("2 connections"), "{said}");
    up.server.wait_log(&["Barnacle 9.9.9 goes on from 0."]);
    assert_eq!(up.restarts(), 1);
    // And from the newer to itself, in its own format.
    up.restart();
    assert_eq!(up.restarts(), 2);
    up.server.wait_log(&["Barnacle 9.9.9 goes on from 9.9.9"]);
    // Back is not possible: this version does not know format 3, and says so.
    up.replace(&this_version());
    up.stays("format 3");
}

fn crashes(up: &mut Upgrade) {
    up.replace(b"#!/bin/sh\nkill -SEGV $$\n");
    up.stays("signal 11");
    // Once it is mended, it takes over.
    up.replace(&this_version());
    up.restart();
    assert_eq!(up.restarts(), 1);
}

fn does_not_know(up: &mut Upgrade) {
    up.replace(b"#!/bin/sh\necho 'barnacle: no option --can-resume' >&2\nexit 2\n");
    up.stays("no option --can-resume");
}

fn no_program(up: &mut Upgrade) {
    up.replace(b"\x7fELF, or so it says");
    up.stays(&up.program.display().to_string());
    fs::set_permissions(&up.program, fs::Permissions::from_mode(0o644)).unwrap();
    let error = up.client.err("gateway.restart.request", "{}");
    assert!(text(&error, "message").contains("is no program"), "{}", json(&error));
}

fn missing(up: &mut Upgrade) {
    fs::remove_file(&up.program).unwrap();
    up.stays("No such file");
}

fn says_yes(up: &mut Upgrade) {
    up.replace(b"#!/bin/sh\necho barnacle 1.0 can go on from anything\n");
    up.stays("does not go on from here (exit 0)");
}

fn hangs(up: &mut Upgrade) {
    up.replace(b"#!/bin/sh\nexec sleep 1000\n");
    let id = up.client.ask("gateway.restart.request", "{}");
    // Meanwhile everyone is served.
    let mut other = up.server.admin();
    other.ok("health", "{}");
    let coalesced = other.ok("gateway.restart.request", "{}");
    assert_eq!(text(&coalesced, "status"), "coalesced");
    let error = up.client.answer(&id).unwrap_err();
    assert!(text(&error, "message").contains("says nothing for 10 s"), "{}", json(&error));
}
