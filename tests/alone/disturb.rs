//! The gateway, and what happens to it.

use crate::{
    attached::{Attached, World},
    chats::{Ends, LAST},
    dice::Dice,
    model::Model,
    versions,
    wire::{ADMIN, Device, Home, LONG, Server, number, signal, text},
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The gateway with its home and its model, and who edits it.
pub struct Stage {
    pub home: Home,
    model: Model,
    program: PathBuf,
    server: Option<Server>,
    admin: Option<Attached>,
    world: Arc<World>,
    dice: Dice,
    edits: u64,
    /// Which version is on disk.
    is_next: bool,
    logs: Vec<String>,
}

impl Stage {
    pub fn set(world: Arc<World>, dice: Dice) -> Self {
        let home = Home::empty();
        let program = home.dir.join("barnacle");
        let mut stage = Self {
            home,
            model: Model::start(),
            program,
            server: None,
            admin: None,
            world,
            dice,
            edits: 0,
            is_next: false,
            logs: Vec::new(),
        };
        stage.put_program(false);
        stage.write_config();
        stage.start();
        stage.admin = Some(Attached::new(stage.at(), stage.pair(), &stage.world));
        stage
    }

    pub fn at(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.home.port).into()
    }

    /// A device that is paired by the first token.
    pub fn pair(&self) -> Device {
        Device::pair(self.server.as_ref().unwrap(), ADMIN)
    }

    fn admin(&mut self) -> &mut Attached {
        self.admin.as_mut().unwrap()
    }

    fn put_program(&mut self, next: bool) {
        let from = if next { versions::next() } else { versions::this().to_owned() };
        let beside = self.program.with_extension("new");
        fs::copy(from, &beside).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&beside, &self.program).unwrap();
        self.is_next = next;
    }

    fn start(&mut self) {
        let mut command = self.home.program(&self.program);
        command.args(["gateway", "--port", &self.home.port.to_string()]);
        self.server = Some(Server::spawn(command, self.home.port));
    }

    /// Ends the gateway by `end`, and starts it again.
    fn ended_by(&mut self, end: impl FnOnce(Server)) {
        let server = self.server.take().unwrap();
        self.logs.push(server.log());
        self.world.turn_life();
        end(server);
        self.world.turn_life();
        self.start();
    }

    fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().pid()
    }

    /// Has it killed so many times, at random, and everything else befall it in between.
    pub fn disturb(&mut self, kills: u64) {
        for kill in 0..kills {
            let others = self.dice.roll(3);
            for _ in 0..others {
                self.pause();
                self.other();
            }
            self.pause();
            self.ended_by(Server::kill);
            self.world.count("kills");
            if kill % 25 == 24 {
                println!("alone: killed {} times: {}", kill + 1, self.world.summary());
            }
        }
    }

    /// A random time of the life of a gateway, mostly short.
    fn pause(&mut self) {
        let longest = *self.dice.pick(&[2_000, 20_000, 100_000, 400_000]);
        thread::sleep(Duration::from_micros(self.dice.roll(longest)));
    }

    fn other(&mut self) {
        match self.dice.roll(10) {
            0..4 => {
                self.edits += 1;
                self.write_config();
                self.world.count("edits of the file");
            }
            4 | 5 => self.patch(),
            6 => {
                signal(self.pid(), "USR1");
                self.world.count("restarts");
            }
            7 => self.upgrade(),
            8 => {
                self.ended_by(Server::stop);
                self.world.count("stops");
            }
            _ => {
                self.restarted();
                self.world.count("restarts");
            }
        }
    }

    /// The configuration after so many edits: each changes another key.
    fn write_config(&mut self) {
        let edits = self.edits;
        let version = |nth: u64| (edits + 3 - nth) / 4;
        let agents = match version(2) % 2 {
            0 => "main:{},work:{}".to_owned(),
            _ => format!("main:{{}},work:{{}},more{}:{{}}", version(2)),
        };
        // The first token pairs, and is one of those to come.
        let more = format!(
            "channels:{{whatsapp:{{allowFrom:[\"+4912345{:03}\"]}}}},messages:{{ackReaction:\"r{}\"}},",
            version(0),
            version(1)
        );
        let text = self.model.config_with(self.home.port, "\"stand-in/echo\"", &more);
        let text = text.replace("token:\"T1\"", &format!("token:\"T{}\"", 1 + version(3)));
        self.home.config(&text.replace("agents:{", &format!("agents:{{entries:{{{agents}}},")));
    }

    /// An edit by a client.
    fn patch(&mut self) {
        self.edits += 1;
        let reaction = format!("p{}", self.edits);
        let raw = format!(r#"{{messages:{{ackReaction:\"{reaction}\"}}}}"#);
        let admin = self.admin();
        let hash = text(&admin.ok("config.get", "{}"), "hash");
        admin.ok("config.patch", &format!(r#"{{"raw":"{raw}","baseHash":"{hash}"}}"#));
        self.world.count("edits by clients");
    }

    /// Another version takes over, or the one before it again.
    fn upgrade(&mut self) {
        self.put_program(!self.is_next);
        self.restarted();
        self.world.count("upgrades");
    }

    /// Has it restart in place, and waits until it has.
    fn restarted(&mut self) {
        let before = self.restarts();
        signal(self.pid(), "USR1");
        let end = Instant::now() + LONG;
        while self.restarts() <= before {
            assert!(Instant::now() < end, "it does not restart:\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn restarts(&mut self) -> u64 {
        number(&self.admin().ok("status", "{}"), "barnacle.restarts")
    }

    /// All is over: what the listener heard until then.
    pub fn end(&mut self, listener: JoinHandle<Ends>) -> Ends {
        self.admin().ok("sessions.create", &format!(r#"{{"key":"{LAST}"}}"#));
        let said = format!(r#"{{"sessionKey":"{LAST}","message":"over","idempotencyKey":"the-last"}}"#);
        self.admin().ok("chat.send", &said);
        listener.join().unwrap()
    }

    /// Ends the gateway, so that its files are as they are.
    pub fn stop(&mut self) {
        let server = self.server.take().unwrap();
        self.logs.push(server.log());
        self.world.turn_life();
        server.stop();
    }

    /// The rows of all sessions: keys and ids.
    pub fn sessions(&mut self) -> Vec<(String, String)> {
        let list = self.admin().ok("sessions.list", r#"{"limit":1000}"#);
        let rows = crate::wire::items(&list, "sessions");
        rows.iter().map(|row| (text(row, "key"), text(row, "sessionId"))).collect()
    }

    /// Lines of the logs that say what went wrong.
    pub fn log(&self) -> String {
        let lines = self.logs.iter().flat_map(|log| log.lines());
        let last = self.server.as_ref().map(Server::log).unwrap_or_default();
        let wrong: Vec<&str> = lines
            .chain(last.lines())
            .filter(|line| line.contains("ERROR") || line.contains("WARN"))
            .collect();
        wrong[wrong.len().saturating_sub(60)..].join("\n")
    }
}
