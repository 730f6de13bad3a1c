//! Who may see and change sessions.

use crate::wire::{Device, Home, Offer, READ, text};

#[test]
fn each_method_asks_for_its_scope() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    admin.ok("sessions.create", r#"{"key":"one"}"#);
    let of = |scopes: &[&'static str]| server.connect(&Offer::new().token("T1").scopes(scopes));
    let mut reader = of(READ);
    let mut writer = of(&["operator.write"]);
    let mut pairer = of(&["operator.pairing"]);
    let reads = [
        ("sessions.list", "{}"),
        ("sessions.describe", r#"{"key":"one"}"#),
        ("sessions.resolve", r#"{"key":"one"}"#),
        ("sessions.preview", r#"{"keys":["one"]}"#),
        ("sessions.subscribe", "{}"),
        ("sessions.messages.subscribe", r#"{"key":"one"}"#),
        ("chat.history", r#"{"sessionKey":"one"}"#),
        ("chat.startup", r#"{"sessionKey":"one"}"#),
        ("chat.metadata", r#"{"sessionKey":"one"}"#),
        ("chat.message.get", r#"{"sessionKey":"one","messageId":"x"}"#),
    ];
    for (method, params) in reads {
        reader.ok(method, params);
        let refused = pairer.err(method, params);
        assert_eq!(text(&refused, "details.missingScope"), "operator.read", "{method}");
    }
    for (method, params) in
        [("sessions.create", r#"{"key":"two"}"#), ("sessions.patch", r#"{"key":"one","label":"x"}"#)]
    {
        assert_eq!(text(&reader.err(method, params), "details.missingScope"), "operator.write", "{method}");
        writer.ok(method, params);
    }
    let admins = [
        ("sessions.reset", r#"{"key":"one"}"#),
        ("sessions.compact", r#"{"key":"one","maxLines":1}"#),
        ("sessions.delete", r#"{"key":"one"}"#),
        ("chat.inject", r#"{"sessionKey":"one","message":"x"}"#),
    ];
    for (method, params) in admins {
        for client in [&mut reader, &mut writer] {
            assert_eq!(
                text(&client.err(method, params), "details.missingScope"),
                "operator.admin",
                "{method}"
            );
        }
    }
    let approvals = reader.err("sessions.messages.subscribe", r#"{"key":"one","includeApprovals":true}"#);
    assert_eq!(text(&approvals, "details.missingScope"), "operator.approvals");
    let device = Device::new();
    let mut node = server.connect(&Offer::node(&device, &[]).token("T1"));
    assert!(text(&node.err("sessions.list", "{}"), "message").contains("is for operators"));
}

#[test]
fn who_lost_the_scope_hears_nothing_more() {
    let home = Home::fix();
    let server = home.start();
    let mut admin = server.admin();
    admin.ok("sessions.create", r#"{"key":"one"}"#);
    // One that may not read cannot subscribe, and the chat of all is not told to it either.
    let mut pairer = server.connect(&Offer::new().token("T1").scopes(&["operator.pairing"]));
    pairer.err("sessions.messages.subscribe", r#"{"key":"one"}"#);
    admin.ok("chat.inject", r#"{"sessionKey":"one","message":"secret"}"#);
    pairer.ok("device.pair.list", "{}");
    let heard = |event: &&miniserde::json::Value| {
        matches!(&*text(event, "event"), "chat" | "session.message" | "sessions.changed")
    };
    assert_eq!(pairer.events.iter().filter(heard).count(), 0);
}
