//! Turns of histories as they come, and as no one would wish them.

use super::*;
use crate::agents::model::{Choice, DIALECTS, Prompt};
use std::fmt::Write;

fn line(said: Said, run: Option<&str>) -> Line {
    Line { said, run: run.map(str::to_owned), failed: false }
}

fn user(text: &str, run: &str) -> Line {
    line(Said::User(text.into()), Some(run))
}

fn model(text: &str, run: &str) -> Line {
    line(Said::Assistant(text.into(), Vec::new()), Some(run))
}

fn calls(ids: &[&str], run: &str) -> Line {
    let call = |id: &&str| Call { id: (*id).into(), name: "t".into(), arguments: "{}".into() };
    line(Said::Assistant(String::new(), ids.iter().map(call).collect()), Some(run))
}

fn tool(id: &str, text: &str, run: &str) -> Line {
    line(Said::Tool(id.into(), text.into(), false), Some(run))
}

fn brought(id: &str, text: &str, run: &str) -> Line {
    line(Said::Brought(id.into(), text.into()), Some(run))
}

/// The turns as `u:text`, `a:text(ids)` and `r:texts`.
fn shown(turns: &[Turn]) -> String {
    let mut out = String::new();
    for turn in turns {
        let _ = match turn {
            Turn::User(text) => write!(out, " u:{text}"),
            Turn::Assistant(text, calls) if calls.is_empty() => write!(out, " a:{text}"),
            Turn::Assistant(text, calls) => {
                let ids: Vec<&str> = calls.iter().map(|call| &*call.id).collect();
                write!(out, " a:{text}({})", ids.join(","))
            }
            Turn::Results(results) => {
                let texts: Vec<&str> =
                    results.iter().map(|r| if r.text == NO_RESULT { "?" } else { &r.text }).collect();
                write!(out, " r:{}", texts.join(","))
            }
        };
    }
    out.trim_start().replace("\n\n", "+")
}

#[test]
fn a_model_is_sent_answers_behind_what_they_answer() {
    let failed = Line { failed: true, ..model("", "A") };
    let took = |other: &str, by: &str| line(Said::TookIn(other.into()), Some(by));
    let rows = [
        (vec![user("1", "A")], "A", "", "u:1"),
        (vec![user("1", "A"), model("x", "A"), user("2", "B")], "B", "", "u:1 a:x u:2"),
        // The second came while the first was answered.
        (vec![user("1", "A"), user("2", "B"), model("x", "A")], "B", "", "u:1 a:x u:2"),
        (vec![user("1", "A"), user("2", "B")], "A", "B", "u:1"),
        (vec![user("1", "A"), user("2", "B"), user("3", "C"), model("x", "A")], "B", "C", "u:1 a:x u:2"),
        // A failed run said nothing, and what it was to answer is asked again with the next.
        (vec![user("1", "A"), failed, user("2", "B")], "B", "", "u:1+2"),
        // A note, and a part of an answer that was aborted.
        (vec![line(Said::Assistant("note".into(), vec![]), None), user("1", "A")], "A", "", "u:1"),
        (vec![user("1", "A"), model("par", "A"), user("2", "B")], "B", "", "u:1 a:par u:2"),
        // Calls, in whatever order their results came; one that is missing, one of nobody.
        (
            vec![
                user("1", "A"),
                calls(&["a", "b"], "A"),
                tool("b", "y", "A"),
                tool("a", "x", "A"),
                model("z", "A"),
            ],
            "A",
            "",
            "u:1 a:(a,b) r:x,y a:z",
        ),
        (vec![user("1", "A"), calls(&["a", "b"], "A"), tool("b", "y", "A")], "A", "", "u:1 a:(a,b) r:?,y"),
        (vec![user("1", "A"), tool("a", "x", "A"), model("z", "A")], "A", "", "u:1 a:z"),
        // The same id again, as servers give it that count from 0 each time.
        (
            vec![
                user("1", "A"),
                calls(&["a"], "A"),
                tool("a", "x", "A"),
                calls(&["a"], "A"),
                tool("a", "y", "A"),
            ],
            "A",
            "",
            "u:1 a:(a) r:x a:(a) r:y",
        ),
        (
            vec![user("1", "A"), calls(&["a"], "A"), calls(&["a"], "A"), tool("a", "y", "A")],
            "A",
            "",
            "u:1 a:(a) r:? a:(a) r:y",
        ),
        // A message that the run took in stands where it did, for it and for later ones.
        (
            vec![user("1", "A"), calls(&["a"], "A"), user("2", "B"), tool("a", "x", "A"), took("B", "A")],
            "A",
            "",
            "u:1 a:(a) r:x u:2",
        ),
        (
            vec![
                user("1", "A"),
                calls(&["a"], "A"),
                user("2", "B"),
                tool("a", "x", "A"),
                took("B", "A"),
                model("z", "A"),
                user("3", "C"),
            ],
            "C",
            "",
            "u:1 a:(a) r:x u:2 a:z u:3",
        ),
    ];
    let rows = rows.into_iter().chain([
        // What a client brings to the calls of a run before, the same id again, and something that was said in between.
        (vec![user("1", "A"), calls(&["a"], "A"), brought("a", "x", "B")], "B", "", "u:1 a:(a) r:x"),
        (
            vec![
                user("1", "A"),
                calls(&["a"], "A"),
                user("2", "C"),
                model("z", "C"),
                brought("a", "x", "B"),
                calls(&["a"], "B"),
                brought("a", "y", "D"),
            ],
            "D",
            "",
            "u:2 a:z u:1 a:(a) r:x a:(a) r:y",
        ),
        (
            vec![
                user("1", "A"),
                calls(&["a", "b"], "A"),
                tool("b", "y", "A"),
                user("2", "C"),
                brought("a", "x", "B"),
                user("3", "B"),
                model("z", "B"),
            ],
            "C",
            "",
            "u:1 a:(a,b) r:x,y u:3 a:z u:2",
        ),
        // Brought twice, to nothing, and while the one that brings it waits.
        (
            vec![user("1", "A"), calls(&["a"], "A"), brought("a", "x", "B"), brought("a", "x", "D")],
            "D",
            "",
            "u:1 a:(a) r:x",
        ),
        (vec![user("1", "A"), brought("a", "x", "B"), user("2", "B")], "B", "", "u:1+2"),
        (
            vec![user("1", "A"), calls(&["a"], "A"), user("2", "C"), brought("a", "x", "B")],
            "C",
            "B",
            "u:1 a:(a) r:? u:2",
        ),
    ]);
    for (n, (transcript, run, waiting, expected)) in rows.enumerate() {
        let waiting: Vec<String> = waiting.split_whitespace().map(str::to_owned).collect();
        assert_eq!(shown(&turns(&transcript, run, &waiting)), expected, "row {n}");
    }
}

#[test]
fn what_is_left_of_a_run_that_a_restart_interrupted() {
    let ids = |calls: Vec<Call>| calls.into_iter().map(|call| call.id).collect::<Vec<_>>();
    let begun = vec![user("1", "A"), calls(&["a", "b", "c"], "A"), tool("a", "x", "A"), user("2", "B")];
    assert_eq!(ids(unanswered(&begun, "A")), ["b", "c"]);
    assert!(unanswered(&begun, "B").is_empty() && unanswered(&begun[..1], "A").is_empty());
    let again = [begun, vec![tool("b", "", "A"), tool("c", "", "A"), calls(&["a"], "A")]].concat();
    assert_eq!(ids(unanswered(&again, "A")), ["a"]);
}

#[test]
fn what_does_not_fit_goes_from_the_front_and_a_run_keeps_its_message() {
    let long = "x".repeat(100);
    let transcript = vec![
        user(&long, "A"),
        model(&long, "A"),
        user("2", "B"),
        model(&long, "B"),
        user("3", "C"),
        calls(&["a"], "C"),
        tool("a", &long, "C"),
        calls(&["b"], "C"),
        tool("b", "y", "C"),
    ];
    let all = turns(&transcript, "C", &[]);
    let fitted = |room| shown(&fit(all.clone(), room)).replace(&long, "L");
    assert_eq!(fitted(1000), "u:L a:L u:2 a:L u:3 a:(a) r:L a:(b) r:y");
    assert_eq!(fitted(350), "u:2 a:L u:3 a:(a) r:L a:(b) r:y");
    assert_eq!(fitted(150), "u:3 a:(a) r:L a:(b) r:y");
    assert_eq!(fitted(50), "u:3 a:(b) r:y");
    assert_eq!(fitted(0), "u:3 a:(b) r:y");
    let huge = vec![user("1", "A"), calls(&["a"], "A"), tool("a", &"ä".repeat(5000), "A")];
    let fitted = fit(turns(&huge, "A", &[]), 2000);
    assert!((1000..=2000).contains(&fitted.iter().map(bytes).sum::<usize>()), "{fitted:?}");
}

/// Numbers that look random, the same each time.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    }
}

/// A history of runs, calls and results as a hostile disk and a hostile model may leave it.
fn history(seed: u64) -> Vec<Line> {
    let mut number = numbers(seed);
    let (runs, ids) = ([Some("A"), Some("B"), Some("C"), None], ["a", "b", "c", "", "d e"]);
    let mut all = Vec::new();
    for n in 0..number(14) {
        let run = runs[number(4)];
        let mut said = match number(8) {
            0 | 1 => line(Said::User(if number(9) == 0 { String::new() } else { n.to_string() }), run),
            2 => line(Said::Assistant(n.to_string(), Vec::new()), run),
            3 | 4 => {
                let some: Vec<&str> = (0..number(4)).map(|_| ids[number(5)]).collect();
                let mut line = calls(&some, run.unwrap_or("A"));
                if let (Said::Assistant(text, calls), 0) = (&mut line.said, number(3)) {
                    text.push('t');
                    calls
                        .iter_mut()
                        .for_each(|call| call.arguments = ["[]", "{", r#"{"x":1}"#][n % 3].into());
                }
                line
            }
            6 => brought(ids[number(5)], &n.to_string(), ["A", "B", "C"][number(3)]),
            5 => line(Said::TookIn(["A", "B", "C"][number(3)].into()), run),
            _ => line(Said::Tool(ids[number(5)].into(), n.to_string(), number(2) == 0), run),
        };
        said.failed = number(8) == 0;
        all.push(said);
    }
    all.push(user("last", "B"));
    all.truncate(all.len() - if number(3) == 0 { number(all.len()) } else { 0 });
    all
}

/// What is wrong with the messages of a request to a strict server of openai-completions.
fn fault_of_completions(messages: &str) -> Option<String> {
    let (mut open, mut before): (Vec<String>, String) = (Vec::new(), "".into());
    for message in json::items(messages) {
        let text = |name| json::member(message, name).and_then(json::text).unwrap_or_default().into_owned();
        let role = text("role");
        match &*role {
            "tool" if open.first() == Some(&text("tool_call_id")) => drop(open.remove(0)),
            "tool" => return Some(format!("a result of no call: {message}")),
            _ if !open.is_empty() => return Some(format!("no result of {open:?} before {message}")),
            "user" if before == "user" => return Some("two users in a row".into()),
            "assistant" if matches!(&*before, "" | "assistant") => {
                return Some(format!("{before:?} before it"));
            }
            _ => {}
        }
        for call in json::items(json::member(message, "tool_calls").unwrap_or("[]")) {
            let id = json::text(json::member(call, "id")?)?.into_owned();
            let arguments = json::text(json::member(json::member(call, "function")?, "arguments")?)?;
            if open.contains(&id) || !json::is_object(&arguments) {
                return Some(format!("a bad call: {call}"));
            }
            open.push(id);
        }
        before = role;
    }
    (!open.is_empty()).then(|| format!("no result of {open:?}"))
}

/// The same of a strict server of anthropic-messages.
fn fault_of_messages(messages: &str) -> Option<String> {
    let (mut open, mut before): (Vec<String>, String) = (Vec::new(), "assistant".into());
    for message in json::items(messages) {
        let role = json::text(json::member(message, "role")?)?.into_owned();
        if role == before {
            return Some(format!("{role} twice, or first"));
        }
        let (mut results, mut uses, mut spoke) = (Vec::new(), Vec::new(), false);
        for part in json::items(json::member(message, "content")?) {
            let text = |name| json::member(part, name).and_then(json::text).unwrap_or_default().into_owned();
            match &*text("type") {
                "tool_result" if spoke => return Some("a result behind a text".into()),
                "tool_result" => results.push(text("tool_use_id")),
                "tool_use" if text("id").contains(' ') => return Some("a bad id".into()),
                "tool_use" => uses.push(text("id")),
                _ if text("text").is_empty() => return Some("an empty text".into()),
                _ => spoke = role == "user",
            }
        }
        if results != open {
            return Some(format!("results {results:?} of {open:?}"));
        }
        (open, before) = (uses, role);
    }
    (!open.is_empty()).then(|| format!("no result of {open:?}"))
}

#[test]
fn g7_whatever_the_transcript_every_server_accepts_what_is_sent() {
    for seed in 0..4_000 {
        let transcript = history(seed);
        for (run, waiting) in [("B", vec![]), ("A", vec!["B".to_owned()])] {
            let all = turns(&transcript, run, &waiting);
            for room in [usize::MAX, 40, 8, 0] {
                let turns = fit(all.clone(), room);
                let prompt = Prompt { system: "", turns: &turns, tools: &[], choice: &Choice::Free };
                for dialect in &DIALECTS {
                    let body = (dialect.body)("m", None, &prompt);
                    assert!(json::is_object(&body), "{body}");
                    let messages = json::member(&body, "messages").unwrap();
                    let fault = match dialect.name {
                        "anthropic-messages" => fault_of_messages(messages),
                        _ => fault_of_completions(messages),
                    };
                    assert_eq!(fault, None, "seed {seed}, {}: {messages}\n{transcript:#?}", dialect.name);
                }
            }
        }
    }
}
