//! Tools of a client over `POST /v1/chat/completions`: offered, called, brought back, and what is wrong with a request.

use crate::{
    model::Model,
    openai::{SHARED, ask, events, gateway, post},
    wire::{Server, get, items, json, text},
};
use miniserde::json::Value;

const WEATHER: &str = r#"{"type":"function","function":{"name":"weather","description":"tells the weather",
    "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}"#;
const ASKS: &str = r#"{"role":"user","content":"call weather {\"city\":\"Bern\"}"}"#;

fn calling(id: &str, name: &str) -> String {
    let function = format!(r#"{{"name":"{name}","arguments":"{{\"city\":\"Bern\"}}"}}"#);
    format!(
        r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"{id}","type":"function","function":{function}}}]}}"#
    )
}

fn gave(id: &str, what: &str) -> String {
    format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"{what}"}}"#)
}

/// Asks with messages, the tool, and `more` members.
fn asked(server: &Server, messages: &[&str], more: &str) -> (u16, Value) {
    let messages = messages.join(",");
    ask(server, SHARED, &format!(r#"{{"tools":[{WEATHER}],{more}"messages":[{messages}]}}"#))
}

/// The model's last request.
fn last(model: &Model) -> Value {
    miniserde::json::from_str(&model.asked().pop().unwrap()).unwrap()
}

/// Its messages, `role:text` and `role:(ids)`.
fn told(model: &Model) -> String {
    let last = last(model);
    let shown = |message: &&Value| {
        let ids: Vec<String> = items(message, "tool_calls").iter().map(|call| text(call, "id")).collect();
        let said = if ids.is_empty() { text(message, "content") } else { format!("({})", ids.join(",")) };
        format!("{}:{}", &text(message, "role")[..1], said.replace("\n\n", "+"))
    };
    items(&last, "messages")
        .iter()
        .filter(|message| text(message, "role") != "system")
        .map(shown)
        .collect::<Vec<_>>()
        .join(" ")
}

fn offered(model: &Model) -> Vec<String> {
    items(&last(model), "tools").iter().map(|tool| text(tool, "function.name")).collect()
}

const BERN: &str = r#"{"city":"Bern"}"#;

#[test]
fn a_call_is_handed_back_and_gone_on_with() {
    let (model, _home, server) = gateway();
    let (status, answer) = asked(&server, &[ASKS], "");
    assert_eq!((status, text(&answer, "choices.0.finish_reason")), (200, "tool_calls".into()));
    let message = get(&answer, "choices.0.message").unwrap();
    assert_eq!((text(message, "role"), text(message, "content")), ("assistant".into(), "let me see".into()));
    let [call] = &*items(message, "tool_calls") else { panic!("{}", json(message)) };
    let shown = ["id", "type", "function.name", "function.arguments"].map(|path| text(call, path));
    assert_eq!(shown, ["call_0", "function", "weather", BERN]);
    let offers = offered(&model);
    assert!(offers[0] == "weather" && offers.contains(&"sessions_list".into()), "{offers:?}");
    let schema = get(&last(&model), "tools.0.function.parameters.properties.city.type").map(json);
    assert_eq!(schema.as_deref(), Some("\"string\""));

    let (status, answer) =
        asked(&server, &[ASKS, &calling("call_0", "weather"), &gave("call_0", "7 °C")], "");
    assert_eq!((status, text(&answer, "choices.0.message.content")), (200, "got 7 °C".into()));
    assert_eq!(text(&answer, "choices.0.finish_reason"), "stop");
    assert_eq!(told(&model), format!("u:call weather {BERN} a:(call_0) t:7 °C"));

    // The next question, with all that was before; a result that says nothing.
    let says = r#"{"role":"assistant","content":"it is cold"}"#;
    let next = r#"{"role":"user","content":"say well"}"#;
    let (status, _) =
        asked(&server, &[ASKS, &calling("call_0", "weather"), &gave("call_0", ""), says, next], "");
    assert_eq!(status, 200);
    assert_eq!(told(&model), format!("u:call weather {BERN} a:(call_0) t: a:it is cold u:say well"));
}

#[test]
fn a_call_as_it_is_streamed() {
    let (_model, _home, server) = gateway();
    for (more, said) in [("", "let me see"), (r#""tool_choice":"required","#, "let me see")] {
        let body = format!(r#"{{"tools":[{WEATHER}],{more}"stream":true,"messages":[{ASKS}]}}"#);
        let events = events(&mut post(&server, SHARED, &body));
        let [.., done] = &*events else { panic!("{events:?}") };
        assert_eq!(done, "[DONE]");
        let parsed: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|event| miniserde::json::from_str(event).unwrap())
            .collect();
        let content: String = parsed.iter().map(|event| text(event, "choices.0.delta.content")).collect();
        assert_eq!(content, said);
        let parts: Vec<&Value> =
            parsed.iter().flat_map(|event| items(event, "choices.0.delta.tool_calls")).collect();
        let joined = |path: &str| parts.iter().map(|part| text(part, path)).collect::<String>();
        assert!(parts.iter().all(|part| text(part, "index") == "0"), "{events:?}");
        let shown = ["id", "type", "function.name", "function.arguments"].map(joined);
        assert_eq!(shown, ["call_0", "function", "weather", BERN]);
        assert_eq!(text(parsed.last().unwrap(), "choices.0.finish_reason"), "tool_calls");
    }
}

#[test]
fn a_clients_tool_stands_before_the_agents_of_the_same_name() {
    let (model, _home, server) = gateway();
    let tool = WEATHER.replace("weather", "session_status");
    let body = format!(
        r#"{{"tools":[{tool}],"messages":[{{"role":"user","content":"call session_status {{}}"}}]}}"#
    );
    let (status, answer) = ask(&server, SHARED, &body);
    assert_eq!((status, text(&answer, "choices.0.finish_reason")), (200, "tool_calls".into()));
    assert_eq!(offered(&model).iter().filter(|name| *name == "session_status").count(), 1);
    assert_eq!(model.asked().len(), 1);
}

#[test]
fn both_the_agents_tools_and_the_clients_are_called() {
    let (model, home, server) = gateway();
    let asks = r#"{"role":"user","content":"both sessions_list weather"}"#;
    let (_, answer) = asked(&server, &[asks], r#""user":"u","#);
    let calls = items(&answer, "choices.0.message.tool_calls");
    assert_eq!(calls.iter().map(|call| text(call, "function.name")).collect::<Vec<_>>(), ["weather"]);
    let (status, _) =
        asked(&server, &[asks, &calling("call_1", "weather"), &gave("call_1", "7")], r#""user":"u","#);
    assert_eq!(status, 200);
    let told = told(&model);
    let begin = "u:both sessions_list weather a:(call_0,call_1) t:{";
    assert!(told.starts_with(begin) && told.ends_with(" t:7"), "{told}");
    drop(home);
}

#[test]
fn what_a_model_must_call() {
    let (model, _home, server) = gateway();
    let this = r#""tool_choice":{"type":"function","function":{"name":"weather"}},"#;
    for (choice, at_model, only) in [
        (r#""tool_choice":"required","#, Some("\"required\""), true),
        (this, Some(r#"{"function":{"name":"weather"},"type":"function"}"#), true),
        (r#""tool_choice":"auto","#, None, false),
    ] {
        let (status, answer) = asked(&server, &[ASKS], choice);
        assert_eq!(
            (status, text(&answer, "choices.0.finish_reason")),
            (200, "tool_calls".into()),
            "{choice}"
        );
        assert_eq!(get(&last(&model), "tool_choice").map(json).as_deref(), at_model);
        assert_eq!(offered(&model) == ["weather"], only, "{choice}");
    }
    let (_, answer) = asked(&server, &[ASKS], r#""tool_choice":"none","#);
    assert!(!offered(&model).contains(&"weather".into()));
    assert!(text(&answer, "choices.0.message.content").contains("there is no tool"), "{}", json(&answer));
    // One that calls none all the same.
    let says = r#"{"role":"user","content":"say no"}"#;
    let (status, error) = asked(&server, &[says], r#""tool_choice":"required","#);
    assert!(status == 502 && text(&error, "error.message").contains("`tool_choice`"), "{}", json(&error));
    let body =
        format!(r#"{{"tools":[{WEATHER}],"tool_choice":"required","stream":true,"messages":[{says}]}}"#);
    let events = events(&mut post(&server, SHARED, &body));
    assert!(events.iter().all(|event| !event.contains("\"no\"")), "what was said is held: {events:?}");
    assert!(events[events.len() - 2].starts_with(r#"{"error":{"message":"#), "{events:?}");
}

#[test]
fn a_session_that_lasts_knows_its_calls() {
    let (model, home, server) = gateway();
    let mut admin = server.admin();
    let user = r#""user":"u","#;
    assert_eq!(asked(&server, &[ASKS], user).0, 200);
    // Meanwhile somebody else says something there.
    let key = "agent:main:openai-user:u";
    let send = format!(r#"{{"sessionKey":"{key}","message":"say hello","idempotencyKey":"k"}}"#);
    admin.ok("chat.send", &send);
    loop {
        let event = admin.event("chat");
        if text(&event, "payload.runId") == "k" && text(&event, "payload.state") == "final" {
            break;
        }
    }
    assert_eq!(told(&model).matches("There is no result").count(), 1);
    // The result alone; then, since that failed for the client, with all messages again.
    let (_, answer) = asked(&server, &[&gave("call_0", "7")], user);
    assert_eq!(text(&answer, "choices.0.message.content"), "got 7");
    let expected = format!("u:say hello a:hello u:call weather {BERN} a:(call_0) t:7");
    assert_eq!(told(&model), expected);
    let (status, _) = asked(&server, &[ASKS, &calling("call_0", "weather"), &gave("call_0", "7")], user);
    assert_eq!(status, 200);
    assert_eq!(told(&model), format!("{expected} a:got 7"));
    let (status, error) = asked(&server, &[&gave("call_9", "7")], user);
    assert!(
        status == 400 && text(&error, "error.message").contains("no call \"call_9\""),
        "{}",
        json(&error)
    );
    // Later, and after a restart, they stand where they were.
    drop(admin);
    server.kill();
    let server = home.start();
    assert_eq!(asked(&server, &[r#"{"role":"user","content":"say bye"}"#], user).0, 200);
    let exchange = format!("u:call weather {BERN} a:(call_0) t:7 a:got 7");
    assert!(told(&model).starts_with(&exchange), "{}", told(&model));
    let page = server.admin().ok("chat.history", &format!(r#"{{"sessionKey":"{key}"}}"#));
    let tools: Vec<String> =
        items(&page, "messages").iter().map(|message| text(message, "toolName")).collect();
    assert!(tools.contains(&"weather".into()), "{tools:?}");
}

#[test]
fn arguments_that_are_none_are_the_models_to_mend() {
    let (_model, _home, server) = gateway();
    let (status, answer) = asked(&server, &[r#"{"role":"user","content":"call weather [1"}"#], "");
    let said = text(&answer, "choices.0.message.content");
    assert!(status == 200 && said.contains("no JSON object"), "{}", json(&answer));
    assert_eq!(text(&answer, "choices.0.finish_reason"), "stop");
}

#[test]
fn what_is_said_before_a_tool_of_the_agent_is_kept() {
    let (_model, _home, server) = gateway();
    let asks = r#"{"role":"user","content":"call agents_list {}"}"#;
    let events = events(&mut post(&server, SHARED, &format!(r#"{{"stream":true,"messages":[{asks}]}}"#)));
    let said: String = events
        .iter()
        .filter_map(|event| Some(text(&miniserde::json::from_str(event).ok()?, "choices.0.delta.content")))
        .collect();
    assert!(said.starts_with("let me see\n\ngot {"), "{events:?}");
    assert!(events[events.len() - 2].contains(r#""finish_reason":"stop""#), "{events:?}");
    let (status, answer) = ask(&server, SHARED, &format!(r#"{{"messages":[{asks}]}}"#));
    assert!(
        status == 200 && text(&answer, "choices.0.message.content").starts_with("got {"),
        "{}",
        json(&answer)
    );
}

#[test]
fn what_is_wrong_with_a_request() {
    let (model, _home, server) = gateway();
    let one = |tools: &str| format!(r#"{{"tools":{tools},"messages":[{ASKS}]}}"#);
    let many = vec![WEATHER; 129].join(",");
    for (body, part) in [
        (one("{}"), "`tools` must be a list"),
        (one(&format!("[{WEATHER},{WEATHER}]")), "`tools[1]`: there is a tool"),
        (one(&format!("[{many}]")), "`tools[1]`"),
        (one(r#"[{"type":"function","function":{"name":"a","parameters":[]}}]"#), "JSON schema"),
        (format!(r#"{{"tool_choice":"required","messages":[{ASKS}]}}"#), "there are no `tools`"),
        (
            format!(r#"{{"messages":[{ASKS},{}]}}"#, calling("c", "weather")),
            "a `tool` message for each call; \"c\" has none",
        ),
        (format!(r#"{{"messages":[{ASKS},{}]}}"#, gave("c", "x")), "none of the calls before it"),
        (format!(r#"{{"messages":[{}]}}"#, gave("c", "x")), "no call \"c\""),
    ] {
        let (status, error) = ask(&server, SHARED, &body);
        let found = (status, text(&error, "error.type"));
        assert_eq!(found, (400, "invalid_request_error".into()), "{body}");
        assert!(text(&error, "error.message").contains(part), "{part}: {}", json(&error));
    }
    assert_eq!(model.asked().len(), 0);
}
