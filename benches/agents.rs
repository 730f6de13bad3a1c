//! What a conversation costs: latency of what a model says and of what it is asked, memory, bytes and syncs on disk.
//!
//! The model is a stand-in of this program: it notes when a request reaches it and when it says each piece, so that what is
//! measured is the gateway. OpenClaw is asked the same in the same run, where its modules are named. See `benches/README.md`.

mod rig;

use rig::{
    Client, Failure, Gateway, TOKEN, attach, listens,
    openclaw::{Words, end, living_in},
    pin, quantile, us,
};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, sleep},
    time::{Duration, Instant},
};

const HELP: &str = "\
cargo bench --bench agents -- [--openclaw <node_modules>] [--runs <n>]

  --openclaw <dir>  measure the OpenClaw that is installed there, too
  --runs <n>        runs and pieces of each kind [200]
";

/// Who hears what a model says at once.
const LISTENERS: usize = 100;
/// Sessions that nobody has open.
const SESSIONS: usize = 5000;
/// A transcript: bytes of all, of a long message, and how many short ones are the last.
const TRANSCRIPT: usize = 100 << 20;
const LONG: usize = 60_000;
const SHORT: usize = 50;
/// Between two pieces, milliseconds, where the message does not say; and where many listen.
const PACE: u64 = 4;
const SLOW: u64 = 60;
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> Result<(), Failure> {
    let (mut modules, mut runs) = (None, 200);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(HELP);
        match arg.as_str() {
            "--bench" => {}
            "--openclaw" => modules = Some(PathBuf::from(value()?)),
            "--runs" => runs = value()?.parse()?,
            _ => return Err(HELP.into()),
        }
    }
    // Inherited by the gateway.
    rustix::thread::disable_transparent_huge_pages(true)?;
    rig::raise_descriptor_limit();
    pin(None, 0)?;
    let model = Model::start()?;
    let gateway = Gateway::start()?;
    gateway.pin(1)?;
    configured(&gateway, &model)?;
    println!("Barnacle");
    conversation(gateway.at, &model, runs, &|| gateway.figure("smaps_rollup", "Rss:"))?;
    transcript(&gateway)?;
    drop(gateway);
    sessions(&model)?;
    disk(&model)?;
    if let Some(modules) = modules {
        let openclaw = OpenClaw::start(&modules, &model)?;
        println!("{}", openclaw.name);
        conversation(openclaw.at, &model, runs.min(50), &|| openclaw.resident())?;
    }
    Ok(())
}

/// The keys that make `model` answer.
fn keys(model: &Model) -> String {
    format!(
        r#""agents":{{"defaults":{{"model":{{"primary":"bench/echo"}}}}}},"models":{{"providers":{{"bench":{{"baseUrl":"http://{}/v1","apiKey":"none","api":"openai-completions","models":[{{"id":"echo","name":"echo","contextWindow":200000,"maxTokens":1000}}]}}}}}}"#,
        model.at
    )
}

/// Has the gateway ask `model`; returns when it has taken that in.
fn configured(gateway: &Gateway, model: &Model) -> Result<(), Failure> {
    let file = gateway.home().join(".openclaw/openclaw.json");
    let gateway_keys = format!(
        r#""gateway":{{"mode":"local","port":{},"auth":{{"mode":"token","token":"{TOKEN}"}}}}"#,
        gateway.at.port()
    );
    fs::write(&file, format!("{{{gateway_keys},{}}}", keys(model)))?;
    let mut client = attach(gateway.at)?;
    let end = Instant::now() + PATIENCE;
    while !client.call("models.list", "{}")?.contains("\"echo\"") {
        if Instant::now() > end {
            return Err("the gateway does not take its model in".into());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What is heard of a run: latencies of its pieces and of its request, and memory while it streams.
fn conversation(
    at: SocketAddr,
    model: &Model,
    runs: usize,
    resident: &dyn Fn() -> Result<u64, Failure>,
) -> Result<(), Failure> {
    let mut client = attach(at)?;
    client.wait_at_most(PATIENCE)?;
    // The first run opens what stays open.
    let warm = send(&mut client, "warm", "say 1")?;
    until_end(&mut client, &warm.run)?;
    let (mut answered, mut wire) = (Vec::new(), Vec::new());
    for n in 0..runs.min(100) {
        // Each in a session of its own: what was said before is not sent along.
        let asked = send(&mut client, &format!("wire-{n}"), "say 1")?;
        let reached = model.reached(&asked.marker)?;
        until_end(&mut client, &asked.run)?;
        if n > 0 {
            answered.push(asked.answered - asked.sent);
            wire.push(reached.saturating_duration_since(asked.sent));
        }
    }
    row("chat.send until it is accepted, p50", &median(&mut answered));
    row("chat.send until its request is on the model's wire, p50", &median(&mut wire));

    let idle = resident()?;
    let asked = send(&mut client, "deltas", &format!("say {runs}"))?;
    let mut late = Vec::new();
    for n in 0..runs {
        let heard = piece(&mut client, &asked.run, n)?;
        late.push(heard.saturating_duration_since(model.said(&asked.marker, n)?));
    }
    let streaming = resident()?;
    until_end(&mut client, &asked.run)?;
    row("a piece from the model to the client's frame, p50", &median(&mut late));
    println!(
        "  resident idle {idle} kB, with one run that streams {} kB more",
        streaming.saturating_sub(idle)
    );

    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(attach(at)?);
    }
    let asked = send(&mut client, "fan", &format!("say 30 every {SLOW}"))?;
    let mut last = Vec::new();
    for n in 0..30 {
        let mut heard = piece(&mut client, &asked.run, n)?;
        for listener in &mut listeners {
            heard = piece(listener, &asked.run, n)?;
        }
        last.push(heard.saturating_duration_since(model.said(&asked.marker, n)?));
    }
    until_end(&mut client, &asked.run)?;
    row(&format!("a piece to the last of {LISTENERS} listeners, p50"), &median(&mut last));
    Ok(())
}

fn row(what: &str, time: &Duration) {
    println!("  {what}: {:.0} µs", us(*time));
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    quantile(times, 0.5)
}

/// A message that was accepted.
struct Asked {
    run: String,
    /// What its request is known by.
    marker: String,
    sent: Instant,
    answered: Instant,
}

fn send(client: &mut Client, session: &str, message: &str) -> Result<Asked, Failure> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let run = format!("run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let params = format!(
        r#"{{"sessionKey":"agent:main:{session}","message":"{message} <{run}>","idempotencyKey":"{run}"}}"#
    );
    let sent = Instant::now();
    let answer = client.call("chat.send", &params)?;
    let answered = Instant::now();
    match answer.contains("\"ok\":true") {
        true => Ok(Asked { marker: format!("<{run}>"), run, sent, answered }),
        false => Err(answer.into()),
    }
}

/// The next event `chat` of a run.
fn chat(client: &mut Client, run: &str) -> Result<String, Failure> {
    loop {
        let text = client.text()?;
        if text.starts_with('\u{3}') {
            return Err("closed".into());
        }
        if text.contains(r#""event":"chat""#) && text.contains(run) {
            return Ok(text);
        }
    }
}

/// When piece `n` of a run, or one after it, was heard.
fn piece(client: &mut Client, run: &str, n: usize) -> Result<Instant, Failure> {
    loop {
        let text = chat(client, run)?;
        // Each event has all that was said so far.
        if text.contains(&format!("p{n} ")) {
            return Ok(Instant::now());
        }
        if text.contains(r#""state":"error""#) {
            return Err(text.into());
        }
    }
}

fn until_end(client: &mut Client, run: &str) -> Result<(), Failure> {
    loop {
        let text = chat(client, run)?;
        if text.contains(r#""state":"final""#) {
            return Ok(());
        }
        if text.contains(r#""state":"error""#) || text.contains(r#""state":"aborted""#) {
            return Err(text.into());
        }
    }
}

/// A page of a long transcript.
fn transcript(gateway: &Gateway) -> Result<(), Failure> {
    let mut client = attach(gateway.at)?;
    client.wait_at_most(PATIENCE)?;
    client.call("sessions.create", r#"{"key":"long"}"#)?;
    let long = "x".repeat(LONG);
    let mut inject = |text: &str| -> Result<(), Failure> {
        let answer = client.call("chat.inject", &format!(r#"{{"sessionKey":"long","message":"{text}"}}"#))?;
        if answer.contains("\"ok\":true") { Ok(()) } else { Err(answer.into()) }
    };
    for _ in 0..TRANSCRIPT / LONG {
        inject(&long)?;
    }
    for n in 0..SHORT {
        inject(&format!("short {n}"))?;
    }
    let before = gateway.figure("smaps_rollup", "Rss:")?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        let page = client.call("chat.history", &format!(r#"{{"sessionKey":"long","limit":{SHORT}}}"#))?;
        times.push(began.elapsed());
        if !page.contains("short 0") {
            return Err("the page is not whole".into());
        }
    }
    let after = gateway.figure("smaps_rollup", "Rss:")?;
    row(&format!("chat.history, the last {SHORT} of {} MB, p50", TRANSCRIPT >> 20), &median(&mut times));
    println!("  and its memory: {} kB", after.saturating_sub(before));
    Ok(())
}

/// Memory of sessions that nobody has open.
fn sessions(model: &Model) -> Result<(), Failure> {
    let mut gateway = Gateway::start()?;
    configured(&gateway, model)?;
    let resident = |gateway: &mut Gateway| -> Result<u64, Failure> {
        gateway.restart()?;
        // So that the rows are read.
        attach(gateway.at)?.call("sessions.list", r#"{"limit":1}"#)?;
        gateway.figure("smaps_rollup", "Rss:")
    };
    attach(gateway.at)?.call("sessions.create", r#"{"label":"the first"}"#)?;
    let none = resident(&mut gateway)?;
    let mut client = attach(gateway.at)?;
    for n in 0..SESSIONS {
        client.call("sessions.create", &format!(r#"{{"label":"A question, number {n}"}}"#))?;
    }
    drop(client);
    let many = resident(&mut gateway)?;
    let each = many.saturating_sub(none) * 1024 / SESSIONS as u64;
    println!(
        "  {SESSIONS} sessions that nobody has open: {} kB, {each} bytes each",
        many.saturating_sub(none)
    );
    Ok(())
}

/// What a turn writes.
fn disk(model: &Model) -> Result<(), Failure> {
    const TURNS: usize = 50;
    let trace =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("agents-{}.trace", std::process::id()));
    let words = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"].map(String::from);
    let words: Vec<String> = words.into_iter().chain([trace.display().to_string()]).collect();
    let gateway = Gateway::start_under(&words)?;
    configured(&gateway, model)?;
    let mut client = attach(gateway.at)?;
    let syncs =
        || fs::read_to_string(&trace).map(|text| text.lines().filter(|line| line.contains("sync(")).count());
    let folder = gateway.home().join(".openclaw/barnacle/agents");
    let mut turn = |n: usize| -> Result<usize, Failure> {
        let message = format!("say 20 {}", "word ".repeat(40));
        let asked = send(&mut client, &format!("disk-{}", n % 5), &message)?;
        until_end(&mut client, &asked.run)?;
        // What it says: pieces as the stand-in counts them.
        Ok(message.len() + (0..20).map(|n| format!("p{n} ").len()).sum::<usize>())
    };
    (0..5).try_for_each(|n| turn(n).map(drop))?;
    let (before, size) = (syncs()?, bytes_in(&folder)?);
    let mut said = 0;
    for n in 0..TURNS {
        said += turn(n)?;
    }
    // The last line of the trace may still be on its way.
    sleep(Duration::from_millis(200));
    let (after, grown) = (syncs()?, bytes_in(&folder)? - size);
    println!(
        "  a turn on disk: {:.2} syncs, {} bytes for {} bytes said",
        (after - before) as f64 / TURNS as f64,
        grown / TURNS as u64,
        said / TURNS
    );
    drop(gateway);
    let _ = fs::remove_file(trace);
    Ok(())
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Requests by their markers, with when they came and when each piece was said.
type Said = Arc<(Mutex<Vec<(String, Instant, Vec<Instant>)>>, Condvar)>;

/// The stand-in for a model: `say <n>` is answered in n pieces, `say <n> every <ms>` at that pace.
struct Model {
    at: SocketAddr,
    said: Said,
}

impl Model {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (at, said) = (listener.local_addr()?, Said::default());
        let all = said.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let all = all.clone();
                thread::spawn(move || while let Ok(true) = answer(&socket, &all) {});
            }
        });
        Ok(Self { at, said })
    }

    fn find<T>(&self, marker: &str, take: impl Fn(Instant, &[Instant]) -> Option<T>) -> Result<T, Failure> {
        let (all, change) = &*self.said;
        let end = Instant::now() + PATIENCE;
        let mut all = all.lock().map_err(|e| e.to_string())?;
        loop {
            let known = all.iter().rfind(|(known, ..)| known == marker);
            if let Some(found) = known.and_then(|(_, reached, pieces)| take(*reached, pieces)) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{marker} did not reach the model").into());
            }
            all = change.wait_timeout(all, left).map_err(|e| e.to_string())?.0;
        }
    }

    /// When the request with this marker came.
    fn reached(&self, marker: &str) -> Result<Instant, Failure> {
        self.find(marker, |reached, _| Some(reached))
    }

    /// When piece `n` of its answer was said.
    fn said(&self, marker: &str, n: usize) -> Result<Instant, Failure> {
        self.find(marker, |_, pieces| pieces.get(n).copied())
    }
}

/// Answers a request; whether there may be another one.
fn answer(socket: &TcpStream, said: &Said) -> io::Result<bool> {
    socket.set_nodelay(true)?;
    let (mut reader, mut out) = (BufReader::new(socket), socket);
    let (mut line, mut length) = (String::new(), 0);
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    let reached = Instant::now();
    while line.len() > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    let marker = body.rfind("<run-").and_then(|at| Some(body[at..].split_once('>')?.0.to_owned() + ">"));
    let Some(marker) = marker else {
        // It is asked for something else than an answer.
        out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    };
    let count =
        body.rfind("say ").map_or("", |at| body[at + 4..].split([' ', '<', '"']).next().unwrap_or_default());
    let pace =
        body.rfind(" every ").and_then(|at| body[at + 7..].split(' ').next()?.parse().ok()).unwrap_or(PACE);
    let note = |piece: bool| {
        if let Ok(mut all) = said.0.lock() {
            match all.iter_mut().rfind(|(known, ..)| *known == marker).filter(|_| piece) {
                Some((.., pieces)) => pieces.push(Instant::now()),
                None => all.push((marker.clone(), reached, Vec::new())),
            }
        }
        said.1.notify_all();
    };
    note(false);
    out.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut chunk = |text: &str| out.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
    chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n")?;
    for n in 0..count.parse().unwrap_or(1) {
        sleep(Duration::from_millis(pace));
        note(true);
        chunk(&format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"p{n} \"}}}}]}}\n\n"))?;
    }
    chunk(
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\
         \"completion_tokens\":1,\"total_tokens\":2}}\n\ndata: [DONE]\n\n",
    )?;
    out.write_all(b"0\r\n\r\n")?;
    Ok(true)
}

/// OpenClaw as it is installed, in a home of its own.
struct OpenClaw {
    name: String,
    at: SocketAddr,
    home: PathBuf,
    child: Child,
}

impl OpenClaw {
    fn start(modules: &Path, model: &Model) -> Result<Self, Failure> {
        let words = Words::of_openclaw(modules)?;
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("agents-openclaw-{}", std::process::id()));
        fs::create_dir_all(home.join(".openclaw"))?;
        let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let gateway = format!(
            r#""gateway":{{"mode":"local","bind":"loopback","port":{},"auth":{{"mode":"token","token":"{TOKEN}"}}}},"update":{{"checkOnStart":false}}"#,
            at.port()
        );
        fs::write(home.join(".openclaw/openclaw.json"), format!("{{{gateway},{}}}", keys(model)))?;
        let child = words.start(&home, Stdio::null(), Stdio::null())?;
        let mut openclaw = Self { name: words.name, at, home, child };
        let until = Instant::now() + 2 * PATIENCE;
        while !listens(at) || attach(at).is_err() {
            if Instant::now() > until || openclaw.child.try_wait()?.is_some() {
                return Err("OpenClaw does not serve".into());
            }
            sleep(Duration::from_millis(100));
        }
        Ok(openclaw)
    }

    /// What all its processes have resident, kB.
    fn resident(&self) -> Result<u64, Failure> {
        let of = |pid: i32| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("Rss:"))?.split_whitespace().next()?.parse().ok()
        };
        Ok(living_in(&self.home).into_iter().filter_map(of).sum())
    }
}

impl Drop for OpenClaw {
    fn drop(&mut self) {
        end(&mut self.child, &self.home);
        let _ = fs::remove_dir_all(&self.home);
    }
}
