//! From a transcript to what a model is sent: the one place where that is decided.
//!
//! A message that came while a run was going stands before that run's answer in the transcript; a model is sent each answer
//! after the message that it answers. What [`turns`] gives is accepted by every model server: users and assistants take
//! turns, a user begins, and each call of a tool is followed by its one result. What is missing for that is put in and what
//! does not fit is left out, in this copy alone: the transcript stays as it is.
//!
//! A client may have tools of its own: then the run that called them ends, and the one that begins with what they gave goes
//! on with the same exchange.

use crate::protocol::json;
use std::collections::BTreeMap;

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
    /// By a client, which carried out the call with this id: its run begins with what that gave.
    Brought(String, String),
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

impl Line {
    /// Whether it calls a tool under this id.
    pub fn calls(&self, id: &str) -> bool {
        matches!(&self.said, Said::Assistant(_, calls) if calls.iter().any(|call| call.id == id))
    }
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
            Said::Tool(..) | Said::Brought(..) | Said::TookIn(_) => {}
        }
    }
    turns
}

/// For each run that goes on with the exchange of another one, since it begins with results of that one's calls: the run that
/// the exchange began with.
fn continued(transcript: &[Line]) -> BTreeMap<&str, &str> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    for (n, line) in transcript.iter().enumerate() {
        let (Said::Brought(id, _), Some(run)) = (&line.said, line.run.as_deref()) else { continue };
        let caller = transcript[..n].iter().rfind(|line| line.calls(id)).and_then(|line| line.run.as_deref());
        if let Some(caller) = caller.filter(|caller| *caller != run && !begun.contains_key(run)) {
            begun.insert(run, begun.get(caller).copied().unwrap_or(caller));
        }
    }
    begun
}

/// The lines in the order in which they belong before a model: each answer behind what it answers, the run's own last.
fn ordered<'a>(transcript: &'a [Line], run: &str, waiting: &[String]) -> Vec<&'a Line> {
    let continued = continued(transcript);
    let exchange = |id: &str| continued.get(id).map_or_else(|| id.to_owned(), |first| (*first).to_owned());
    let own = exchange(run);
    let is = |line: &Line, id: &str| line.run.as_deref() == Some(id);
    let begins = |id: &str| {
        let first = |line: &Line| is(line, id) && matches!(line.said, Said::User(_) | Said::Brought(..));
        transcript.iter().position(first).unwrap_or(0)
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
            Said::Tool(..) | Said::Brought(..) => false,
            Said::TookIn(_) => true,
        };
        if empty || line.failed {
            continue;
        }
        let place = match &line.run {
            None => (false, n, n),
            Some(id) => match taken_in(id).filter(|_| matches!(line.said, Said::User(_))) {
                Some((by, at)) => (exchange(&by) == own, begins(&exchange(&by)), at),
                None if waiting.contains(id) => continue,
                None => (exchange(id) == own, begins(&exchange(id)), n),
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
/// run speaks again; else what a client brought, up to where a call has the same id.
fn results(lines: &[&Line], at: usize, calls: &[Call], taken: &mut [bool]) -> Vec<CallResult> {
    let run = &lines[at].run;
    let behind = || {
        let rest = lines.iter().enumerate().skip(at + 1);
        rest.take_while(|(_, line)| line.run != *run || !matches!(line.said, Said::Assistant(..)))
    };
    let mut found = Vec::with_capacity(calls.len());
    for call in calls {
        let own = behind().find_map(|(n, line)| match &line.said {
            Said::Tool(id, text, is_error) if *id == call.id && line.run == *run && !taken[n] => {
                Some((n, text.clone(), *is_error))
            }
            _ => None,
        });
        let rest = lines.iter().enumerate().skip(at + 1).take_while(|(_, line)| !line.calls(&call.id));
        let brought = |(n, line): (usize, &&Line)| match &line.said {
            Said::Brought(id, text) if *id == call.id && !taken[n] => Some((n, text.clone(), false)),
            _ => None,
        };
        let result = own.or_else(|| { rest }.find_map(brought));
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
mod tests;
