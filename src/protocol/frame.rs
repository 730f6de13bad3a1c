//! Frames: a request comes in, a response or an event goes out. All are JSON text.
//!
//! An incoming text is scanned once: the envelope is read, and `params` stay text until the method, the caller's scope
//! and their size were judged. Then the method reads its own fields by name through [`Params`], whose errors name the
//! field in the words of OpenClaw's own validator. Source: `docs/gateway/protocol/transport.md`.

use super::{ParamFault, Params, json, params::Texts};
use nanoserde::{SerJson, SerJsonState};
use std::{fmt, ops::Range};

/// A request frame: `{type:"req", id, method, params}`.
#[derive(Debug)]
pub struct Request {
    /// Id chosen by the client; the response repeats it.
    pub id: String,
    /// Name of the method.
    pub method: String,
    text: String,
    /// Range of `params` in `text`; empty if there are none.
    params: Range<usize>,
    texts: Texts,
}

/// Why a text is no request frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFrame {
    /// The text is not JSON.
    NotJson,
    /// The text is JSON, but not an object with `type: "req"`, a non-empty `id` and a non-empty `method`.
    NotRequest,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "invalid request frame: not JSON",
            Self::NotRequest => "invalid request frame: must be {type:\"req\", id, method, params}",
        })
    }
}

impl Request {
    /// A request of `method` whose parameters came by themselves, as `params`; `None` where those are no JSON object.
    pub fn of_params(method: &str, params: String) -> Option<Self> {
        let mut scanner = json::Scanner::new(&params);
        let object = scanner.peek() == Some(b'{') && scanner.skip().is_ok() && scanner.is_at_end();
        object.then(|| Self {
            id: String::new(),
            method: method.into(),
            params: 0..params.len(),
            text: params,
            texts: Texts::default(),
        })
    }

    /// Reads a request frame.
    ///
    /// # Errors
    /// [`BadFrame`], with the request's id where one could be read.
    pub fn parse(text: impl Into<String>) -> Result<Self, (BadFrame, Option<String>)> {
        let text = text.into();
        let mut scanner = json::Scanner::new(&text);
        if scanner.peek() != Some(b'{') {
            let json = scanner.skip().is_ok() && scanner.is_at_end();
            return Err((if json { BadFrame::NotRequest } else { BadFrame::NotJson }, None));
        }
        let [mut kind, mut id, mut method, mut params] = [""; 4];
        let mut members = json::members(&text);
        for (name, value) in members.by_ref() {
            // Of two of the same name the last one counts, as in JavaScript.
            match &*json::unescape(name) {
                "type" => kind = value,
                "id" => id = value,
                "method" => method = value,
                "params" => params = value,
                _ => {}
            }
        }
        if !members.end().is_ok_and(|mut rest| rest.is_at_end()) {
            return Err((BadFrame::NotJson, None));
        }
        let text_of = |value| Some(json::text(value)?.into_owned()).filter(|text| !text.is_empty());
        let id = text_of(id);
        let is_request = json::text(kind).is_some_and(|kind| kind == "req");
        let (true, Some(method)) = (is_request, text_of(method)) else {
            return Err((BadFrame::NotRequest, id));
        };
        let Some(id) = id else { return Err((BadFrame::NotRequest, None)) };
        let params = match params {
            "" | "null" => 0..0,
            params => {
                let start = params.as_ptr() as usize - text.as_ptr() as usize;
                start..start + params.len()
            }
        };
        Ok(Self { id, method, text, params, texts: Texts::default() })
    }

    /// The parameters.
    ///
    /// # Errors
    /// When they are not an object.
    pub fn params(&self) -> Result<Params<'_>, ParamFault> {
        let object = self.text.get(self.params.clone()).filter(|text| !text.is_empty()).unwrap_or("{}");
        if !object.starts_with('{') {
            return Err(ParamFault("invalid request frame: at /params: must be object".into()));
        }
        Ok(Params::new(&self.method, object, &self.texts))
    }

    /// The whole frame, as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The length of `params`, bytes.
    pub fn params_len(&self) -> usize {
        self.params.len()
    }
}

/// A piece of JSON that is written as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub String);

impl Json {
    /// Serialises `value`.
    pub fn of(value: &impl SerJson) -> Self {
        Self(value.serialize_json())
    }

    /// JSON that somebody else wrote, to be passed on: checked, and with whole characters.
    pub fn passed_on(json: &str) -> Option<Self> {
        let mut scanner = json::Scanner::new(json);
        let is_json = scanner.skip().is_ok() && scanner.is_at_end();
        is_json.then(|| Self(json::whole_characters(json).into_owned()))
    }

    /// The JSON value `null`.
    pub fn null() -> Self {
        Self("null".into())
    }
}

impl SerJson for Json {
    fn ser_json(&self, _: usize, s: &mut SerJsonState) {
        s.out.push_str(&self.0);
    }
}

/// The text of a response frame that succeeded.
pub fn response(id: &str, payload: &Json) -> String {
    let mut s = SerJsonState::new(String::with_capacity(payload.0.len() + id.len() + 48));
    s.out.push_str(r#"{"type":"res","id":"#);
    id.ser_json(0, &mut s);
    s.out.push_str(r#","ok":true,"payload":"#);
    s.out.push_str(&payload.0);
    s.out.push('}');
    s.out
}

/// The text of a response frame that failed.
pub fn refusal(id: &str, error: &super::ErrorShape) -> String {
    let mut s = SerJsonState::new(String::with_capacity(256));
    s.out.push_str(r#"{"type":"res","id":"#);
    id.ser_json(0, &mut s);
    s.out.push_str(r#","ok":false,"error":"#);
    error.ser_json(0, &mut s);
    s.out.push('}');
    s.out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes() {
        use BadFrame::{NotJson, NotRequest};
        let rows = [
            ("[", Err((NotJson, None))),
            ("{\"id\":\"1\"", Err((NotJson, None))),
            ("{} x", Err((NotJson, None))),
            ("[]", Err((NotRequest, None))),
            ("1", Err((NotRequest, None))),
            ("{}", Err((NotRequest, None))),
            (r#"{"type":"res","id":"1","method":"m"}"#, Err((NotRequest, Some("1")))),
            (r#"{"type":"req","id":"1"}"#, Err((NotRequest, Some("1")))),
            (r#"{"type":"req","id":1,"method":"m"}"#, Err((NotRequest, None))),
            (r#"{"type":"req","id":"","method":"m"}"#, Err((NotRequest, None))),
            (r#"{"type":"req","id":"1","method":"m","params":[1]}"#, Ok(("1", "m", 3))),
            (r#"{"type":"req","id":"1","method":"m"}"#, Ok(("1", "m", 0))),
            (r#"{"type":"req","id":"1","method":"m","params":null}"#, Ok(("1", "m", 0))),
            (r#" {"x":[{}],"params": {"a":1} ,"type":"req","id":"1","method":"m"} "#, Ok(("1", "m", 7))),
            (r#"{"type":"res","id":"0","type":"req","i\u0064":"1","method":"m"}"#, Ok(("1", "m", 0))),
            (r#"{"type":"req","id":"\ud83e","method":"\u006d"}"#, Ok(("\u{fffd}", "m", 0))),
        ];
        for (text, expected) in rows {
            let parsed = Request::parse(text);
            let parsed = parsed.as_ref().map(|r| (r.id.as_str(), r.method.as_str(), r.params_len()));
            assert_eq!(parsed.map_err(|(why, id)| (*why, id.as_deref())), expected, "{text}");
        }
    }

    #[test]
    fn text_is_escaped_on_the_way_out() {
        assert_eq!(
            response("a\"\u{1}\n", &Json::null()),
            "{\"type\":\"res\",\"id\":\"a\\\"\\u0001\\n\",\"ok\":true,\"payload\":null}"
        );
    }
}
