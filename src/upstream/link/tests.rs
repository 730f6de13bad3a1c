//! The state machine, input by input. `now` is in seconds.

use super::*;

const BOUNDS: Bounds = Bounds { wait_ns: 120 * S, requests: 4, bytes: 2000 };
const S: u64 = 1_000_000_000;

/// A link, and everything that it sent and answered, in words.
struct Scene {
    link: Link,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        Self { link: Link::new("own-".into()), now: S }
    }

    fn said(effects: Vec<Effect>) -> Vec<String> {
        let word = |effect| match effect {
            Effect::Send(text) => {
                let id = frame::text_at(&text, &["id"]).unwrap_or_default().into_owned();
                let method = frame::text_at(&text, &["method"]).unwrap_or_default().into_owned();
                let id = if id.starts_with("own-") { "own".into() } else { id };
                format!("> {id} {method}")
            }
            Effect::Answer(text) | Effect::Merge(text, _) => match frame::read(&text) {
                Frame::Response { id, outcome: Ok(payload) } => format!("< {id} ok {payload}"),
                Frame::Response { id, outcome: Err(error) } => {
                    let later = frame::at(error, &["retryAfterMs"]).map_or("", |_| " later");
                    format!("< {id} {}{later}", frame::text_at(error, &["code"]).unwrap_or_default())
                }
                _ => format!("< {text}"),
            },
            Effect::Lost(run) => format!("lost {run}"),
            Effect::Event(text, seq) => {
                let seq = seq.map(|at| text[at].to_owned());
                let state = frame::text_at(&text, &["payload", "state"]).unwrap_or_default().into_owned();
                format!("! {} {state} {seq:?}", frame::text_at(&text, &["event"]).unwrap_or_default())
            }
        };
        effects.into_iter().map(word).collect()
    }

    /// A request in four words: id, method, session and key.
    fn ask(&mut self, request: &str) -> Vec<String> {
        let mut words = request.split(' ');
        let [id, method, session, key] = [(); 4].map(|()| words.next().unwrap_or_default());
        let mut params = Vec::new();
        params.extend((!session.is_empty()).then(|| format!(r#""sessionKey":"{session}""#)));
        params.extend((!key.is_empty()).then(|| format!(r#""idempotencyKey":"{key}""#)));
        let text =
            format!(r#"{{"type":"req","id":"{id}","method":"{method}","params":{{{}}}}}"#, params.join(","));
        let parsed = crate::protocol::RequestFrame::parse(text.clone()).unwrap_or_else(|_| panic!("{text}"));
        let repeat = super::super::repeat::classify(&parsed);
        match self.link.request((id, method, &text), repeat, self.now, &BOUNDS) {
            Ok(effects) => Self::said(effects),
            Err(error) => vec![format!("refused: {}", error.message())],
        }
    }

    fn open(&mut self, boot: &str) -> Vec<String> {
        Self::said(self.link.opened(boot, self.now))
    }

    fn lose(&mut self) -> Vec<String> {
        Self::said(self.link.closed("it closed the connection (1012)"))
    }

    fn ok(&mut self, id: &str, payload: &str) -> Vec<String> {
        self.frame(format!(r#"{{"type":"res","id":"{id}","ok":true,"payload":{payload}}}"#))
    }

    fn fails(&mut self, id: &str, error: &str) -> Vec<String> {
        self.frame(format!(r#"{{"type":"res","id":"{id}","ok":false,"error":{error}}}"#))
    }

    fn frame(&mut self, text: String) -> Vec<String> {
        Self::said(self.link.frame(text, self.now))
    }

    /// Answers this gateway's own request that is open.
    fn own(&mut self, outcome: Result<&str, &str>) -> Vec<String> {
        let id = self.link.own.keys().next().cloned().unwrap_or_else(|| panic!("none is open"));
        match outcome {
            Ok(payload) => self.ok(&id, payload),
            Err(error) => self.fails(&id, error),
        }
    }

    fn later(&mut self, seconds: u64) -> Vec<String> {
        self.now += seconds * S;
        Self::said(self.link.tick(self.now))
    }
}

const NONE: [&str; 0] = [];

#[test]
fn requests_wait_in_order_and_are_sent_when_it_is_there() {
    let mut s = Scene::new();
    assert_eq!(s.ask("1 sessions.list"), NONE);
    assert_eq!(s.ask("2 cron.add"), NONE);
    assert_eq!(s.open("a"), ["> 1 sessions.list", "> 2 cron.add"]);
    assert_eq!(s.ask("3 sessions.patch"), ["> 3 sessions.patch"]);
    assert_eq!(s.ok("2", "{}"), ["< 2 ok {}"]);
    assert_eq!(s.ok("2", "{}"), NONE, "an answer to nothing");
    assert_eq!(s.frame("half a frame".into()), NONE);
}

#[test]
fn what_a_lost_connection_means_for_each_kind() {
    let mut s = Scene::new();
    s.open("a");
    for request in ["1 sessions.list", "2 sessions.patch main", "3 chat.send main k3", "4 send main k4"] {
        s.ask(request);
    }
    assert_eq!(s.lose(), ["< 2 UNAVAILABLE later", "< 4 UNAVAILABLE later"]);
    // The message is looked for before anything is sent.
    assert_eq!(s.open("b"), ["> own chat.history"]);
    assert_eq!(s.own(Ok(r#"{"messages":[]}"#)), ["> 1 sessions.list", "> 3 chat.send"]);
    assert_eq!(
        s.ok("3", r#"{"runId":"k3","status":"started"}"#),
        [r#"< 3 ok {"runId":"k3","status":"started"}"#]
    );
}

#[test]
fn a_message_that_arrived_is_not_sent_again() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 chat.send main k1");
    s.lose();
    s.open("b");
    let arrived = r#"{"messages":[{"role":"user","idempotencyKey":"k1:user"}]}"#;
    assert_eq!(s.own(Ok(arrived)), [r#"< 1 ok {"runId":"k1","status":"started"}"#]);
    s.ask("2 chat.send main k2");
    s.lose();
    assert_eq!(s.open("c"), ["> own chat.history", "> own sessions.list"]);
    assert_eq!(s.own(Err(r#"{"code":"INVALID_REQUEST"}"#)), ["< 2 UNAVAILABLE later"], "it may have arrived");
    assert_eq!(
        s.own(Ok(r#"{"sessions":[]}"#)),
        [r#"! chat error Some("0")"#, "lost k1"],
        "the run of k1 is lost"
    );
}

#[test]
fn subscriptions_come_first() {
    let mut s = Scene::new();
    s.open("a");
    for (id, method) in [
        ("1", "sessions.subscribe"),
        ("2", "sessions.messages.subscribe"),
        ("3", "sessions.messages.subscribe"),
    ] {
        let session = ["", "one", "two"][id.parse::<usize>().unwrap_or_default() - 1];
        s.ask(&format!("{id} {method} {session}"));
        s.ok(id, "{}");
    }
    s.ask("4 sessions.messages.unsubscribe one");
    s.ok("4", "{}");
    s.lose();
    s.ask("5 sessions.list");
    assert_eq!(s.open("a"), ["> own sessions.messages.subscribe", "> own sessions.subscribe"]);
    assert_eq!(s.own(Ok("{}")), NONE);
    assert_eq!(s.own(Ok("{}")), ["> 5 sessions.list"]);
}

#[test]
fn one_that_is_not_ready_is_asked_again() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 sessions.patch main");
    let starting = r#"{"code":"UNAVAILABLE","details":{"reason":"startup-sidecars"},"retryAfterMs":2000}"#;
    assert_eq!(s.fails("1", starting), NONE);
    assert_eq!(s.ask("2 sessions.list"), ["> 2 sessions.list"], "others do not wait");
    assert_eq!(s.later(1), NONE);
    assert_eq!(s.later(1), ["> 1 sessions.patch"]);
    let reloaded = r#"{"code":"UNAVAILABLE","message":"PluginInstanceUnavailableError: x"}"#;
    assert_eq!(s.fails("2", reloaded), NONE);
    assert_eq!(s.later(1), ["> 2 sessions.list"]);
    assert_eq!(s.fails("1", reloaded), ["< 1 UNAVAILABLE"], "it may have been begun");
    assert_eq!(s.ok("2", r#"{"ok":false,"error":{"code":"internal_error"}}"#), NONE);
    assert_eq!(s.later(1), ["> 2 sessions.list"]);
    s.now += 200 * S;
    assert_eq!(s.fails("2", reloaded), ["< 2 UNAVAILABLE"], "the client has waited long enough");
}

#[test]
fn waiting_is_bounded() {
    let mut s = Scene::new();
    for id in 1..=4 {
        assert_eq!(s.ask(&format!("{id} sessions.list")), NONE);
    }
    assert!(s.ask("5 sessions.list")[0].starts_with("refused: too much waits"));
    assert_eq!(s.later(119), NONE);
    assert_eq!(s.later(1).len(), 4);
    let long = "x".repeat(3000);
    assert!(s.ask(&format!("6 sessions.list {long}"))[0].starts_with("refused: too much waits"));
    s.open("a");
    assert_eq!(s.ask(&format!("7 sessions.list {long}")), ["> 7 sessions.list"]);
    assert_eq!(s.lose(), ["< 7 UNAVAILABLE later"], "it was not kept");
}

#[test]
fn a_run_that_a_restart_lost_is_ended() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 agent main r1");
    assert_eq!(s.ok("1", r#"{"runId":"r1","status":"accepted"}"#).len(), 1);
    s.ask("2 chat.send other r2");
    s.ok("2", r#"{"runId":"r2","status":"started"}"#);
    s.lose();
    assert_eq!(s.open("b"), ["> own sessions.list"]);
    let list = r#"{"sessions":[{"key":"agent:main:other","hasActiveRun":true,"activeRunIds":["r2"]},{"key":"agent:main:main","hasActiveRun":false}]}"#;
    let ended = s.own(Ok(list));
    assert_eq!(ended[0], r#"! chat error Some("0")"#);
    assert!(ended[1].starts_with(r#"< 1 ok {"runId":"r1","status":"error""#), "{ended:?}");
    assert_eq!(ended[2..], ["lost r1"]);
}

#[test]
fn who_watches_a_run_or_waits_for_it_hears_that_it_is_lost() {
    let chat = |run: &str, state: &str| {
        format!(
            r#"{{"type":"event","event":"chat","payload":{{"runId":"{run}","sessionKey":"main","state":"{state}"}},"seq":1}}"#
        )
    };
    let mut s = Scene::new();
    s.open("a");
    for (run, state) in [("seen", "delta"), ("seen", "delta"), ("over", "delta"), ("over", "final")] {
        s.frame(chat(run, state));
    }
    s.frame(
        r#"{"type":"event","event":"agent","payload":{"runId":"over","stream":"assistant"},"seq":2}"#.into(),
    );
    s.ask("1 agent.wait");
    let wait = |id: &str, run: &str| {
        format!(r#"{{"type":"req","id":"{id}","method":"agent.wait","params":{{"runId":"{run}"}}}}"#)
    };
    for (id, run) in [("2", "awaited"), ("3", "going")] {
        let text = wait(id, run);
        s.link
            .request((id, "agent.wait", &text), Repeat::Harmless, s.now, &BOUNDS)
            .map(drop)
            .unwrap_or_default();
    }
    s.lose();
    // Whoever asks first while it is away may mean a run that is yet to begin.
    let text = wait("4", "later");
    s.link
        .request(("4", "agent.wait", &text), Repeat::Harmless, s.now, &BOUNDS)
        .map(drop)
        .unwrap_or_default();
    assert_eq!(s.open("b"), ["> own sessions.list"]);
    let ended = s.own(Ok(r#"{"sessions":[{"activeRunIds":["going"]}]}"#));
    assert_eq!(ended[0], r#"! chat error Some("0")"#);
    assert!(ended[1].starts_with(r#"< 2 ok {"runId":"awaited","status":"error""#), "{ended:?}");
    assert_eq!(
        ended[2..],
        ["lost awaited", "lost seen", "> 1 agent.wait", "> 3 agent.wait", "> 4 agent.wait"]
    );
}

#[test]
fn a_run_is_lost_though_its_session_is_active_with_another() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 chat.send main r1");
    s.ok("1", r#"{"runId":"r1","status":"started"}"#);
    s.ask("2 chat.send other r2");
    s.ok("2", r#"{"runId":"r2","status":"started"}"#);
    s.lose();
    s.open("b");
    let list = r#"{"sessions":[{"key":"agent:main:main","hasActiveRun":true},{"key":"agent:main:other","hasActiveRun":true,"activeRunIds":["r2"]}]}"#;
    assert_eq!(s.own(Ok(list)), [r#"! chat error Some("0")"#, "lost r1"]);
    assert_eq!(s.link.runs.len(), 1);
}

#[test]
fn the_second_answer_of_a_run_that_went_on_is_asked_for() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 agent main r1");
    s.ok("1", r#"{"runId":"r1","status":"accepted"}"#);
    s.lose();
    assert_eq!(s.open("a"), ["> own agent.wait"]);
    assert_eq!(s.ask("2 sessions.list"), ["> 2 sessions.list"], "nobody waits for the run");
    assert_eq!(s.own(Ok(r#"{"runId":"r1","status":"ok"}"#)), [r#"< 1 ok {"runId":"r1","status":"ok"}"#]);
}

#[test]
fn events_keep_their_form() {
    let mut s = Scene::new();
    s.open("a");
    let event = |name: &str| format!(r#"{{"type":"event","event":"{name}","payload":{{}},"seq":9}}"#);
    assert_eq!(s.frame(event("chat")), [r#"! chat  Some("9")"#]);
    for own in ["tick", "presence", "shutdown", "device.pair.requested"] {
        assert_eq!(s.frame(event(own)), NONE, "{own}");
    }
}

#[test]
fn it_continues_in_another_process() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 sessions.list");
    s.ask("2 sessions.patch main");
    s.link = nanoserde::DeBin::deserialize_bin(&s.link.serialize_bin()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.ok("2", "{}"), ["< 2 ok {}"]);
    assert_eq!(s.lose(), NONE);
    assert_eq!(s.open("b"), ["> 1 sessions.list"]);
}

#[test]
fn status_has_this_gateways_part_even_if_openclaw_has_none() {
    let mut s = Scene::new();
    s.open("a");
    s.ask("1 status");
    assert_eq!(s.fails("1", r#"{"code":"UNAVAILABLE"}"#), [r#"< 1 ok {"error":{"code":"UNAVAILABLE"}}"#]);
    s.ask("2 status");
    assert_eq!(s.ok("2", r#"{"a":1}"#), [r#"< 2 ok {"a":1}"#]);
    s.ask("3 cron.list");
    assert_eq!(s.fails("3", r#"{"code":"UNAVAILABLE"}"#), ["< 3 UNAVAILABLE"]);
}
