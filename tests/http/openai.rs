//! The API of OpenAI over plain HTTP, in front of a model stand-in: whole and streamed answers, who may, what remains.

use crate::{
    model::Model,
    server::{Answer, Http},
    wire::{ADMIN, Client, Device, Home, Offer, Server, items, number, text},
};
use miniserde::json::Value;
use std::{fs, path::Path};

pub const SHARED: &str = "Authorization: Bearer T1\r\n";

pub fn gateway() -> (Model, Home, Server) {
    let (model, home) = (Model::start(), Home::empty());
    home.config(&on(&model, home.port));
    let server = home.start();
    (model, home, server)
}

/// A configuration with the endpoint on.
fn on(model: &Model, port: u16) -> String {
    let config = model.config_with(port, "{primary:\"stand-in/echo\"}", "");
    config.replacen("{gateway:{", "{gateway:{http:{endpoints:{chatCompletions:{enabled:true}}},", 1)
}

fn asking(text: &str) -> String {
    format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#)
}

pub fn post(server: &Server, headers: &str, body: &str) -> Http {
    let mut http = Http::dial(server);
    let length = body.len();
    http.send(&format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ));
    http
}

pub fn ask(server: &Server, headers: &str, body: &str) -> (u16, Value) {
    let Answer { status, body, .. } = post(server, headers, body).answer();
    (status, miniserde::json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}")))
}

fn get(server: &Server, path: &str, headers: &str) -> Answer {
    let mut http = Http::dial(server);
    http.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    http.answer()
}

/// The data of a stream's events, and whatever else an answer of chunks has.
pub fn events(http: &mut Http) -> Vec<String> {
    let (status, head) = http.head();
    assert!(status == 200 && head.contains("text/event-stream"), "{head}");
    let mut all = String::new();
    loop {
        match http.chunk() {
            chunk if chunk.is_empty() => break,
            chunk => all.push_str(&chunk),
        }
    }
    all.split("\n\n").filter_map(|event| Some(event.strip_prefix("data: ")?.to_owned())).collect()
}

fn transcripts(home: &Home) -> usize {
    let agents = home.config_path().parent().unwrap().join("barnacle/agents/main/sessions");
    fs::read_dir(agents).map_or(0, |dir| dir.flatten().count())
}

fn sessions(client: &mut Client) -> Vec<String> {
    let list = client.ok("sessions.list", "{}");
    items(&list, "sessions").iter().map(|row| text(row, "key")).collect()
}

#[test]
fn g33_what_is_off_says_which_line_turns_it_on() {
    let (model, home) = (Model::start(), Home::empty());
    home.config(&model.config_with(home.port, "{primary:\"stand-in/echo\"}", ""));
    let server = home.start();
    let (status, error) = ask(&server, "", &format!("{{{}}}", asking("hi")));
    let message = text(&error, "error.message");
    assert!(status == 404 && message.contains("gateway.http.endpoints.chatCompletions.enabled"), "{message}");
    assert!(get(&server, "/v1/models", SHARED).body.contains("chatCompletions.enabled"));
    // As integrations probe it.
    let probe = get(&server, "/v1/chat/completions", "");
    assert_eq!(probe.status, 405);
    assert!(probe.head.contains("allow: post") && probe.head.contains("application/json"), "{}", probe.head);
    // The next request after the edit.
    let mut admin = server.admin();
    home.config(&on(&model, home.port));
    admin.event("config.reloaded");
    assert_eq!(ask(&server, SHARED, &format!("{{{}}}", asking("hi"))).0, 200);
}

#[test]
fn an_answer_as_one() {
    let (model, home, server) = gateway();
    let (status, answer) =
        ask(&server, SHARED, &format!(r#"{{"model":"openclaw/main",{}}}"#, asking("say hello there")));
    assert_eq!((status, text(&answer, "choices.0.message.content")), (200, "hello there".into()));
    assert_eq!(text(&answer, "object"), "chat.completion");
    assert_eq!(text(&answer, "model"), "openclaw/main");
    assert_eq!(text(&answer, "choices.0.finish_reason"), "stop");
    assert!(number(&answer, "usage.total_tokens") > 0);
    let models = get(&server, "/v1/models", SHARED);
    for id in ["openclaw", "openclaw/default", "openclaw/main"] {
        assert!(models.body.contains(&format!(r#""id":"{id}""#)), "{}", models.body);
    }
    assert_eq!(get(&server, "/v1/models/openclaw%2Fdefault", SHARED).status, 200);
    assert_eq!(get(&server, "/v1/models/gpt-4", SHARED).status, 404);
    assert_eq!((sessions(&mut server.admin()), transcripts(&home)), (vec![], 0));
    assert_eq!(model.asked().len(), 1);
}

#[test]
fn an_answer_as_it_is_said() {
    let (_model, _home, server) = gateway();
    let body = format!(
        r#"{{"model":"openclaw","stream":true,"stream_options":{{"include_usage":true}},{}}}"#,
        asking("say hello there")
    );
    let mut http = post(&server, SHARED, &body);
    let events = events(&mut http);
    let parsed: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| miniserde::json::from_str(event).unwrap()).collect();
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(text(&parsed[0], "choices.0.delta.role"), "assistant");
    let said: String = parsed.iter().map(|event| text(event, "choices.0.delta.content")).collect();
    assert_eq!(said, "hello there");
    assert_eq!(text(&parsed[parsed.len() - 2], "choices.0.finish_reason"), "stop");
    assert!(number(parsed.last().unwrap(), "usage.total_tokens") > 0);
    let ids: Vec<String> = parsed.iter().map(|event| text(event, "id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.starts_with("chatcmpl_")), "{ids:?}");
    // The same connection takes the next request.
    http.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer().status, 200);
}

#[test]
fn a_model_that_fails_is_an_error_and_an_end() {
    let (_model, home, server) = gateway();
    let (status, error) = ask(&server, SHARED, &format!("{{{}}}", asking("refuse 400")));
    assert!(status == 502 && text(&error, "error.message").contains("refused with 400"), "{status}");
    let body = format!(r#"{{"stream":true,{}}}"#, asking("refuse 400"));
    let events = events(&mut post(&server, SHARED, &body));
    let [.., error, done] = &*events else { panic!("{events:?}") };
    assert!(error.starts_with(r#"{"error":{"message":"#) && done == "[DONE]", "{events:?}");
    assert_eq!(transcripts(&home), 0);
}

#[test]
fn who_may() {
    let (_model, home, server) = gateway();
    home.gateway("");
    let model = Model::start();
    home.config(&on(&model, home.port));
    let body = format!("{{{}}}", asking("hi"));
    let token = |scopes: &[&'static str]| {
        let device = Device::new();
        server.connect(&Offer::device(&device).token("T1").scopes(scopes)).device_token()
    };
    let (reads, writes) = (token(&["operator.read"]), token(&["operator.write"]));
    for (bearer, status) in [("", 401), ("T1", 200), ("wrong", 401), (&*reads, 403), (&*writes, 200)] {
        let header =
            if bearer.is_empty() { String::new() } else { format!("Authorization: Bearer {bearer}\r\n") };
        let (found, answer) = ask(&server, &header, &body);
        assert_eq!(found, status, "{bearer}: {}", crate::wire::json(&answer));
        let models = get(&server, "/v1/models", &header);
        assert_eq!(models.status, if status == 403 { 200 } else { status }, "{bearer}");
    }
    assert_eq!(ADMIN[0], "operator.admin");
    let named = |headers: &str| ask(&server, headers, &body);
    let writes = format!("Authorization: Bearer {writes}\r\nx-openclaw-model: stand-in/echo\r\n");
    assert_eq!(named(&writes).0, 403);
    assert_eq!(named(&format!("{SHARED}x-openclaw-model: stand-in/echo\r\n")).0, 200);
    assert_eq!(named(&format!("{SHARED}x-openclaw-model: other/model\r\n")).0, 400);
    for key in ["cron:x", "agent:main:subagent:x", "acp:x", "openai:x", "agent:nobody:x"] {
        let (status, error) = named(&format!("{SHARED}x-openclaw-session-key: {key}\r\n"));
        assert_eq!((status, text(&error, "error.type")), (400, "invalid_request_error".into()), "{key}");
    }
}

#[test]
fn g26_a_session_for_each_user_and_none_for_nobody() {
    let (model, home, server) = gateway();
    let mut admin = server.admin();
    for n in 0..22 {
        assert_eq!(ask(&server, SHARED, &format!("{{{}}}", asking(&format!("say {n}")))).0, 200);
        let body = format!(r#"{{"user":"chat-1",{}}}"#, asking(&format!("say n{n}")));
        assert_eq!(ask(&server, SHARED, &body).0, 200);
    }
    assert_eq!(sessions(&mut admin), ["agent:main:openai-user:chat-1"]);
    assert_eq!(transcripts(&home), 1);
    let last = model.asked().pop().unwrap();
    assert!(last.contains("say n0") && last.contains("say n21"), "the model is told what was said before");
    assert!(!last.contains("say 3\""), "and nothing of others: {last}");
    let header = format!("{SHARED}x-openclaw-session-key: kitchen\r\n");
    assert_eq!(ask(&server, &header, &format!("{{{}}}", asking("hi"))).0, 200);
    assert_eq!(sessions(&mut admin).len(), 2);
}

#[test]
fn what_was_said_before_is_told_in_order() {
    let (model, _home, server) = gateway();
    let body = r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"one"},
        {"role":"assistant","content":"two"},{"role":"user","content":"three"}]}"#;
    let (status, answer) = ask(&server, SHARED, body);
    assert_eq!(status, 200, "{}", crate::wire::json(&answer));
    let asked = model.asked().pop().unwrap();
    let places: Vec<usize> =
        ["one", "two", "be brief", "three"].map(|word| asked.find(word).expect(word)).into();
    assert!(places.is_sorted(), "{asked}");
}

#[test]
fn a_client_that_leaves_ends_its_run() {
    let (_model, home, server) = gateway();
    let mut admin = server.admin();
    for stream in ["true", "false"] {
        let body = format!(r#"{{"stream":{stream},{}}}"#, asking("hang on a while"));
        let http = post(&server, SHARED, &body);
        while text(&admin.event("chat"), "payload.state") != "delta" {}
        drop(http);
        let ended = loop {
            match text(&admin.event("chat"), "payload.state") {
                state if state == "delta" => {}
                state => break state,
            }
        };
        assert_eq!(ended, "aborted", "stream: {stream}");
    }
    // It leaves nothing either: the row goes once the run has ended.
    admin.ok("sessions.subscribe", "{}");
    while !sessions(&mut admin).is_empty() {}
    assert_eq!(transcripts(&home), 0);
}

#[test]
fn a_crash_leaves_no_temporary_session() {
    let (model, home, server) = gateway();
    let http = post(&server, SHARED, &format!(r#"{{"stream":true,{}}}"#, asking("hang on")));
    model.wait(1);
    assert_eq!(transcripts(&home), 1);
    server.kill();
    drop(http);
    let server = home.start();
    let mut admin = server.admin();
    while !sessions(&mut admin).is_empty() {}
    assert_eq!(transcripts(&home), 0);
    assert_eq!(model.asked().len(), 1, "nobody waits for the answer, so it is not asked for again");
    assert!(Path::new(&home.config_path()).exists());
}

#[test]
fn bodies_that_are_none() {
    let (_model, _home, server) = gateway();
    for (body, part) in [
        (r#"{"model":"#, "not a JSON object"),
        ("[]", "not a JSON object"),
        (r#"{"messages":[]}"#, "Missing user message"),
        (r#"{"model":"gpt-4","messages":[{"role":"user","content":"x"}]}"#, "Invalid `model`"),
    ] {
        let (status, error) = ask(&server, SHARED, body);
        assert!(status == 400 && text(&error, "error.message").contains(part), "{body}");
    }
    let mut http = Http::dial(&server);
    http.send(&format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{SHARED}Content-Length: 3000000\r\n\r\n"
    ));
    let answer = http.answer();
    assert!(answer.status == 413 && answer.body.starts_with(r#"{"error":"#), "{}", answer.body);
    let mut http = Http::dial(&server);
    http.send("POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    let answer = http.answer();
    assert!(answer.status == 404 && answer.body.contains("a path of OpenClaw's"), "{}", answer.body);
}
