//! Events of a run, as it goes.

use super::record::{call_part, text_part};
use crate::{
    agents::{Run, conversation::Call},
    app::App,
    clock::wall_ms,
    hub::Audience,
    methods::shape::Object,
    protocol::{Event, Json},
    sessions::SessionKey,
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// Bytes of a text from which on what is said is sent only every so often: each event holds all of it.
const LONG: usize = 16 << 10;
const SELDOM: Duration = Duration::from_millis(150);

/// Tells what a model says, at once or, where it has said much, every so often.
pub(super) fn tell(
    app: &Rc<App>,
    key: &SessionKey,
    run: &Rc<Run>,
    piece: &str,
    replace: &mut bool,
    held: &mut Option<(String, Instant)>,
) {
    let (pending, since) = held.get_or_insert_with(|| (String::new(), Instant::now()));
    pending.push_str(piece);
    if run.said.borrow().len() < LONG || since.elapsed() >= SELDOM {
        let text = std::mem::take(pending);
        *since = Instant::now();
        delta(app, key, run, &text, replace);
    }
}

pub(super) fn delta(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>, text: &str, replace: &mut bool) {
    let said = run.said.borrow().clone();
    let data = Object::new().put("text", &said).put("delta", text).json();
    agent_event(app, key, run, "assistant", &data);
    let mut event =
        chat(run, key).put("state", "delta").put("deltaText", if *replace { said.as_str() } else { text });
    if std::mem::take(replace) {
        event = event.put("replace", &true);
    }
    app.hub.events.publish(
        Event::Chat,
        Audience::Everyone,
        &event.put("message", &snapshot(&said, &[], wall_ms())).json(),
    );
}

/// What every `chat` event has.
pub(super) fn chat(run: &Run, key: &SessionKey) -> Object {
    Object::new()
        .put("runId", &run.id)
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("seq", &run.next_seq())
}

pub(super) fn status(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>, phase: &str) {
    let event = chat(run, key).put("state", "status").put("phase", phase);
    app.hub.events.publish(Event::Chat, Audience::Everyone, &event.json());
}

pub(super) fn agent_event(app: &Rc<App>, key: &SessionKey, run: &Rc<Run>, stream: &str, data: &Json) {
    let event = Object::new()
        .put("runId", &run.id)
        .put("sessionKey", key.wire())
        .put("agentId", key.agent())
        .put("stream", stream)
        .put("data", data)
        .put("seq", &run.next_seq())
        .put("ts", &wall_ms());
    app.hub.events.publish(Event::Agent, Audience::Everyone, &event.json());
}

pub(super) fn snapshot(text: &str, calls: &[Call], now: u64) -> Json {
    let parts: Vec<Json> = [text_part(text)].into_iter().chain(calls.iter().map(call_part)).collect();
    Object::new().put("role", "assistant").put("content", &parts).put("timestamp", &now).json()
}
