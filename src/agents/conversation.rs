//! From a transcript to what a model is sent: the one place where that is decided.
//!
//! A message that came while a run was going stands before that run's answer in the transcript; a model is sent each answer
//! after the message that it answers. What [`turns`] gives is accepted by every model server: users and assistants take
//! turns, a user begins, and each call of a tool is followed by its one result. What is missing for that is put in and what
//! does not fit is left out, in this copy alone: the transcript stays as it is.

use crate::protocol::json;

/// A call of a tool by a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its id, as the model's server gave it; unique in one message at most.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments: a JSON object.
    pub arguments: String,
}

/// Kinds of what stands in a transcript for a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// By a user.
    User(String),
    /// By the model, with the tools that it called.
    Assistant(String, Vec<Call>),
    /// By a tool, to the call with this id: what it gave, and whether that is an error.
    Tool(String, String, bool),
    /// The run took in the message that began this other run.
    TookIn(String),
}

/// An entry of a transcript, as far as it concerns a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What was said.
    pub said: Said,
    /// The run that it began, or that said it.
    pub run: Option<String>,
    /// Whether it is what a run said that failed.
    pub failed: bool,
}

/// What a tool gave to a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallResult {
    /// Id of the call.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The text for the model.
    pub text: String,
    /// Whether it is an error.
    pub is_error: bool,
}

/// One turn of a conversation as every model server accepts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// A user's.
    User(String),
    /// The model's.
    Assistant(String, Vec<Call>),
    /// The results of all calls of the turn before, in their order.
    Results(Vec<CallResult>),
}

/// What a model reads in place of a result that was never written.
const NO_RESULT: &str = "There is no result: the call was not carried out, or its result was lost.";

/// The turns of a request for run `run`; messages of runs that wait behind it are left out.
pub fn turns(transcript: &[Line], run: &str, waiting: &[String]) -> Vec<Turn> {
    let ordered = ordered(transcript, run, waiting);
    let mut turns: Vec<Turn> = Vec::new();
    let mut taken = vec![false; ordered.len()];
    for (n, line) in ordered.iter().enumerate() {
        match &line.said {
            Said::User(text) => match turns.last_mut() {
                Some(Turn::User(before)) => append(before, text),
                _ => turns.push(Turn::User(text.clone())),
            },
            Said::Assistant(text, calls) => {
                // Some models refuse a conversation that the assistant begins.
                if turns.is_empty() {
                    continue;
                }
                let calls = well_formed(calls);
                let results = results(&ordered, n, &calls, &mut taken);
                match turns.last_mut() {
                    Some(Turn::Assistant(before, none)) if none.is_empty() => {
                        append(before, text);
                        none.clone_from(&calls);
                    }
                    _ => turns.push(Turn::Assistant(text.clone(), calls)),
                }
                if !results.is_empty() {
                    turns.push(Turn::Results(results));
                }
            }
            // Taken where its call was; one without a call is left out.
            Said::Tool(..) | Said::TookIn(_) => {}
        }
    }
    turns
}

/// The lines in the order in which they belong before a model: each answer behind what it answers, the run's own last.
fn ordered<'a>(transcript: &'a [Line], run: &str, waiting: &[String]) -> Vec<&'a Line> {
    let is = |line: &Line, id: &str| line.run.as_deref() == Some(id);
    let begins = |id: &str| {
        transcript.iter().position(|line| is(line, id) && matches!(line.said, Said::User(_))).unwrap_or(0)
    };
    // The run that took a message in, and where it did.
    let taken_in = |id: &str| {
        transcript.iter().enumerate().find_map(|(n, line)| match (&line.said, &line.run) {
            (Said::TookIn(other), Some(by)) if other == id => Some((by.clone(), n)),
            _ => None,
        })
    };
    let mut order: Vec<(bool, usize, usize, &Line)> = Vec::new();
    for (n, line) in transcript.iter().enumerate() {
        let empty = match &line.said {
            Said::User(text) => text.trim().is_empty(),
            Said::Assistant(text, calls) => text.trim().is_empty() && calls.is_empty(),
            Said::Tool(..) => false,
            Said::TookIn(_) => true,
        };
        if empty || line.failed {
            continue;
        }
        let place = match &line.run {
            None => (false, n, n),
            Some(id) => match taken_in(id).filter(|_| matches!(line.said, Said::User(_))) {
                Some((by, at)) => (by == run, begins(&by), at),
                None if waiting.contains(id) => continue,
                None => (id == run, begins(id), n),
            },
        };
        order.push((place.0, place.1, place.2, line));
    }
    order.sort_by_key(|(own, begins, n, _)| (*own, *begins, *n));
    order.into_iter().map(|(.., line)| line).collect()
}

/// The calls that a server accepts: with a name, an id of their own, and arguments that are an object.
fn well_formed(calls: &[Call]) -> Vec<Call> {
    let mut kept: Vec<Call> = Vec::new();
    for call in calls {
        let fits = !call.id.is_empty() && !call.name.is_empty() && json::is_object(&call.arguments);
        if fits && kept.iter().all(|other| other.id != call.id) {
            kept.push(call.clone());
        }
    }
    kept
}

/// The results of `calls`, which line `at` made: for each the first one behind it that is not another's, up to where its
/// run speaks again.
fn results(lines: &[&Line], at: usize, calls: &[Call], taken: &mut [bool]) -> Vec<CallResult> {
    let run = &lines[at].run;
    let behind = || {
        let rest = lines.iter().enumerate().skip(at + 1);
        rest.take_while(|(_, line)| line.run != *run || !matches!(line.said, Said::Assistant(..)))
    };
    let mut found = Vec::with_capacity(calls.len());
    for call in calls {
        let result = behind().find_map(|(n, line)| match &line.said {
            Said::Tool(id, text, is_error) if *id == call.id && line.run == *run && !taken[n] => {
                Some((n, text.clone(), *is_error))
            }
            _ => None,
        });
        let (text, is_error) = match result {
            Some((n, text, is_error)) => {
                taken[n] = true;
                (text, is_error)
            }
            None => (NO_RESULT.into(), true),
        };
        found.push(CallResult { id: call.id.clone(), name: call.name.clone(), text, is_error });
    }
    found
}

/// The calls of run `run` that have no result yet: what a gateway goes on with that starts in the middle of them.
pub fn unanswered(transcript: &[Line], run: &str) -> Vec<Call> {
    let own = |line: &&Line| line.run.as_deref() == Some(run);
    let spoke = transcript
        .iter()
        .rposition(|line| own(&line) && matches!(line.said, Said::Assistant(..)) && !line.failed);
    let Some(at) = spoke else { return Vec::new() };
    let Said::Assistant(_, calls) = &transcript[at].said else { return Vec::new() };
    let answered = |call: &Call| {
        transcript[at..]
            .iter()
            .filter(own)
            .any(|line| matches!(&line.said, Said::Tool(id, ..) if *id == call.id))
    };
    well_formed(calls).into_iter().filter(|call| !answered(call)).collect()
}

/// Drops the oldest turns until all that is left takes `room` bytes at most: whole exchanges first, then calls with their
/// results of the last one; its user's message stays, and so does what came last.
pub fn fit(mut turns: Vec<Turn>, room: usize) -> Vec<Turn> {
    let size = |turns: &[Turn]| turns.iter().map(bytes).sum::<usize>();
    let is_user = |turn: &Turn| matches!(turn, Turn::User(_));
    while size(&turns) > room {
        let next = turns.iter().skip(1).position(is_user).map(|n| n + 1);
        match next {
            Some(next) => drop(turns.drain(..next)),
            // An assistant's turn and its results, but for the last ones.
            None => match turns.iter().skip(2).position(|turn| matches!(turn, Turn::Assistant(..))) {
                Some(n) => drop(turns.drain(1..n + 2)),
                None => break,
            },
        }
    }
    let spare = size(&turns).saturating_sub(room);
    if spare > 0 {
        shorten(&mut turns, spare);
    }
    turns
}

/// Shortens the results of tools by `spare` bytes, the longest the most.
fn shorten(turns: &mut [Turn], spare: usize) {
    const CUT: &str = "\n…(shortened: it was longer than what the model takes)";
    let mut spare = spare;
    let mut all: Vec<&mut CallResult> = turns
        .iter_mut()
        .filter_map(|turn| match turn {
            Turn::Results(results) => Some(results),
            _ => None,
        })
        .flatten()
        .collect();
    all.sort_by_key(|result| std::cmp::Reverse(result.text.len()));
    for result in all {
        let keep = result.text.len().saturating_sub(spare + CUT.len()).max(200);
        if spare == 0 || keep >= result.text.len() {
            break;
        }
        let end = (0..=keep).rev().find(|end| result.text.is_char_boundary(*end)).unwrap_or(0);
        spare = spare.saturating_sub(result.text.len() - end);
        result.text.truncate(end);
        result.text.push_str(CUT);
    }
}

fn bytes(turn: &Turn) -> usize {
    match turn {
        Turn::User(text) => text.len(),
        Turn::Assistant(text, calls) => {
            text.len() + calls.iter().map(|call| call.arguments.len() + call.name.len()).sum::<usize>()
        }
        Turn::Results(results) => results.iter().map(|result| result.text.len()).sum(),
    }
}

fn append(before: &mut String, text: &str) {
    if !before.is_empty() && !text.is_empty() {
        before.push_str("\n\n");
    }
    before.push_str(text);
}

/// The text of a message's content: a string, or the text parts of a list.
pub fn text_of(content: &str) -> String {
    json::text(content).map(std::borrow::Cow::into_owned).unwrap_or_else(|| {
        let parts = json::items(content)
            .filter_map(|part| Some(json::text(json::member(part, "text")?)?.into_owned()));
        parts.collect::<Vec<_>>().join("\n")
    })
}

/// The calls of tools in a message's content.
pub fn calls_of(content: &str) -> Vec<Call> {
    let read = |part: &str| {
        let text = |name: &str| Some(json::text(json::member(part, name)?)?.into_owned());
        (text("type")? == "toolCall").then_some(())?;
        let arguments = json::member(part, "arguments").unwrap_or("{}").to_owned();
        Some(Call { id: text("id")?, name: text("name")?, arguments })
    };
    match content.starts_with('[') {
        true => json::items(content).filter_map(read).collect(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::model::{DIALECTS, Prompt};
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
            (
                vec![user("1", "A"), calls(&["a", "b"], "A"), tool("b", "y", "A")],
                "A",
                "",
                "u:1 a:(a,b) r:?,y",
            ),
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
        for (n, (transcript, run, waiting, expected)) in rows.into_iter().enumerate() {
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
            let mut said = match number(7) {
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
            let text =
                |name| json::member(message, name).and_then(json::text).unwrap_or_default().into_owned();
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
                let text =
                    |name| json::member(part, name).and_then(json::text).unwrap_or_default().into_owned();
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
    fn whatever_the_transcript_every_server_accepts_what_is_sent() {
        for seed in 0..4_000 {
            let transcript = history(seed);
            for (run, waiting) in [("B", vec![]), ("A", vec!["B".to_owned()])] {
                let all = turns(&transcript, run, &waiting);
                for room in [usize::MAX, 40, 8, 0] {
                    let turns = fit(all.clone(), room);
                    let prompt = Prompt { system: "", turns: &turns, tools: &[] };
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
}
