//! What is said in a session: kept, read a page at a time, and told to who listens.

use crate::wire::{Client, Home, flag, get, items, json, number, text};
use miniserde::json::Value;
use nanoserde::SerJson;

/// Adds a message; its id.
#[track_caller]
fn inject(client: &mut Client, said: &str) -> String {
    let said = said.to_owned().serialize_json();
    text(&client.ok("chat.inject", &format!(r#"{{"sessionKey":"one","message":{said}}}"#)), "messageId")
}

fn history(client: &mut Client, more: &str) -> Value {
    client.ok("chat.history", &format!(r#"{{"sessionKey":"one"{more}}}"#))
}

fn said(page: &Value) -> Vec<String> {
    items(page, "messages").iter().map(|message| text(message, "content.0.text")).collect()
}

#[test]
fn a_note_is_kept_and_told() {
    let home = Home::fix();
    let server = home.start();
    let (mut client, mut listener, mut elsewhere) = (server.admin(), server.admin(), server.admin());
    assert_eq!(
        text(&client.err("chat.inject", r#"{"sessionKey":"one","message":"x"}"#), "message"),
        "session not found"
    );
    let none = history(&mut client, "");
    assert!(said(&none).is_empty() && get(&none, "sessionId").is_none());
    client.ok("sessions.create", r#"{"key":"one"}"#);
    let subscribed = listener.ok("sessions.messages.subscribe", r#"{"key":"one","includeApprovals":true}"#);
    assert_eq!(text(&subscribed, "key"), "agent:main:one");
    assert!(items(&subscribed, "approvalReplay.approvals").is_empty());
    elsewhere.ok("sessions.messages.subscribe", r#"{"key":"two"}"#);

    let odd = "ä \"quoted\" \\ \u{1f980}\nline\u{0}two";
    let answer = client.ok(
        "chat.inject",
        &format!(r#"{{"sessionKey":"one","message":{},"label":"note"}}"#, odd.to_owned().serialize_json()),
    );
    let id = text(&answer, "messageId");
    let expected = format!("[note]\n\n{odd}");
    let event = listener.event("session.message");
    assert_eq!(text(&event, "payload.message.content.0.text"), expected);
    assert_eq!((text(&event, "payload.messageId"), number(&event, "payload.messageSeq")), (id.clone(), 1));
    let chat = listener.event("chat");
    assert_eq!(
        (text(&chat, "payload.state"), text(&chat, "payload.runId")),
        ("final".into(), format!("inject-{id}"))
    );
    // Whoever listens to another session hears of the chat, and not of the message.
    elsewhere.event("chat");
    elsewhere.ok("health", "{}");
    assert!(!elsewhere.events.iter().any(|event| text(event, "event") == "session.message"));

    let page = history(&mut client, "");
    assert_eq!(said(&page).join(" "), expected);
    let place = get(&page, "messages.0.__openclaw").unwrap();
    assert_eq!(
        (text(place, "id"), number(place, "seq"), number(place, "transcriptPosition.rawSeq")),
        (id.clone(), 1, 1)
    );
    let whole = client.ok("chat.message.get", &format!(r#"{{"sessionKey":"one","messageId":"{id}"}}"#));
    assert_eq!(text(&whole, "message.content.0.text"), expected);
    let gone = client.ok("chat.message.get", r#"{"sessionKey":"one","messageId":"nothing"}"#);
    assert_eq!((flag(&gone, "ok"), text(&gone, "unavailableReason")), (false, "not_found".into()));
    let preview = client.ok("sessions.preview", r#"{"keys":["one","two"]}"#);
    assert_eq!(text(&preview, "previews.0.items.0.role"), "assistant");
    assert_eq!(
        (text(&preview, "previews.0.status"), text(&preview, "previews.1.status")),
        ("ok".into(), "missing".into())
    );
    let last = client.ok("sessions.list", r#"{"includeLastMessage":true,"includeDerivedTitles":true}"#);
    assert!(
        text(&last, "sessions.0.lastMessagePreview").starts_with("[note] ä \"quoted\""),
        "{}",
        json(&last)
    );

    listener.ok("sessions.messages.unsubscribe", r#"{"key":"one"}"#);
    inject(&mut client, "unheard");
    listener.event("chat");
    listener.ok("health", "{}");
    assert!(!listener.events.iter().any(|event| text(event, "event") == "session.message"));
}

#[test]
fn a_history_is_read_in_pages_and_continued() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    let ids: Vec<String> = (1..=9).map(|n| inject(&mut client, &format!("said {n}"))).collect();
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        let page = history(&mut client, &format!(r#","limit":4,"offset":{offset}"#));
        assert_eq!(number(&page, "totalMessages"), 9);
        all.splice(..0, said(&page));
        if !flag(&page, "hasMore") {
            break;
        }
        offset = number(&page, "nextOffset");
    }
    assert_eq!(all, (1..=9).map(|n| format!("said {n}")).collect::<Vec<_>>());
    let around = history(&mut client, &format!(r#","limit":3,"messageId":"{}""#, ids[4]));
    assert!(said(&around).contains(&"said 5".to_owned()), "{}", json(&around));

    let cursor = text(&history(&mut client, r#","limit":1"#), "deltaCursor");
    let since = |client: &mut Client, cursor: &str| history(client, &format!(r#","cursor":"{cursor}""#));
    let nothing = since(&mut client, &cursor);
    assert_eq!((text(&nothing, "kind"), items(&nothing, "messages").len()), ("delta".into(), 0));
    inject(&mut client, "said 10");
    inject(&mut client, "said 11");
    let delta = since(&mut client, &cursor);
    let texts: Vec<_> = items(&delta, "messages").iter().map(|e| text(e, "message.content.0.text")).collect();
    assert_eq!(texts, ["said 10", "said 11"]);
    assert_eq!(number(&delta, "messages.1.messageSeq"), 11);
    // It holds through a restart, and not through a reset.
    drop(client);
    server.kill();
    let server = home.start();
    let mut client = server.admin();
    assert_eq!(items(&since(&mut client, &cursor), "messages").len(), 2);
    let newer = text(&delta, "deltaCursor");
    client.ok("sessions.reset", r#"{"key":"one"}"#);
    assert_eq!(text(&since(&mut client, &newer), "kind"), "reset");
    assert_eq!(text(&since(&mut client, "nonsense"), "kind"), "reset");
    let page = history(&mut client, "");
    assert_eq!((said(&page), number(&page, "totalMessages")), (vec!["Reset".to_owned()], 1));
    assert_eq!(text(&page, "messages.0.__openclaw.kind"), "reset");
    inject(&mut client, "anew");
    let page = history(&mut client, "");
    assert_eq!(
        (said(&page), number(&page, "messages.1.__openclaw.seq")),
        (vec!["Reset".into(), "anew".into()], 2)
    );
    // What was said before stays in the transcript.
    let file = transcript(&home, &text(&page, "sessionId"));
    assert!(std::fs::read_to_string(file).unwrap().contains("said 5"));
}

fn transcript(home: &Home, id: &str) -> std::path::PathBuf {
    home.store().join(format!("agents/main/sessions/{id}.jsonl"))
}

#[test]
fn what_is_compacted_stays_and_what_is_deleted_does_not() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    let made = client.ok("sessions.create", r#"{"key":"one"}"#);
    (1..=5).for_each(|n| _ = inject(&mut client, &format!("said {n}")));
    let refused = client.ok("sessions.compact", r#"{"key":"one"}"#);
    assert_eq!(text(&refused, "reason"), "there is nothing to sum up yet", "nobody asked anything");
    assert!(!flag(&client.ok("sessions.compact", r#"{"key":"one","maxLines":5}"#), "compacted"));
    let done = client.ok("sessions.compact", r#"{"key":"one","maxLines":2}"#);
    assert_eq!((flag(&done, "compacted"), number(&done, "kept")), (true, 2));
    let page = history(&mut client, "");
    assert_eq!(said(&page), ["said 1", "said 2", "said 3", "said 4", "said 5", "Compaction"]);
    let file = transcript(&home, &text(&made, "sessionId"));
    let first = text(items(&page, "messages")[3], "__openclaw.id");
    assert!(std::fs::read_to_string(&file).unwrap().contains(&format!(r#""firstKeptEntryId":"{first}""#)));

    client.ok("sessions.delete", r#"{"key":"one","deleteTranscript":false}"#);
    assert!(file.exists());
    let made = client.ok("sessions.create", r#"{"key":"one"}"#);
    inject(&mut client, "again");
    client.ok("sessions.delete", r#"{"key":"one"}"#);
    assert!(!transcript(&home, &text(&made, "sessionId")).exists());
    assert!(said(&history(&mut client, "")).is_empty());
}

#[test]
fn a_text_that_is_too_long_for_a_history_is_shortened_there() {
    let home = Home::fix();
    let server = home.start();
    let mut client = server.admin();
    client.ok("sessions.create", r#"{"key":"one"}"#);
    let long = "ä\"\n".repeat(60_000);
    let id = inject(&mut client, &long);
    let shown = said(&history(&mut client, ""));
    assert!(
        shown[0].chars().count() < 8100 && shown[0].ends_with('…'),
        "{} characters",
        shown[0].chars().count()
    );
    let whole = client.ok("chat.message.get", &format!(r#"{{"sessionKey":"one","messageId":"{id}"}}"#));
    assert_eq!(text(&whole, "message.content.0.text"), long);
    let huge = "x".repeat(2 << 20);
    let refused = client.err("chat.inject", &format!(r#"{{"sessionKey":"one","message":"{huge}"}}"#));
    assert!(text(&refused, "message").contains("more than the 1048576"), "{}", json(&refused));
}
