//! A model's answer, put together from the pieces of its stream.

use super::error::ModelError;
use crate::{agents::conversation::Call, protocol::json};
use nanoserde::SerJson;

/// Most bytes of the text of one answer, and of the arguments of its calls.
const TEXT: usize = 4 << 20;
const ARGUMENTS: usize = 1 << 20;
/// Most calls of one answer.
const CALLS: usize = 64;

/// Tokens of an answer, as the server counts them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Of the request.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// Part of a call of a tool.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fragment {
    /// Number of the call in the answer, if the server counts.
    pub index: Option<usize>,
    /// Its id, where it begins.
    pub id: Option<String>,
    /// Name of the tool, where it begins.
    pub name: Option<String>,
    /// A piece of the arguments' text.
    pub arguments: String,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Text.
    Text(String),
    /// Part of a call.
    Call(Fragment),
    /// The count of tokens, or a part of it.
    Usage(Usage),
    /// Why the model ended.
    Finish(String),
    /// The end of the stream.
    End,
}

/// What a model answered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reply {
    /// What it said.
    pub text: String,
    /// The tools that it called.
    pub calls: Vec<Call>,
    /// The count of tokens.
    pub usage: Usage,
}

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Assembly {
    text: String,
    /// Each with the number that the server gave it.
    calls: Vec<(Option<usize>, Call)>,
    usage: Usage,
    ended: bool,
}

impl Assembly {
    /// Adds a piece.
    ///
    /// # Errors
    /// [`ModelError::TooLong`].
    pub fn add(&mut self, piece: Piece) -> Result<(), ModelError> {
        match piece {
            Piece::Text(text) => {
                if self.text.len() + text.len() > TEXT {
                    return Err(ModelError::TooLong(format!("the model said more than {TEXT} bytes")));
                }
                self.text.push_str(&text);
            }
            Piece::Call(fragment) => self.call(fragment)?,
            // Each count is said once, and one dialect says them apart.
            Piece::Usage(usage) => {
                self.usage.input = self.usage.input.max(usage.input);
                self.usage.output = self.usage.output.max(usage.output);
            }
            Piece::Finish(_) | Piece::End => self.ended = true,
        }
        Ok(())
    }

    /// Adds to the call that a fragment belongs to: by its number, or the last one. A new id, or a name without a number,
    /// begins another: some servers give each call the number 0.
    fn call(&mut self, fragment: Fragment) -> Result<(), ModelError> {
        let Fragment { index, id, name, arguments } = fragment;
        let known = match index {
            Some(_) => self.calls.iter().rposition(|(number, _)| *number == index),
            None => self.calls.len().checked_sub(1),
        };
        let begins = |call: &Call| match (&id, &name, index) {
            (Some(id), ..) => call.id != *id && !call.id.is_empty(),
            (None, Some(_), None) => true,
            _ => false,
        };
        let at = match known.filter(|at| !begins(&self.calls[*at].1)) {
            Some(at) => at,
            None if self.calls.len() == CALLS => {
                return Err(ModelError::TooLong(format!("the model called more than {CALLS} tools at once")));
            }
            None => {
                let (id, name, arguments) = Default::default();
                self.calls.push((index, Call { id, name, arguments }));
                self.calls.len() - 1
            }
        };
        let bytes: usize = self.calls.iter().map(|(_, call)| call.arguments.len()).sum();
        if bytes + arguments.len() > ARGUMENTS {
            return Err(ModelError::TooLong(format!(
                "the arguments of the tools that the model called are longer than {ARGUMENTS} bytes"
            )));
        }
        let call = &mut self.calls[at].1;
        if let Some(id) = id {
            call.id = id;
        }
        if let Some(name) = name {
            call.name = name;
        }
        call.arguments.push_str(&arguments);
        Ok(())
    }

    /// The whole answer.
    ///
    /// # Errors
    /// [`ModelError::Cut`] where its end was not said, [`ModelError::Empty`] where there is nothing in it.
    pub fn finish(self) -> Result<Reply, ModelError> {
        if !self.ended {
            return Err(ModelError::Cut);
        }
        let mut calls: Vec<Call> = Vec::with_capacity(self.calls.len());
        for (n, (_, call)) in self.calls.into_iter().enumerate() {
            let mut call = Call { arguments: arguments(&call.arguments), ..call };
            if call.id.is_empty() || calls.iter().any(|other| other.id == call.id) {
                call.id = format!("call_{n}_{}", call.id);
            }
            if call.name.is_empty() {
                call.name = "unnamed".into();
            }
            calls.push(call);
        }
        match self.text.trim().is_empty() && calls.is_empty() {
            true => Err(ModelError::Empty),
            false => Ok(Reply { text: self.text, calls, usage: self.usage }),
        }
    }
}

/// Name of the one argument that stands for arguments that are no JSON object.
pub const NO_JSON: &str = "notJson";

/// The arguments of a call: an object. What is none is kept as a text within one, so that the model can be told.
fn arguments(text: &str) -> String {
    match text.trim() {
        "" => "{}".into(),
        object if json::is_object(object) => object.to_owned(),
        other => {
            let begin: String = other.chars().take(1000).collect();
            format!(r#"{{"{NO_JSON}":{}}}"#, begin.serialize_json())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(index: Option<usize>, id: &str, name: &str, arguments: &str) -> Piece {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Piece::Call(Fragment { index, id: text(id), name: text(name), arguments: arguments.into() })
    }

    #[test]
    fn calls_are_put_together_however_a_server_streams_them() {
        let rows = [
            // In pieces, by number, one after the other and mixed.
            (
                vec![
                    fragment(Some(0), "a", "t", ""),
                    fragment(Some(0), "", "", "{\"x\""),
                    fragment(Some(0), "", "", ":1}"),
                ],
                "a t {\"x\":1}",
            ),
            (
                vec![
                    fragment(Some(0), "a", "t", "{"),
                    fragment(Some(1), "b", "u", "{"),
                    fragment(Some(0), "", "", "}"),
                    fragment(Some(1), "", "", "}"),
                ],
                "a t {} b u {}",
            ),
            // The id and the name in each piece.
            (vec![fragment(Some(0), "a", "t", "{"), fragment(Some(0), "a", "t", "}")], "a t {}"),
            // Whole, and every one with the number 0.
            (vec![fragment(Some(0), "a", "t", "{}"), fragment(Some(0), "b", "u", "{}")], "a t {} b u {}"),
            // Without numbers, with ids and without.
            (vec![fragment(None, "a", "t", "{}"), fragment(None, "b", "u", "{}")], "a t {} b u {}"),
            (
                vec![fragment(None, "", "t", "{"), fragment(None, "", "", "}"), fragment(None, "", "t", "")],
                "call_0_ t {} call_1_ t {}",
            ),
            // The same id twice, none, and no arguments.
            (vec![fragment(Some(0), "a", "t", ""), fragment(Some(1), "a", "t", "")], "a t {} call_1_a t {}"),
            // No object.
            (vec![fragment(Some(0), "a", "t", "[1]")], r#"a t {"notJson":"[1]"}"#),
            (vec![fragment(Some(0), "a", "t", "{\"x\":")], r#"a t {"notJson":"{\"x\":"}"#),
        ];
        for (pieces, expected) in rows {
            let mut assembly = Assembly::default();
            pieces.into_iter().for_each(|piece| assembly.add(piece).unwrap());
            assembly.add(Piece::End).unwrap();
            let calls = assembly.finish().unwrap().calls;
            let all: Vec<String> =
                calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect();
            assert_eq!(all.join(" "), expected);
        }
    }

    #[test]
    fn an_answer_without_its_end_is_none() {
        let mut assembly = Assembly::default();
        assembly.add(fragment(Some(0), "a", "t", "{}")).unwrap();
        assert!(matches!(assembly.finish(), Err(ModelError::Cut)));
        let mut assembly = Assembly::default();
        assembly.add(Piece::Finish("stop".into())).unwrap();
        assert!(matches!(assembly.finish(), Err(ModelError::Empty)));
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut assembly = Assembly::default();
        let piece = || fragment(Some(0), "a", "t", &"x".repeat(1 << 16));
        assert!((0..17).any(|_| assembly.add(piece()).is_err()));
        let mut assembly = Assembly::default();
        assert!((0..65).any(|n| assembly.add(fragment(Some(n), &n.to_string(), "t", "")).is_err()));
        let mut assembly = Assembly::default();
        assert!((0..65).any(|_| assembly.add(Piece::Text("x".repeat(1 << 16))).is_err()));
    }
}
