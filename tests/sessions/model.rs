//! A stand-in for a model server that speaks the streams of openai-completions and of anthropic-messages, and their faults.
//!
//! It answers by what the user said last: `say <text>` is said in a few pieces, `slow <text>` word by word; `hang <text>` is said and never ended;
//! `refuse <status>` is refused, `refuse once <status>` the first time alone; `cut` ends in the middle the first time;
//! `garbage` is no stream; `nothing` is an answer without a text; `call <tool> <arguments>` calls a tool, and says what it
//! gave; `calls <tool> <arguments>` calls it twice at once; `both <tool> <tool>` calls each; `mail <target> <text>` lists sessions and sends two messages at once; `loop <tool>` calls it again and again;
//! `cutat <n> <tool> <arguments>` calls it and breaks off after so many bytes of the call the first time; `tell <text>` says it with the
//! tool `message`, and then once more; `held …` is answered as
//! what comes behind it, and `wait …` as itself, once the test lets it. Anything else is repeated. The model `busy` is refused with 429, and the model `broke` with 402. Asked to sum up, it
//! says `SUMMARY`; the models `sum-hang`, `sum-refuse`, `sum-long` and `sum-overflow`
//! do then what their names say, and else as any other.

use crate::wire::{get, items, text};
use miniserde::json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Between two words that are said slowly.
const PACE: std::time::Duration = std::time::Duration::from_millis(4);

/// The bodies of requests, each with what the user said last in it.
type Asked = (Mutex<Vec<(String, String)>>, Condvar);

/// A running stand-in.
pub struct Model {
    pub port: u16,
    asked: Arc<Asked>,
    /// Streams that are open.
    pub open: Arc<AtomicUsize>,
    /// How many held requests may be answered.
    released: Arc<(Mutex<usize>, Condvar)>,
}

impl Model {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Asked> = Arc::default();
        let open: Arc<AtomicUsize> = Arc::default();
        let released: Arc<(Mutex<usize>, Condvar)> = Arc::default();
        let (to, count, gate) = (asked.clone(), open.clone(), released.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (to, count, gate) = (to.clone(), count.clone(), gate.clone());
                std::thread::spawn(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = answer(socket, &to, &gate);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, asked, open, released }
    }

    /// Answers one held request.
    pub fn release(&self) {
        *self.released.0.lock().unwrap() += 1;
        self.released.1.notify_all();
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.0.lock().unwrap().iter().map(|(body, _)| body.clone()).collect()
    }

    /// Waits until so many requests came.
    pub fn wait(&self, count: usize) {
        let (asked, change) = &*self.asked;
        let (asked, _) = change
            .wait_timeout_while(asked.lock().unwrap(), crate::wire::LONG, |asked| asked.len() < count)
            .unwrap();
        assert!(asked.len() >= count, "{} requests of {count}", asked.len());
    }

    /// The configuration of a gateway that asks it, with the default agent's `model`, and with `more` beside it. The server
    /// `messages` speaks anthropic-messages.
    pub fn config_with(&self, port: u16, model: &str, more: &str) -> String {
        let server = |api: &str| {
            format!(
                "{{baseUrl:\"http://127.0.0.1:{}/v1\",apiKey:\"sk-test-0123\",api:\"{api}\",\
                 models:[{{id:\"echo\",name:\"Echo\",contextWindow:32000}}]}}",
                self.port
            )
        };
        format!(
            "{{gateway:{{mode:\"local\",bind:\"loopback\",port:{port},auth:{{mode:\"token\",token:\"T1\"}}}},\
             agents:{{defaults:{{model:{model}}}}},{more}\
             models:{{providers:{{\"stand-in\":{},messages:{}}}}}}}",
            server("openai-completions"),
            server("anthropic-messages")
        )
    }
}

/// What of a request the answer depends on.
struct Request {
    /// What the user said last.
    last: String,
    /// What tools gave to what was called since.
    results: Vec<String>,
    model: String,
    /// Whether a conversation is to be summed up.
    sums_up: bool,
}

impl Request {
    fn read(body: &str) -> Self {
        let body: Value = miniserde::json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        let (mut last, mut results) = (String::new(), Vec::new());
        for message in items(&body, "messages") {
            // A text, or a list of parts.
            let parts: Vec<&Value> = match get(message, "content") {
                Some(Value::Array(parts)) => parts.iter().collect(),
                _ => Vec::new(),
            };
            match &*text(message, "role") {
                "tool" => results.push(text(message, "content")),
                "user" => {
                    let given = parts.iter().filter(|part| text(part, "type") == "tool_result");
                    results.extend(given.map(|part| text(part, "content")));
                    let said = parts
                        .iter()
                        .filter(|part| text(part, "type") == "text")
                        .map(|part| text(part, "text"));
                    let said = said.chain([text(message, "content")]).find(|said| !said.is_empty());
                    if let Some(said) = said {
                        last = said.rsplit("\n\n").next().unwrap_or_default().to_owned();
                        results.clear();
                    }
                }
                _ => {}
            }
        }
        let first = items(&body, "messages").first().map(|message| text(message, "content"));
        let system = first.unwrap_or_default() + &text(&body, "system");
        let sums_up = system.starts_with("You sum up");
        Self { last, results, model: text(&body, "model"), sums_up }
    }

    fn word(&self, n: usize) -> &str {
        self.last.split(' ').nth(n).unwrap_or_default()
    }
}

/// What the stand-in answers with: a text, then calls.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<(String, String, String)>,
}

impl Said {
    fn to(request: &Request, times: usize) -> Self {
        let text = |text: &str| Self { text: text.into(), calls: Vec::new() };
        let behind = |n| request.last.splitn(n + 1, ' ').nth(n).unwrap_or_default();
        let call = |n: usize| {
            let arguments = Some(behind(2)).filter(|text| !text.is_empty()).unwrap_or("{}");
            (format!("call_{n}"), request.word(1).to_owned(), arguments.to_owned())
        };
        match request.word(0) {
            _ if request.sums_up && request.model == "sum-long" => text(&"long ".repeat(20_000)),
            _ if request.sums_up => text("SUMMARY"),
            "say" | "slow" | "hang" => text(behind(1)),
            "nothing" => Self::default(),
            "call" | "calls" | "both" | "mail" if !request.results.is_empty() => {
                text(&format!("got {}", request.results.join(" and ")))
            }
            "both" => {
                let call = |n: usize| (format!("call_{n}"), request.word(n + 1).to_owned(), "{}".to_owned());
                Self { text: String::new(), calls: vec![call(0), call(1)] }
            }
            "call" => Self { text: "let me see".into(), calls: vec![call(0)] },
            "tell" if !request.results.is_empty() => text(behind(1)),
            "tell" => {
                let arguments = format!("{{\"message\":{}}}", quoted(behind(1)));
                Self { text: String::new(), calls: vec![("call_0".into(), "message".into(), arguments)] }
            }
            "cutat" if !request.results.is_empty() => text(&format!("got {}", request.results.join(" and "))),
            "cutat" => Self {
                text: String::new(),
                calls: vec![("call_0".into(), request.word(2).into(), behind(3).into())],
            },
            "mail" => {
                let send = |n: usize| {
                    let (target, said) = (quoted(request.word(1)), quoted(&format!("{} {n}", behind(2))));
                    let arguments = format!("{{\"target\":{target},\"message\":{said}}}");
                    (format!("call_{n}"), "message".to_owned(), arguments)
                };
                let list = ("call_0".into(), "sessions_list".into(), "{\"limit\":1}".into());
                Self { text: String::new(), calls: vec![list, send(1), send(2)] }
            }
            "calls" => Self { text: String::new(), calls: vec![call(0), call(1)] },
            "loop" => Self { text: String::new(), calls: vec![call(times)] },
            _ => text(&format!("you said: {}", request.last)),
        }
    }
}

fn answer(socket: TcpStream, asked: &Asked, gate: &(Mutex<usize>, Condvar)) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut out = socket;
    let (mut line, mut length, mut head) = (String::new(), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&lower);
        line.clear();
    }
    if head.is_empty() {
        // It was killed before it had asked.
        return Ok(());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    if !head.starts_with("post /v1/") {
        // What is asked of a server beside its models; as vLLM answers.
        let list = r#"{"data":[{"id":"told","max_model_len":6000}]}"#;
        return match head.starts_with("get /v1/models ") {
            true => write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len()),
            false => write!(out, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        };
    }
    let dialect = match head.starts_with("post /v1/messages http/1.1") {
        true => Dialect::Messages,
        false => Dialect::Completions,
    };
    match dialect {
        Dialect::Messages => {
            assert!(
                head.contains("x-api-key: sk-test-0123") && head.contains("anthropic-version: 2023-06-01"),
                "{head}"
            );
        }
        Dialect::Completions => {
            assert!(head.starts_with("post /v1/chat/completions http/1.1"), "{head}");
            assert!(head.contains("authorization: bearer sk-test-0123"), "{head}");
        }
    }
    let mut request = Request::read(&body);
    let times = {
        let mut all = asked.0.lock().unwrap();
        all.push((body, request.last.clone()));
        asked.1.notify_all();
        all.iter().filter(|(_, last)| *last == request.last).count()
    };
    let held = request.last.strip_prefix("held ").map(str::to_owned);
    if held.is_some() || request.word(0) == "wait" {
        request.last = held.unwrap_or_else(|| request.last.clone());
        if request.results.is_empty() {
            let mut released = gate.1.wait_while(gate.0.lock().unwrap(), |released| *released == 0).unwrap();
            // What waits by itself is let go for good.
            *released -= usize::from(request.word(0) != "wait");
        }
    }
    let refuse = |out: &mut TcpStream, status: &str| {
        let text = format!(r#"{{"error":{{"message":"refused with {status}"}}}}"#);
        write!(
            out,
            "HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    match (&*request.model, request.word(0)) {
        ("sum-refuse", _) if request.sums_up => return refuse(&mut out, "500"),
        ("sum-overflow", _) if request.sums_up => {
            let text = r#"{"error":{"message":"This model's maximum context length is 10 tokens"}}"#;
            return write!(out, "HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        }
        ("busy", _) => return refuse(&mut out, "429"),
        ("broke", _) => return refuse(&mut out, "402"),
        (_, "refuse") if request.word(1) == "once" && times > 1 => {}
        (_, "refuse") if request.word(1) == "once" => return refuse(&mut out, request.word(2)),
        (_, "refuse") => return refuse(&mut out, request.word(1)),
        (_, "garbage") => {
            return write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\ndata: <html>hello\n\n "
            );
        }
        _ => {}
    }
    write!(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut chunk = |text: &str| {
        write!(out, "{:x}\r\n{text}\r\n", text.len())?;
        out.flush()
    };
    let said = Said::to(&request, times);
    chunk(&dialect.begin())?;
    if request.word(0) == "slow" {
        for word in said.text.split_inclusive(' ') {
            chunk(&dialect.text(word))?;
            std::thread::sleep(PACE);
        }
        chunk(&dialect.end(false))?;
        return write!(out, "0\r\n\r\n");
    }
    let middle = (0..=said.text.len() / 2).rev().find(|at| said.text.is_char_boundary(*at)).unwrap_or(0);
    let (first, rest) = said.text.split_at(middle);
    if !first.is_empty() {
        // In the middle of an event, as a network may cut it.
        let event = dialect.text(first);
        let (one, two) = event.split_at(event.len() / 3);
        chunk(one)?;
        chunk(two)?;
    }
    if request.word(0) == "hang" || (request.sums_up && request.model == "sum-hang") {
        // Until the other side closes.
        let mut byte = [0];
        let _ = reader.read(&mut byte);
        return Ok(());
    }
    if request.word(0) == "cut" && times == 1 {
        return Ok(());
    }
    if !rest.is_empty() {
        chunk(&dialect.text(rest))?;
    }
    let calls: String = said.calls.iter().enumerate().flat_map(|(n, call)| dialect.call(n, call)).collect();
    if request.word(0) == "cutat" && times == 1 {
        let at = request.word(1).parse().unwrap();
        // Longer than it is: all of it, without the end of the stream.
        return chunk(calls.get(..at).unwrap_or(&calls));
    }
    if !calls.is_empty() {
        chunk(&calls)?;
    }
    chunk(&dialect.end(!said.calls.is_empty()))?;
    write!(out, "0\r\n\r\n")
}

/// What the stand-in speaks.
#[derive(Clone, Copy)]
enum Dialect {
    Completions,
    Messages,
}

impl Dialect {
    fn begin(self) -> String {
        match self {
            Self::Completions => "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n: alive\n\n".into(),
            Self::Messages => "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
                               event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
                               event: ping\ndata: {\"type\":\"ping\"}\n\n"
                .into(),
        }
    }

    fn text(self, text: &str) -> String {
        let text = quoted(text);
        match self {
            Self::Completions => {
                format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}}}}]}}\n\n")
            }
            Self::Messages => format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{text}}}}}\n\n"
            ),
        }
    }

    /// The events of a call, its arguments in two pieces.
    fn call(self, n: usize, (id, name, arguments): &(String, String, String)) -> Vec<String> {
        let middle = (0..=arguments.len() / 2).rev().find(|at| arguments.is_char_boundary(*at)).unwrap_or(0);
        let (one, two) = arguments.split_at(middle);
        let (one, two, n) = (quoted(one), quoted(two), n + 1);
        match self {
            Self::Completions => {
                let part = |part: String| {
                    format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{part}]}}}}]}}\n\n")
                };
                vec![
                    part(format!(
                        r#"{{"index":{n},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":{one}}}}}"#
                    )),
                    part(format!(r#"{{"index":{n},"function":{{"arguments":{two}}}}}"#)),
                ]
            }
            Self::Messages => {
                let event = |kind: &str, more: String| {
                    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"index\":{n},{more}}}\n\n")
                };
                let piece = |piece: String| {
                    event(
                        "content_block_delta",
                        format!(r#""delta":{{"type":"input_json_delta","partial_json":{piece}}}"#),
                    )
                };
                let block = format!(
                    r#""content_block":{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#
                );
                vec![event("content_block_start", block), piece(one), piece(two)]
            }
        }
    }

    fn end(self, calls: bool) -> String {
        match self {
            Self::Completions => {
                let reason = if calls { "tool_calls" } else { "stop" };
                let usage = "{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}";
                format!(
                    "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
                )
            }
            Self::Messages => {
                let reason = if calls { "tool_use" } else { "end_turn" };
                format!(
                    "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}},\"usage\":{{\"output_tokens\":3}}}}\n\n\
                     event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
                )
            }
        }
    }
}

fn quoted(text: &str) -> String {
    miniserde::json::to_string(text)
}
