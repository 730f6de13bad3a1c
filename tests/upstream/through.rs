//! What goes through: requests, answers and events of many clients, unchanged.

use crate::{
    stand_in::{StandIn, chat, quoted, upstream_state},
    wire::{ADMIN, Client, Device, Home, Offer, Server, get, json, number, text},
};
use std::collections::BTreeSet;

/// A client as the Control UI or an app is one, which hears from OpenClaw without asking.
fn page(front: &Server) -> Client {
    front.connect(&Offer::new().token("T1").scopes(ADMIN).client("gateway-client", "ui"))
}

#[test]
fn requests_and_answers_of_many_clients() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut clients: Vec<Client> = (0..20).map(|_| front.admin()).collect();
    let asked: Vec<String> = clients
        .iter_mut()
        .enumerate()
        .map(|(n, client)| client.ask("sessions.list", &format!(r#"{{"n":{n}}}"#)))
        .collect();
    // All have the same id, so only the connection tells whose is whose; the last is answered first.
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 1);
    let mut requests: Vec<_> = clients.iter().map(|_| behind.request("sessions.list")).collect();
    let links: BTreeSet<usize> = requests.iter().map(|request| request.link.number).collect();
    assert_eq!(links.len(), clients.len(), "a connection each");
    requests.reverse();
    for request in &requests {
        assert_eq!(request.id, asked[0]);
        request.ok(&format!(r#"{{"n":{}}}"#, request.param("n")));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(json(&client.answer(&asked[n]).unwrap()), format!(r#"{{"n":{n}}}"#));
    }
    // Their connections are kept.
    let before = behind.links();
    for client in &mut clients {
        client.ok("agents.list", "{}");
    }
    assert_eq!(behind.links(), before);
}

#[test]
fn frames_pass_unchanged() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    for id in ["7", "00000000-0000-4000-8000-00000000000a", "ü \\\\ \\u0041 {", "barnacle-1"] {
        let raw = format!(
            r#"{{"type":"req", "id":"{id}","method":"sessions.list","params":{{"a":[1.50,"\u00e9\n"],"b":null}}}}"#
        );
        client.send(&raw);
        let request = behind.request("sessions.list");
        assert_eq!(request.raw, raw);
        let answer =
            format!(r#"{{"ok":true,"payload":{{"n":1.0,"x":"\u2028"}},"more":1,"id":"{id}","type":"res"}}"#);
        request.link.send(&answer);
        let got = loop {
            let got = client.message().unwrap().into_text().unwrap();
            // This gateway's own may come between.
            if !got.contains(r#""type":"event""#) {
                break got;
            }
        };
        assert_eq!(got.as_str(), answer);
    }
    // Refusals that are for the client, too.
    let asked = client.ask("sessions.patch", r#"{"key":"x"}"#);
    behind
        .request("sessions.patch")
        .err(r#"{"code":"INVALID_REQUEST","message":"no such session","details":{"a":1}}"#);
    let error = client.answer(&asked).unwrap_err();
    assert_eq!((text(&error, "message"), text(&error, "details.a")), ("no such session".into(), "1".into()));
}

#[test]
fn an_agent_run_is_answered_twice_under_one_id() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    let asked = client.ask("agent", r#"{"sessionKey":"main","idempotencyKey":"k1","message":"hi"}"#);
    let request = behind.request("agent");
    request.ok(r#"{"runId":"k1","status":"accepted"}"#);
    assert_eq!(text(&client.answer(&asked).unwrap(), "status"), "accepted");
    // Others are answered between the two.
    client.ok("agents.list", "{}");
    request.ok(r#"{"runId":"k1","status":"ok","result":{"text":"hello"}}"#);
    assert_eq!(text(&client.answer(&asked).unwrap(), "result.text"), "hello");
}

#[test]
fn events_have_a_seq_of_this_gateway() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = page(&front);
    let link = behind.link_after(0);
    for n in 0..30 {
        link.event("chat", &chat(900, &n.to_string()));
        // What this gateway sends itself is not passed on.
        link.event("tick", "{}");
        link.event("device.pair.requested", r#"{"requestId":"of-openclaw"}"#);
        link.event("presence", r#"{"presence":[]}"#);
        if n % 10 == 0 {
            // An event of this gateway's own comes between them.
            let _ = front.refuse(&Offer::device(&Device::new()).token("T1").remote());
        }
    }
    link.event("cron", r#"{"last":true}"#);
    let mut seqs = Vec::new();
    let mut chats = 0;
    loop {
        let event = client.frame().unwrap();
        if get(&event, "seq").is_some() {
            seqs.push(number(&event, "seq"));
        }
        match text(&event, "event").as_str() {
            "chat" => {
                assert_eq!(text(&event, "payload.deltaText"), chats.to_string());
                assert_eq!(number(&event, "payload.seq"), 900, "the payload's own is left alone");
                chats += 1;
            }
            "cron" => break,
            "device.pair.requested" => {
                assert_ne!(text(&event, "payload.requestId"), "of-openclaw", "{}", json(&event));
            }
            _ => {}
        }
    }
    assert_eq!(chats, 30);
    let gapless: Vec<u64> = (seqs[0]..).take(seqs.len()).collect();
    assert_eq!(seqs, gapless);
    assert!(seqs.len() > 31, "none of this gateway's own came between: {seqs:?}");
}

#[test]
fn large_answers() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut clients: Vec<Client> = (0..4).map(|_| front.admin()).collect();
    let large = "x".repeat(2 << 20);
    let asked: Vec<String> = clients.iter_mut().map(|client| client.ask("sessions.list", "{}")).collect();
    for _ in &clients {
        let request = behind.request("sessions.list");
        let payload = format!(r#"{{"text":"{large}"}}"#);
        std::thread::spawn(move || request.ok(&payload));
    }
    for (client, asked) in clients.iter_mut().zip(asked) {
        assert_eq!(text(&client.answer(&asked).unwrap(), "text"), large);
        client.ok("agents.list", "{}");
    }
    // A large request, too.
    let asked = clients[0].ask("chat.send", &format!(r#"{{"sessionKey":"main","message":"{large}"}}"#));
    let request = behind.request("chat.send");
    assert_eq!(request.param("message"), large);
    request.ok("{}");
    clients[0].answer(&asked).unwrap();
}

#[test]
fn a_frame_that_openclaw_does_not_take_is_refused_here() {
    let (home, behind) = (Home::fix(), StandIn::new());
    behind.behaves(|_, _| {
        let hello = crate::stand_in::hello(1, 0).replace("26214400", "1000");
        crate::stand_in::Manner::Hello(hello)
    });
    let front = behind.front(&home);
    let mut client = front.admin();
    client.ok("agents.list", "{}");
    let params = format!(r#"{{"sessionKey":"main","message":"{}"}}"#, "x".repeat(2000));
    let error = client.err("chat.send", &params);
    assert_eq!(text(&error, "code"), "INVALID_REQUEST", "{}", json(&error));
    client.ok("agents.list", "{}");
    assert_eq!(behind.count("chat.send"), 0);
}

#[test]
fn status_has_both_gateways_parts() {
    let (home, behind) = (Home::fix(), StandIn::new());
    let front = behind.front(&home);
    let mut client = front.admin();
    let status = client.ok("status", "{}");
    assert_eq!(text(&status, "runtimeVersion"), "2026.9.6");
    assert_eq!(number(&status, "barnacle.pid"), u64::from(front.pid()));
    assert_eq!(text(&status, "upstream.state"), "connected", "{}", json(&status));
    assert_eq!(text(&status, "upstream.version"), "2026.9.6");
    assert_eq!(upstream_state(&front, &mut client), "connected");
    // What it answers itself is not asked behind.
    assert_eq!(behind.count("health"), 0);
    // A strange answer is passed on without this gateway's part.
    behind.answers("status", &quoted("strange"));
    assert_eq!(json(&client.ok("status", "{}")), r#""strange""#);
}
