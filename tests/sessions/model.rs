//! A stand-in for a model server that speaks the streams of openai-completions, and their faults.
//!
//! It answers by what the user said last: `say <text>` is said in a few pieces; `hang <text>` is said and never ended;
//! `refuse <status>` is refused, `refuse once <status>` the first time alone; `cut` ends in the middle the first time;
//! `garbage` is no stream; `nothing` is an answer without a text; `wait` is answered when it is released. Anything else is
//! repeated.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A running stand-in.
pub struct Model {
    pub port: u16,
    asked: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// Streams that are open.
    pub open: Arc<AtomicUsize>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Model {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let open: Arc<AtomicUsize> = Arc::default();
        let released: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (to, count, release) = (asked.clone(), open.clone(), released.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (to, count, release) = (to.clone(), count.clone(), release.clone());
                std::thread::spawn(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = answer(socket, &to, &release);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, asked, open, released }
    }

    /// Has what waits answered.
    pub fn release(&self) {
        *self.released.0.lock().unwrap() = true;
        self.released.1.notify_all();
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.0.lock().unwrap().clone()
    }

    /// Waits until so many requests came.
    pub fn wait(&self, count: usize) {
        let (asked, change) = &*self.asked;
        let (asked, _) = change
            .wait_timeout_while(asked.lock().unwrap(), crate::wire::LONG, |asked| asked.len() < count)
            .unwrap();
        assert!(asked.len() >= count, "{} requests of {count}", asked.len());
    }

    /// The configuration of a gateway that asks it.
    pub fn config(&self, port: u16) -> String {
        format!(
            "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}},\
             agents:{{defaults:{{model:{{primary:\"stand-in/echo\"}}}}}},\
             models:{{providers:{{\"stand-in\":{{baseUrl:\"http://127.0.0.1:{}/v1\",apiKey:\"sk-test-0123\",\
             models:[{{id:\"echo\",name:\"Echo\",contextWindow:32000}}]}}}}}}}}",
            self.port
        )
    }
}

fn answer(
    socket: TcpStream,
    asked: &(Mutex<Vec<String>>, Condvar),
    released: &(Mutex<bool>, Condvar),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut out = socket;
    let (mut line, mut length, mut head) = (String::new(), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer sk-test-0123"), "{head}");
    let last = body.rsplit(r#""role":"user","content":""#).next().unwrap().split(r#""}"#).next().unwrap();
    let last = last.rsplit("\\n\\n").next().unwrap().to_owned();
    let times = {
        let mut all = asked.0.lock().unwrap();
        all.push(body);
        asked.1.notify_all();
        all.iter().filter(|body| body.contains(&format!("{last}\"}}"))).count()
    };
    let word = |n: usize| last.split(' ').nth(n).unwrap_or_default().to_owned();
    let refuse = |out: &mut TcpStream, status: &str| {
        let text = format!(r#"{{"error":{{"message":"refused with {status}"}}}}"#);
        write!(
            out,
            "HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    match &*word(0) {
        "wait" => {
            let waiting = released.0.lock().unwrap();
            drop(released.1.wait_while(waiting, |released| !*released).unwrap());
        }
        "refuse" if word(1) == "once" && times > 1 => {}
        "refuse" if word(1) == "once" => return refuse(&mut out, &word(2)),
        "refuse" => return refuse(&mut out, &word(1)),
        "garbage" => {
            return write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\ndata: <html>hello\n\n "
            );
        }
        _ => {}
    }
    write!(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = |out: &mut TcpStream, text: &str| {
        write!(out, "{:x}\r\n{text}\r\n", text.len())?;
        out.flush()
    };
    let piece = |text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let said = match &*word(0) {
        "say" | "hang" => last.split_once(' ').map(|(_, text)| text.to_owned()).unwrap_or_default(),
        "nothing" => String::new(),
        _ => format!("you said: {last}"),
    };
    chunk(
        &mut out,
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n: alive\n\n",
    )?;
    let (first, rest) = said.split_at(said.len() / 2);
    if !first.is_empty() {
        // In the middle of an event, as a network may cut it.
        let event = piece(first);
        let (one, two) = event.split_at(event.len() / 3);
        chunk(&mut out, one)?;
        chunk(&mut out, two)?;
    }
    if word(0) == "hang" {
        // Until the other side closes.
        let mut byte = [0];
        let _ = reader.read(&mut byte);
        return Ok(());
    }
    if word(0) == "cut" && times == 1 {
        return Ok(());
    }
    let usage = "{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}";
    let end = format!(
        "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
    );
    if !rest.is_empty() {
        chunk(&mut out, &piece(rest))?;
    }
    chunk(&mut out, &end)?;
    write!(out, "0\r\n\r\n")
}
