//! From a transcript to what a model is sent: the one place where that is decided.
//!
//! A message that came while a run was going stands before that run's answer in the transcript; a model is sent each answer
//! after the message that it answers. Messages of one role in a row become one, since some models refuse others. What a failed
//! run said is left out.

use crate::protocol::json;
use nanoserde::SerJson;

/// A message of a transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// `user`, `assistant` or another role.
    pub role: String,
    /// The text of it.
    pub text: String,
    /// The run that it began, or that said it.
    pub run: Option<String>,
    /// `stopReason`, if it has one.
    pub stop: Option<String>,
}

/// The messages of a request for run `run`, as JSON; those of runs that wait behind it are left out.
pub fn messages(system: &str, transcript: &[Said], run: &str, waiting: &[String]) -> String {
    let failed = |said: &Said| said.stop.as_deref() == Some("error") || said.text.trim().is_empty();
    let waits = |said: &Said| said.run.as_ref().is_some_and(|id| waiting.contains(id));
    let prompt: Vec<&Said> = transcript
        .iter()
        .filter(|said| matches!(&*said.role, "user" | "assistant") && !failed(said) && !waits(said))
        .collect();
    // Each answer goes behind the message that its run began with.
    let begins = |said: &Said| said.role == "user" && said.run.is_some();
    let place = |n: usize, said: &Said| match &said.run {
        Some(id) if said.role == "assistant" => {
            prompt.iter().position(|other| begins(other) && other.run.as_ref() == Some(id)).unwrap_or(n)
        }
        _ => n,
    };
    let mut order: Vec<(bool, usize, usize)> = prompt
        .iter()
        .enumerate()
        .map(|(n, said)| {
            let own = said.run.as_deref() == Some(run);
            // What is to be answered stands last.
            (own, place(n, said), n)
        })
        .collect();
    order.sort_unstable();
    let mut merged: Vec<(&str, String)> = Vec::new();
    for (_, _, n) in order {
        let said = prompt[n];
        match merged.last_mut() {
            Some((role, text)) if *role == said.role => {
                text.push_str("\n\n");
                text.push_str(&said.text);
            }
            _ => merged.push((&said.role, said.text.clone())),
        }
    }
    // Some models refuse a conversation that the assistant begins.
    let from = merged.iter().position(|(role, _)| *role == "user").unwrap_or(merged.len());
    let first = (!system.is_empty()).then(|| ("system", system.to_owned()));
    let all = first.into_iter().chain(merged.into_iter().skip(from));
    let message =
        |(role, text): (&str, String)| format!(r#"{{"role":"{role}","content":{}}}"#, text.serialize_json());
    format!("[{}]", all.map(message).collect::<Vec<_>>().join(","))
}

/// The text of a message's content: a string, or the text parts of a list.
pub fn text_of(content: &str) -> String {
    let text = |value: &str| {
        let raw = value.strip_prefix('"')?.strip_suffix('"')?;
        Some(json::unescape(raw).into_owned())
    };
    text(content).unwrap_or_else(|| {
        let parts = json::items(content).filter_map(|part| {
            let (_, value) = json::members(part).find(|(name, _)| *name == "text")?;
            text(value)
        });
        parts.collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: &str, text: &str, run: Option<&str>, stop: Option<&str>) -> Said {
        Said {
            role: role.into(),
            text: text.into(),
            run: run.map(str::to_owned),
            stop: stop.map(str::to_owned),
        }
    }

    /// The roles' first letters, and texts.
    fn prompt(transcript: &[Said], run: &str, waiting: &[&str]) -> String {
        let waiting: Vec<String> = waiting.iter().map(|id| (*id).to_owned()).collect();
        let all = messages("", transcript, run, &waiting);
        let member = |object: &str, name: &str| {
            let value =
                json::members(object).find(|(known, _)| *known == name).map(|(_, value)| value).unwrap();
            json::unescape(&value[1..value.len() - 1]).into_owned()
        };
        let each = json::items(&all).map(|m| format!("{}:{}", &member(m, "role")[..1], member(m, "content")));
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_model_is_sent_answers_behind_what_they_answer() {
        let u = |text, run| said("user", text, Some(run), None);
        let a = |text, run| said("assistant", text, Some(run), Some("stop"));
        let rows = [
            (vec![u("1", "A")], "A", vec![], "u:1"),
            (vec![u("1", "A"), a("x", "A"), u("2", "B")], "B", vec![], "u:1 a:x u:2"),
            // The second came while the first was answered.
            (vec![u("1", "A"), u("2", "B"), a("x", "A")], "B", vec![], "u:1 a:x u:2"),
            (vec![u("1", "A"), u("2", "B")], "A", vec!["B"], "u:1"),
            (vec![u("1", "A"), u("2", "B"), u("3", "C"), a("x", "A")], "B", vec!["C"], "u:1 a:x u:2"),
            // A failed run said nothing, and what it was to answer is asked again with the next.
            (
                vec![u("1", "A"), said("assistant", "", Some("A"), Some("error")), u("2", "B")],
                "B",
                vec![],
                "u:1\n\n2",
            ),
            // A note, and a part of an answer that was aborted.
            (vec![said("assistant", "note", None, Some("stop")), u("1", "A")], "A", vec![], "u:1"),
            (
                vec![u("1", "A"), said("assistant", "par", Some("A"), Some("aborted")), u("2", "B")],
                "B",
                vec![],
                "u:1 a:par u:2",
            ),
            (
                vec![said("system", "s", None, None), u("1", "A"), said("toolResult", "t", None, None)],
                "A",
                vec![],
                "u:1",
            ),
        ];
        for (n, (transcript, run, waiting, expected)) in rows.into_iter().enumerate() {
            assert_eq!(prompt(&transcript, run, &waiting), expected, "row {n}");
        }
        assert_eq!(messages("be brief", &[], "A", &[]), r#"[{"role":"system","content":"be brief"}]"#);
    }

    #[test]
    fn whatever_the_transcript_roles_take_turns_and_a_user_begins() {
        // Every transcript of up to six messages of three runs and two roles.
        let runs = [Some("A"), Some("B"), None];
        for length in 0..6_u32 {
            for code in 0..6_usize.pow(length) {
                let mut rest = code;
                let transcript: Vec<Said> = (0..length)
                    .map(|n| {
                        let (role, run) = (["user", "assistant"][rest % 2], runs[rest / 2 % 3]);
                        rest /= 6;
                        said(role, &n.to_string(), run, None)
                    })
                    .collect();
                let prompt = prompt(&transcript, "B", &[]);
                let roles: Vec<&str> = prompt.split(' ').filter(|m| !m.is_empty()).map(|m| &m[..1]).collect();
                assert!(
                    roles.iter().enumerate().all(|(n, role)| *role == ["u", "a"][n % 2]),
                    "{transcript:?}: {prompt}"
                );
            }
        }
    }
}
