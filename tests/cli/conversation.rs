//! `chat`, `agent`, `sessions` and `models` against the real gateway, with a stand-in for a model.

use crate::{
    model::Model,
    wire::{Home, Server, items, signal, text},
};
use miniserde::json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Stdio},
};

fn gateway() -> (Model, Home, Server) {
    let model = Model::start();
    let home = Home::empty();
    home.config(&model.config_with(home.port, "{primary:\"stand-in/echo\"}", ""));
    let server = home.start();
    (model, home, server)
}

/// A command that is running: what it is told, what it says.
fn spawn(home: &Home, args: &[&str]) -> Child {
    let pipe = Stdio::piped;
    home.command(args).stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap()
}

/// Tells a command `input`, to its end: exit code, stdout, stderr.
fn told(home: &Home, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = spawn(home, args);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn asked(model: &Model) -> usize {
    model.asked().len()
}

/// The rest of an output.
fn rest(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_is_refused_for_good_is_not_sent_again() {
    let home = Home::fix();
    let _server = home.start();
    for args in [&["agent", "-m", "hello"][..], &["chat", "-m", "hello"]] {
        let (code, out, err) = told(&home, args, "");
        assert_ne!(code, 0);
        assert!(
            out.is_empty() && err.contains("set agents.defaults.model to") && !err.contains("again"),
            "{err}"
        );
    }
}

#[test]
fn an_answer_that_a_tool_has_sent_is_printed_too() {
    let (_model, home, _server) = gateway();
    let (code, out, err) = told(&home, &["agent", "-m", "tell the pump is on"], "");
    assert_eq!((code, &*out), (0, "the pump is on\n"), "{err}");
}

#[test]
fn a_chat_in_a_pipe_answers_line_by_line() {
    let (model, home, _server) = gateway();
    let (code, out, err) = told(&home, &["chat"], "say hello there\n\n  \nand a last line");
    assert_eq!((code, &*out), (0, "hello there\nyou said: and a last line\n"), "{err}");
    assert_eq!(asked(&model), 2, "empty lines are no messages");
    // Another session knows nothing of it.
    let (code, out, _) =
        told(&home, &["chat", "--session", "other", "-m", "say one"], "say two\n/quit\nsay three\n");
    assert_eq!((code, &*out), (0, "one\ntwo\n"));
    assert!(!model.asked()[2].contains("hello there"));
    // What fails is said, and the next line is answered all the same.
    let (code, out, err) = told(&home, &["chat"], "refuse 401\nsay on\n");
    assert_eq!((code, &*out), (1, "on\n"));
    assert!(err.contains("the server refuses the key") && err.contains("1 of 2 messages"), "{err}");
}

#[test]
fn ctrl_c_aborts_the_answer_and_then_leaves() {
    let (model, home, server) = gateway();
    let mut chat = spawn(&home, &["chat"]);
    let mut input = chat.stdin.take().unwrap();
    let mut out = chat.stdout.take().unwrap();
    writeln!(input, "hang on and on").unwrap();
    let mut said = [0; 4];
    out.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"on a");
    signal(chat.id(), "INT");
    // It goes on with the next line.
    writeln!(input, "say still here").unwrap();
    let mut lines = BufReader::new(out).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "", "the line of what was said so far ends");
    assert_eq!(lines.next().unwrap().unwrap(), "still here");
    let history = server.admin().ok("chat.history", r#"{"sessionKey":"main"}"#);
    assert_eq!(text(&history, "messages.1.stopReason"), "aborted");
    // Nothing goes on, so that it leaves at once.
    signal(chat.id(), "INT");
    assert_eq!(chat.wait().unwrap().code(), Some(130));
    assert!(rest(chat.stderr.take().unwrap()).contains("aborted"));
    drop(input);
    assert_eq!(asked(&model), 2);
}

#[test]
fn an_answer_goes_on_through_restarts_and_a_kill() {
    let (model, home, server) = gateway();
    let mut admin = server.admin();
    let mut agent = spawn(&home, &["agent", "--message", "refuse once 503", "--session", "one"]);
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    // Killed in the middle of an answer: the next gateway goes on with the run, and the client with it.
    let agent = spawn(&home, &["agent", "-m", "wait for the word"]);
    let mut chat = spawn(&home, &["chat", "--session", "two"]);
    writeln!(chat.stdin.take().unwrap(), "wait for the other").unwrap();
    model.wait(4);
    server.restart(&mut admin);
    model.wait(6);
    drop(admin);
    server.kill();
    let server = home.start();
    model.wait(8);
    model.release();
    let agent = agent.wait_with_output().unwrap();
    let chat = chat.wait_with_output().unwrap();
    assert_eq!(
        (agent.status.code(), &*String::from_utf8_lossy(&agent.stdout)),
        (Some(0), "you said: wait for the word\n")
    );
    assert_eq!(
        (chat.status.code(), &*String::from_utf8_lossy(&chat.stdout)),
        (Some(0), "you said: wait for the other\n")
    );
    for session in ["main", "two"] {
        let history = server.admin().ok("chat.history", &format!(r#"{{"sessionKey":"{session}"}}"#));
        let roles: Vec<String> = items(&history, "messages").iter().map(|m| text(m, "role")).collect();
        assert_eq!(roles, ["user", "assistant"], "{session}: said once, answered once");
    }
}

#[test]
fn agent_prints_the_answer_or_why_there_is_none() {
    let (_model, home, _server) = gateway();
    let (code, out, _) = home.run(&["agent", "--message", "say it", "--json"]);
    let answer: Value = miniserde::json::from_str(&out).unwrap();
    assert_eq!(
        (code, text(&answer, "status"), text(&answer, "result.payloads.0.text")),
        (0, "ok".into(), "it".into())
    );
    let (code, out, err) = home.run(&["agent", "-m", "refuse 404", "--json"]);
    let answer: Value = miniserde::json::from_str(&out).unwrap();
    assert_eq!((code, text(&answer, "status")), (1, "error".into()));
    assert!(text(&answer, "summary").contains("no such model") && err.contains("no such model"), "{err}");
    assert_eq!(told(&home, &["agent", "-m", "-"], "say so\n").1, "so\n");
    // The run goes on though nobody waits for it any more.
    let (code, _, err) = home.run(&["agent", "-m", "hang here", "--timeout", "1", "--session", "slow"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("barnacle sessions show slow"), "{err}");
    assert!(home.run(&["sessions"]).1.contains("running"));
    for (args, code, words) in [
        (&["agent"][..], 2, "--message"),
        (&["agent", "-m", " "], 2, "empty"),
        (&["agent", "-m", "x", "--timeout", "soon"], 2, "must be a number"),
        (&["agent", "-m", "x", "--agent", "nobody"], 1, "Unknown agent id"),
        (&["agent", "-m", "x", "--token", "wrong"], 4, "token"),
    ] {
        let (ended, _, err) = home.run(args);
        assert_eq!(ended, code, "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn sessions_are_listed_shown_reset_and_deleted() {
    let (_model, home, _server) = gateway();
    assert!(home.run(&["sessions"]).1.contains("barnacle chat"), "none yet");
    for session in ["main", "work-notes"] {
        home.run(&["agent", "-m", "say hi", "--session", session]);
    }
    let (_, out, _) = home.run(&["sessions", "list"]);
    let keys: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(keys, ["agent:main:work-notes", "agent:main:main"], "{out}");
    assert_eq!(home.run(&["sessions", "--search", "notes"]).1.lines().count(), 2);
    let (_, out, _) = home.run(&["sessions", "show", "work-notes"]);
    let said: Vec<&str> =
        out.lines().filter_map(|line| line.split_once("Z ")).map(|(_, said)| said).collect();
    assert_eq!(said, ["user: say hi", "assistant: hi"]);
    for command in ["reset", "delete"] {
        let (code, _, err) = home.run(&["sessions", command, "work-notes"]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("--yes"), "{err}");
        let (code, _, err) = home.run(&["sessions", command, "no-such", "--yes"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("no session no-such"), "{err}");
    }
    assert_eq!(home.run(&["sessions", "reset", "work-notes", "--yes"]).1, "reset agent:main:work-notes\n");
    assert!(!home.run(&["sessions", "show", "work-notes"]).1.contains("say hi"));
    assert_eq!(home.run(&["sessions", "delete", "work-notes", "--yes"]).1, "deleted agent:main:work-notes\n");
    assert_eq!(home.run(&["sessions"]).1.lines().count(), 2);
    assert_eq!(home.run(&["sessions", "show", "work-notes"]).0, 1);
}

#[test]
fn models_are_listed_and_what_is_missing_can_be_copied() {
    let (model, home, server) = gateway();
    let (code, out, _) = home.run(&["models"]);
    assert_eq!(code, 0);
    assert!(out.contains("stand-in/echo  Echo  32000   default"), "{out}");
    let lines = server.log().lines().count();
    home.auth(r#"{mode:"token",token:"T1"}"#);
    server.wait_new(lines, &["agents.defaults.model"]);
    let (_, out, _) = home.run(&["models", "list"]);
    let commands: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("  barnacle ")).collect();
    assert_eq!(commands.len(), 2, "{out}");
    // The two lines, filled in, are enough.
    let url = format!("http://127.0.0.1:{}/v1", model.port);
    for command in commands {
        let command = command.replace("<model>", "echo").replace("http://127.0.0.1:11434/v1", &url);
        let words: Vec<&str> = command.split(' ').map(|word| word.trim_matches('"')).collect();
        let (code, _, err) = home.run(&words);
        assert_eq!(code, 0, "{words:?}: {err}");
    }
    home.run(&["config", "set", "models.providers.local.apiKey", "sk-test-0123"]);
    server.wait_new(lines, &["models.providers.local.apiKey"]);
    assert_eq!(home.run(&["agent", "-m", "say yes"]).1, "yes\n");
}

#[test]
fn without_a_gateway_each_says_how_to_start_one() {
    let home = Home::fix();
    for args in
        [&["chat"][..], &["agent", "-m", "x"], &["sessions"], &["sessions", "show", "main"], &["models"]]
    {
        let (code, _, err) = home.run(args);
        assert_eq!(code, 3, "{args:?}: {err}");
        assert!(err.contains("Start one: barnacle gateway"), "{args:?}: {err}");
    }
}
