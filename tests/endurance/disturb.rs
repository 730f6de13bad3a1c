//! The disturbances, and the gateway that has to stand them.

use crate::{
    clients::Fleet,
    dice::Dice,
    report::Report,
    wire::{ADMIN, Client, Device, Home, LONG, Offer, READ, Server, items, json, signal, text},
};
use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// Room on the state's disk, bytes: so little that it can be filled at once.
const DISK: u64 = 16 << 20;
/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(3);

type Disturbance = (&'static str, u64, fn(&mut Stage));

/// Each with its weight.
const ALL: &[Disturbance] = &[
    ("edit by the command line", 12, Stage::set_by_command),
    ("edit in an editor", 12, Stage::edit_by_hand),
    ("half-saved configuration", 8, Stage::half_save),
    ("shared token changed", 4, Stage::change_token),
    ("device renamed", 12, Stage::rename),
    ("device token rotated", 8, Stage::rotate),
    ("device paired and removed", 6, Stage::pair_and_remove),
    ("restart", 8, Stage::restart),
    ("upgrade", 4, Stage::upgrade),
    ("clock jump", 6, Stage::jump),
    ("full disk", 4, Stage::fill_disk),
    ("flood of silent connections", 3, Stage::flood_silent),
    ("flood of wrong tokens", 3, Stage::flood_guesses),
    ("flood of half frames", 2, Stage::flood_halves),
    ("kill -9 in the middle of a write", 3, Stage::kill_writing),
    ("kill -9", 2, Stage::kill),
];

/// A home on a small disk, the gateway that lives there, and what it acknowledged.
pub struct Stage {
    home: Home,
    server: Option<Server>,
    report: Arc<Report>,
    dice: Dice,
    clock: PathBuf,
    /// An operator's device that outlives everything.
    admin_device: Device,
    admin: Client,
    token: String,
    fleet: Vec<String>,
    /// The label that was acknowledged last, and the device that has it.
    label: Option<(String, String)>,
    count: u64,
}

impl Stage {
    pub fn set(report: Arc<Report>, dice: Dice) -> Self {
        let home = Home::empty();
        let size = format!("size={DISK},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "barnacle-soak"]).arg(&home.dir));
        home.auth(r#"{mode:"token",token:"T1"}"#);
        // Beside the small disk, which holds the state alone.
        let bin = home.dir.with_extension("bin");
        fs::copy(env!("CARGO_BIN_EXE_barnacle"), &bin).unwrap();
        let clock = home.dir.join("clock");
        fs::write(&clock, "+0").unwrap();
        let server = Some(start(&home, &bin, &clock));
        let admin_device = Device::pair(server.as_ref().unwrap(), ADMIN);
        let admin = attach_admin(server.as_ref().unwrap(), &admin_device);
        Self {
            home,
            server,
            report,
            dice,
            clock,
            admin_device,
            admin,
            token: "T1".into(),
            fleet: Vec::new(),
            label: None,
            count: 0,
        }
    }

    pub fn port(&self) -> u16 {
        self.home.port
    }

    pub fn pid(&self) -> u32 {
        self.server().pid()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a gateway runs between two disturbances")
    }

    pub fn pair(&self, scopes: &[&str]) -> Device {
        Device::pair(self.server(), scopes)
    }

    /// These devices are the fleet's.
    pub fn watch(&mut self, fleet: Vec<String>) {
        self.fleet = fleet;
    }

    /// One disturbance, and a pause.
    pub fn disturb(&mut self) {
        let all = ALL.iter().map(|(_, weight, _)| weight).sum();
        let mut at = self.dice.roll(all);
        let (name, _, act) = ALL
            .iter()
            .find(|(_, weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            })
            .expect("weights add up");
        act(self);
        self.report.done(name);
        // A pace, not a synchronisation: what comes next does not depend on it.
        thread::sleep(Duration::from_millis(50 + self.dice.roll(1500)));
    }

    /// Everything is put right, and everyone has to be here.
    pub fn calm(&mut self, fleet: &Fleet) {
        fs::write(&self.clock, "+0").unwrap();
        self.check_label();
        let wanted = fleet.all();
        let end = Instant::now() + LONG;
        loop {
            let list = self.admin.ok("device.pair.list", "{}");
            let here: Vec<String> = items(&list, "paired").iter().map(|d| text(d, "deviceId")).collect();
            let missing: Vec<_> = wanted.iter().filter(|id| !here.contains(id)).collect();
            if missing.is_empty() {
                return;
            }
            if Instant::now() > end {
                return self.report.fail(format!("devices are gone: {missing:?}"));
            }
        }
    }

    /// A command of the CLI; whether it did what it was asked.
    fn cli(&self, args: &[&str]) -> bool {
        let (code, out, err) = self.home.run(args);
        if code != 0 {
            self.report.fail(format!("barnacle {}: {code}: {out}{err}", args.join(" ")));
        }
        code == 0
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn set_by_command(&mut self) {
        let n = self.next().to_string();
        let edits = [
            ("channels.whatsapp.allowFrom", format!("[\"+1555{n}\"]")),
            ("messages.ackReactionScope", "\"group-all\"".into()),
            ("session.mainKey", format!("\"main-{n}\"")),
            ("logging.level", format!("\"{}\"", self.dice.pick(&["info", "debug"]))),
            ("gateway.controlUi.allowedOrigins", format!("[\"https://{n}.example\"]")),
        ];
        let (key, value) = self.dice.pick(&edits).clone();
        if self.cli(&["config", "set", key, &value]) {
            self.report.acknowledged.fetch_add(1, Relaxed);
            let (_, out, _) = self.home.run(&["config", "get", key, "--json"]);
            if squeezed(&out) != squeezed(&value) {
                self.report.fail(format!("{key} is {out}, and {value} was acknowledged"));
            }
        }
    }

    fn edit_by_hand(&mut self) {
        let n = self.next();
        let path = self.home.config_path();
        let before = fs::read_to_string(&path).unwrap();
        let end = before.rfind('}').unwrap();
        let line = format!("\n// edit {n}\n");
        let text = format!("{}{line}{}", &before[..end], &before[end..]);
        // Few lines are kept.
        let text = if text.len() > 20_000 { without_comments(&text) } else { text };
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn half_save(&mut self) {
        let path = self.home.config_path();
        let whole = fs::read(&path).unwrap();
        let at = self.dice.roll(whole.len() as u64) as usize;
        fs::write(&path, &whole[..at]).unwrap();
        thread::sleep(Duration::from_millis(self.dice.roll(1500)));
        fs::write(&path, &whole).unwrap();
    }

    fn change_token(&mut self) {
        self.token = if self.token == "T1" { "T2".into() } else { "T1".into() };
        self.cli(&["config", "set", "gateway.auth.token", &self.token]);
        // Those that pair with it use the first one.
        self.token = "T1".into();
        self.cli(&["config", "set", "gateway.auth.token", &self.token]);
    }

    fn rename(&mut self) {
        let label = format!("label {}", self.next());
        let device = self.dice.pick(&self.fleet).clone();
        let params = format!(r#"{{"deviceId":"{device}","label":"{label}"}}"#);
        match self.admin.call("device.pair.rename", &params) {
            Ok(_) => {
                self.report.acknowledged.fetch_add(1, Relaxed);
                self.label = Some((device, label));
                self.check_label();
            }
            Err(e) => self.report.fail(format!("rename: {}", json(&e))),
        }
    }

    /// What was acknowledged is there.
    fn check_label(&mut self) {
        let Some((device, label)) = self.label.clone() else { return };
        let list = self.admin.ok("device.pair.list", "{}");
        let found = items(&list, "paired")
            .iter()
            .any(|d| text(d, "deviceId") == device && json(d).contains(&format!("\"{label}\"")));
        if !found {
            self.report.fail(format!("an acknowledged label is gone: {label} of {device}"));
        }
    }

    fn rotate(&mut self) {
        let device = self.dice.pick(&self.fleet).clone();
        let params = format!(r#"{{"deviceId":"{device}","role":"operator"}}"#);
        match self.admin.call("device.token.rotate", &params) {
            Ok(_) => _ = self.report.acknowledged.fetch_add(1, Relaxed),
            Err(e) => self.report.fail(format!("rotate: {}", json(&e))),
        }
    }

    fn pair_and_remove(&mut self) {
        let device = self.pair(READ);
        let mut live = self.server().connect(&Offer::device(&device).token(device.token()));
        self.admin.ok("device.pair.remove", &format!(r#"{{"deviceId":"{}"}}"#, device.id()));
        self.report.acknowledged.fetch_add(1, Relaxed);
        live.closed();
        if let Ok(client) = self.server().try_connect(&Offer::device(&device).token(device.token())) {
            self.report.fail(format!("a removed device is let in: {}", json(&client.hello)));
        }
    }

    fn restart(&mut self) {
        match self.dice.roll(3) {
            0 => _ = self.cli(&["gateway", "restart"]),
            1 => signal(self.pid(), "USR1"),
            _ => signal(self.pid(), "USR2"),
        }
    }

    /// A program is put in the place of the one that runs: the same, or one that is none, and then the same.
    fn upgrade(&mut self) {
        let bin = self.home.dir.with_extension("bin");
        let put = |bytes: &dyn Fn(&Path)| {
            let new = bin.with_extension("new");
            bytes(&new);
            fs::rename(&new, &bin).unwrap();
        };
        if self.dice.roll(3) == 0 {
            put(&|at| {
                fs::write(at, "#!/bin/sh\nexit 3\n").unwrap();
                run(Command::new("chmod").arg("755").arg(at));
            });
            let (code, _, _) = self.home.run(&["gateway", "restart"]);
            if code == 0 {
                self.report.fail("a program that is none was taken for one".into());
            }
        }
        put(&|at| _ = fs::copy(env!("CARGO_BIN_EXE_barnacle"), at).unwrap());
        self.cli(&["gateway", "restart"]);
    }

    fn jump(&mut self) {
        let jump =
            *self.dice.pick(&["+0", "+10y", "-1y", "+3h", "@1970-01-01 00:10:00", "@2100-01-01 00:00:00"]);
        fs::write(&self.clock, jump).unwrap();
    }

    /// A full card: a write is refused, or done and kept.
    fn fill_disk(&mut self) {
        let filler = self.home.dir.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
        drop(file);
        let label = format!("label {}", self.next());
        let device = self.dice.pick(&self.fleet).clone();
        let params = format!(r#"{{"deviceId":"{device}","label":"{label}"}}"#);
        match self.admin.call("device.pair.rename", &params) {
            Ok(_) => self.label = Some((device, label)),
            Err(e) if text(&e, "code") == "UNAVAILABLE" => {}
            Err(e) => self.report.fail(format!("full disk: {}", json(&e))),
        }
        fs::remove_file(filler).unwrap();
        self.check_label();
    }

    /// While a flood goes on a paired device attaches within a second.
    fn under(&mut self, flood: impl FnOnce(u16) + Send + 'static) {
        let port = self.port();
        let flood = thread::spawn(move || flood(port));
        let end = Instant::now() + FLOOD;
        while Instant::now() < end {
            let began = Instant::now();
            match self
                .server()
                .try_connect(&Offer::device(&self.admin_device).token(self.admin_device.token()))
            {
                Ok(_) if began.elapsed() < Duration::from_secs(1) => {}
                Ok(_) => {
                    self.report.fail(format!("a paired device waited {:?} under a flood", began.elapsed()))
                }
                Err(e) => self.report.fail(format!("a paired device was refused under a flood: {e:?}")),
            }
            thread::sleep(Duration::from_millis(100));
        }
        flood.join().unwrap();
    }

    fn flood_silent(&mut self) {
        self.under(|port| {
            let end = Instant::now() + FLOOD;
            let mut held = Vec::new();
            while Instant::now() < end {
                match TcpStream::connect(("127.0.0.1", port)) {
                    Ok(socket) if held.len() < 700 => held.push(socket),
                    _ => held.truncate(300),
                }
            }
        });
    }

    fn flood_guesses(&mut self) {
        self.under(|port| {
            let end = Instant::now() + FLOOD;
            let mut n = 0;
            while Instant::now() < end {
                n += 1;
                let guess = format!("guess {n}");
                let _ = Client::connect(([127, 0, 0, 1], port).into(), &Offer::new().token(&guess).remote());
            }
        });
    }

    fn flood_halves(&mut self) {
        self.under(|port| {
            let mut held = Vec::new();
            for _ in 0..50 {
                let Ok(mut client) = Client::open(([127, 0, 0, 1], port).into(), &[]) else { continue };
                // A text frame of 250 kB that never ends.
                let _ = client.raw().write_all(&[0x81, 0xFF, 0, 0, 0, 0, 0, 3, 0xD0, 0x90, 0, 0, 0, 0]);
                let _ = client.raw().write_all(&[b' '; 60_000]);
                held.push(client);
            }
            thread::sleep(FLOOD);
        });
    }

    fn kill(&mut self) {
        self.report.life.fetch_add(1, Relaxed);
        self.server.take().expect("it runs").kill();
        self.begin();
    }

    /// The power goes while something is being written; what was acknowledged before is there.
    fn kill_writing(&mut self) {
        let label = format!("label {}", self.next());
        let device = self.dice.pick(&self.fleet).clone();
        let params = format!(r#"{{"deviceId":"{device}","label":"{label}"}}"#);
        self.admin.ask("device.pair.rename", &params);
        thread::sleep(Duration::from_micros(self.dice.roll(3000)));
        self.report.life.fetch_add(1, Relaxed);
        self.server.take().expect("it runs").kill();
        self.begin();
        // Either is right for this device, and what was acknowledged for others.
        if self.label.as_ref().is_some_and(|(of, _)| *of != device) {
            self.check_label();
        } else {
            self.label = None;
        }
    }

    fn begin(&mut self) {
        self.server = Some(start(&self.home, &self.home.dir.with_extension("bin"), &self.clock));
        self.admin = attach_admin(self.server(), &self.admin_device);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.take();
        run(Command::new("umount").arg("-l").arg(&self.home.dir));
        let _ = fs::remove_file(self.home.dir.with_extension("bin"));
    }
}

fn attach_admin(server: &Server, device: &Device) -> Client {
    server.connect(&Offer::device(device).token(device.token()).scopes(ADMIN))
}

fn start(home: &Home, bin: &Path, clock: &Path) -> Server {
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|arch| format!("/usr/lib/{arch}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| fs::exists(path).unwrap_or(false))
        .expect("libfaketime: apt-get install faketime");
    let mut command = home.program(bin);
    command.args(["gateway", "--port", &home.port.to_string()]).envs([
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    Server::spawn(command, home.port)
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).status().unwrap();
    assert!(done.success(), "{command:?}");
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect()
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("// ")).collect::<Vec<_>>().join("\n")
}
