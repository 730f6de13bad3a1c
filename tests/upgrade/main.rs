//! The program on disk is replaced and the gateway told to restart: by the release before and back, by versions
//! that save other sections, and by all that is no successor. Nobody attached sees any of it.
//!
//! This file is a program of its own (no test harness), because it is other versions, too: called as
//! `… gateway …` it is the Barnacle that `$HOME/version` names, and without one [`Version::OneWay`].

mod load;
#[path = "../support/release_before.rs"]
mod release_before;
mod scene;
#[path = "../support/versions.rs"]
mod versions;
#[path = "../support/wire/mod.rs"]
mod wire;

use barnacle::internals::handoff::{STATE_FORMAT, StateFormat, section_names};
use load::Load;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::ExitCode};
use wire::{ADMIN, Client, Home, Offer, Server, json, number, text};

/// What this program can be.
#[derive(Clone, Copy)]
enum Version {
    /// 9.9.9, from which there is no way back: it reads what this version writes, and writes another format.
    OneWay,
    /// 9.9.9 with a section that this version does not know, and a way back.
    OneSectionMore,
    /// 0.0.9, which lacks the newest section.
    OneSectionLess,
    /// 9.9.9, which has a required section in a version that this one does not know.
    NewerSection,
    /// Stands for the release before where that cannot be built: it knows format 2 alone.
    OnlyFormat2,
}

impl Version {
    const ALL: [(Self, &str); 5] = [
        (Self::OneWay, "one way"),
        (Self::OneSectionMore, "one section more"),
        (Self::OneSectionLess, "one section less"),
        (Self::NewerSection, "newer section"),
        (Self::OnlyFormat2, "only format 2"),
    ];

    /// The version that this process is to be.
    fn of_process() -> Self {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let name = fs::read_to_string(home.join("version")).unwrap_or_default();
        let named = Self::ALL.into_iter().find(|(_, other)| *other == name);
        named.map_or(Self::OneWay, |(version, _)| version)
    }

    fn state_format(self) -> StateFormat {
        let next = StateFormat { version: "9.9.9", ..STATE_FORMAT };
        match self {
            Self::OneWay => StateFormat { reads: &[4, 3], writes: &[4], ..next },
            Self::OneSectionMore => StateFormat { more: &[("weather", 1, b"\xff\xff\xff\xff\xff")], ..next },
            Self::OneSectionLess => {
                let newest = section_names().last().map(|(name, _)| name);
                StateFormat { version: "0.0.9", unknown: Vec::leak(newest.into_iter().collect()), ..next }
            }
            Self::NewerSection => {
                StateFormat { unknown: &["connections"], more: &[("connections", 9, b"other")], ..next }
            }
            Self::OnlyFormat2 => StateFormat { version: "0.1.0", reads: &[2], writes: &[2], ..next },
        }
    }
}

fn main() -> ExitCode {
    if versions::is_called(&["gateway"]) {
        return versions::be(Box::leak(Box::new(Version::of_process().state_format())));
    }
    versions::pass(
        &[
            ("the_release_before_and_back_under_load", release_before_and_back),
            ("the_state_of_the_release_before", scene::is_read),
            ("one_that_lacks_the_newest_section", one_section_less),
            ("one_that_has_a_section_more", one_section_more),
            ("one_whose_section_is_newer", newer_section),
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
        Self::begin_with(&this_version())
    }

    /// Begins with the program `with`.
    fn begin_with(with: &[u8]) -> Self {
        let home = Home::fix();
        let program = home.dir.join("barnacle");
        fs::write(&program, with).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
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

    /// Puts that version in the program's place.
    fn replace_by(&self, version: Version) {
        self.be(version);
        self.replace(&fs::read(versions::next()).unwrap());
    }

    /// From now on this program is that version in the gateway's home.
    fn be(&self, version: Version) {
        let (_, name) = Version::ALL.into_iter().nth(version as usize).unwrap();
        fs::write(self.home.dir.join("version"), name).unwrap();
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
        assert!(message.contains("the gateway keeps running") && message.contains(why), "{message}");
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

/// The release before: its program, or what stands for it.
fn release_before(up: impl FnOnce(&[u8]) -> Upgrade) -> (Upgrade, Vec<u8>) {
    match release_before::program() {
        Some(program) => {
            let program = fs::read(program).unwrap();
            (up(&program), program)
        }
        None => {
            let program = fs::read(versions::next()).unwrap();
            let mut this = up(&this_version());
            this.replace_by(Version::OnlyFormat2);
            this.restart();
            (this, program)
        }
    }
}

/// Up from the release before and down to it, over and over, while clients call all the time, one is in the middle of
/// a frame and one in its handshake.
fn release_before_and_back() {
    const CLIENTS: usize = 40;
    let (mut up, old) = release_before(Upgrade::begin_with);
    let mut restarts = up.restarts();
    let pid = number(&up.client.ok("status", "{}"), "barnacle.pid");
    let load = Load::begin(&up.server, CLIENTS);
    let mut half = scene::Half::begin(&up.server);
    for _ in 0..3 {
        let handshake = up.server.socket();
        up.replace(&this_version());
        for _ in 0..2 {
            // Twice: from the older to this version, then from this to itself.
            let before = up.server.log().lines().count();
            up.restart();
            let line = up.server.wait_new(before, &[" handed over from "]);
            assert!(line.contains(": 43 connections kept, 1 in handshake, 0 closed"), "{line}");
            load.go_on();
        }
        handshake.offer(&Offer::new().token("T1").scopes(ADMIN)).unwrap().ok("health", "{}");
        half.end_and_begin();
        // And back: the release before reads format 2 alone.
        up.be(Version::OnlyFormat2);
        up.replace(&old);
        up.restart();
        assert!(up.server.log().contains("the program on disk reads only format 2"), "{}", up.server.log());
        load.go_on();
        half.end_and_begin();
        restarts += 3;
        let status = up.client.ok("status", "{}");
        assert_eq!(number(&status, "barnacle.restarts"), restarts);
        assert_eq!(number(&status, "barnacle.lastRestart.carried"), CLIENTS as u64 + 3, "{}", json(&status));
        assert_eq!(number(&status, "barnacle.pid"), pid);
    }
    let (answered, events) = load.end();
    println!(
        "9 upgrades and downgrades: {answered} calls answered, {events} events in turn, none lost, none closed"
    );
    assert!(events > 0);
}

fn one_section_less() {
    let mut up = Upgrade::begin();
    let load = Load::begin(&up.server, 20);
    for _ in 0..2 {
        up.replace_by(Version::OneSectionLess);
        up.restart();
        up.server.wait_log(&["Barnacle 0.0.9 handed over from 0.1"]);
        load.go_on();
        up.replace(&this_version());
        up.restart();
        up.server.wait_log(&["handed over from 0.0.9"]);
        load.go_on();
    }
    assert_eq!(up.restarts(), 4);
    load.end();
}

fn one_section_more() {
    let mut up = Upgrade::begin();
    let load = Load::begin(&up.server, 20);
    up.replace_by(Version::OneSectionMore);
    for restarts in 1..=2 {
        up.restart();
        assert_eq!(up.restarts(), restarts);
    }
    up.server.wait_log(&["Barnacle 9.9.9 handed over from 9.9.9"]);
    up.replace(&this_version());
    up.restart();
    up.server.wait_log(&["Barnacle 0.1.0 handed over from 9.9.9"]);
    load.go_on();
    load.end();
}

fn newer_section() {
    let mut up = Upgrade::begin();
    up.replace_by(Version::NewerSection);
    up.stays("no section connections that Barnacle 9.9.9 reads");
    up.replace(&this_version());
    up.restart();
}

fn newer_and_older(up: &mut Upgrade) {
    up.replace_by(Version::OneWay);
    let output = up.restart();
    assert!(output.contains("1 connection kept") || output.contains("2 connections"), "{output}");
    up.server.wait_log(&["Barnacle 9.9.9 handed over from 0."]);
    assert_eq!(up.restarts(), 1);
    // And from the newer to itself, in its own format.
    up.restart();
    assert_eq!(up.restarts(), 2);
    up.server.wait_log(&["Barnacle 9.9.9 handed over from 9.9.9"]);
    // Back is not possible: this version does not know format 4, and says so.
    up.replace(&this_version());
    up.stays("format 4");
}

fn crashes(up: &mut Upgrade) {
    up.replace(b"#!/bin/sh\nkill -SEGV $$\n");
    up.stays("signal 11");
    // Once it is fixed, it takes over.
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
    up.stays("cannot take over (exit 0)");
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
