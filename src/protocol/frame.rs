//! Frames: a request comes in, a response or an event goes out. All are JSON text.
//!
//! Incoming text is parsed once with `miniserde`, which never recurses, so nesting cannot exhaust the
//! stack. Its errors carry no text; the fields are therefore read by name through [`Params`], whose
//! faults name the field in the words OpenClaw's own validator uses.
//! Source: `docs/gateway/protocol/transport.md`.

use super::raw_member;
use miniserde::json::{Array, Number, Object, Value};
use nanoserde::{SerJson, SerJsonState};
use std::fmt;

/// A request frame: `{type:"req", id, method, params}`.
pub struct Request {
    /// Chosen by the client; the response repeats it.
    pub id: String,
    /// The method's name.
    pub method: String,
    /// `None` if it is not an object.
    params: Option<Object>,
    params_len: usize,
}

/// Why a text is no request frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFrame {
    /// It is not JSON.
    NotJson,
    /// It is JSON, but not an object with `type: "req"`, a non-empty `id` and a non-empty `method`.
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
    /// Reads a request frame.
    ///
    /// # Errors
    /// [`BadFrame`], with the request's id where one could be read.
    pub fn parse(text_of_frame: &str) -> Result<Self, (BadFrame, Option<String>)> {
        let Ok(value) = miniserde::json::from_str::<Value>(text_of_frame) else {
            return Err((BadFrame::NotJson, None));
        };
        let Value::Object(mut frame) = value else {
            return Err((BadFrame::NotRequest, None));
        };
        let mut text = |name: &str| match frame.remove(name) {
            Some(Value::String(s)) if !s.is_empty() => Some(s),
            _ => None,
        };
        let (kind, id, method) = (text("type"), text("id"), text("method"));
        let (Some("req"), Some(method)) = (kind.as_deref(), method) else {
            return Err((BadFrame::NotRequest, id));
        };
        let Some(id) = id else { return Err((BadFrame::NotRequest, None)) };
        let params = match frame.remove("params") {
            Some(Value::Object(params)) => Some(params),
            None | Some(Value::Null) => Some(Object::new()),
            Some(_) => None,
        };
        let params_len = raw_member(text_of_frame, "params").map_or(0, str::len);
        Ok(Self { id, method, params, params_len })
    }

    /// The length of `params`, bytes.
    pub fn params_len(&self) -> usize {
        self.params_len
    }

    /// The parameters.
    ///
    /// # Errors
    /// When they are not an object.
    pub fn params(&self) -> Result<Params<'_>, ParamFault> {
        let not_object = || ParamFault("invalid request frame: at /params: must be object".into());
        let fields = self.params.as_ref().ok_or_else(not_object)?;
        Ok(Params { method: &self.method, path: String::new(), fields })
    }
}

/// A field of a method's parameters that is missing or of the wrong kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamFault(pub String);

impl fmt::Display for ParamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Read access to an object of parameters, with faults that name the field.
pub struct Params<'a> {
    method: &'a str,
    path: String,
    fields: &'a Object,
}

type Read<T> = Result<T, ParamFault>;

impl<'a> Params<'a> {
    /// The error for the field `name`, which must be something else.
    pub fn invalid(&self, name: &str, must: &str) -> ParamFault {
        ParamFault(format!("invalid {} params: at {}/{name}: must be {must}", self.method, self.path))
    }

    fn missing(&self, name: &str) -> ParamFault {
        let at = if self.path.is_empty() { String::new() } else { format!("at {}: ", self.path) };
        ParamFault(format!("invalid {} params: {at}must have required property '{name}'", self.method))
    }

    /// A raw value; `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|v| !matches!(v, Value::Null))
    }

    /// A text that may be absent.
    ///
    /// # Errors
    /// When it is not a string.
    pub fn opt_str(&self, name: &str) -> Read<Option<&'a str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(_) => Err(self.invalid(name, "string")),
        }
    }

    /// A text that must be there and not be empty.
    ///
    /// # Errors
    /// When it is missing, empty or not a string.
    pub fn str(&self, name: &str) -> Read<&'a str> {
        match self.opt_str(name)? {
            Some("") => Err(self.invalid(name, "a non-empty string")),
            Some(s) => Ok(s),
            None => Err(self.missing(name)),
        }
    }

    /// A whole number that may be absent.
    ///
    /// # Errors
    /// When it is not a whole number of 0 or more.
    pub fn opt_u64(&self, name: &str) -> Read<Option<u64>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(Number::U64(n))) => Ok(Some(*n)),
            Some(Value::Number(Number::F64(n))) if n.fract() == 0.0 && (0.0..9e15).contains(n) => {
                Ok(Some(*n as u64))
            }
            Some(_) => Err(self.invalid(name, "integer")),
        }
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// When it is missing or not a whole number of 0 or more.
    pub fn u64(&self, name: &str) -> Read<u64> {
        self.opt_u64(name)?.ok_or_else(|| self.missing(name))
    }

    /// A switch that may be absent.
    ///
    /// # Errors
    /// When it is not a boolean.
    pub fn opt_bool(&self, name: &str) -> Read<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(_) => Err(self.invalid(name, "boolean")),
        }
    }

    /// A list of texts; absent is empty.
    ///
    /// # Errors
    /// When it is not an array of strings.
    pub fn strs(&self, name: &str) -> Read<Vec<&'a str>> {
        let list: &Array = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.invalid(name, "array")),
        };
        list.iter()
            .map(|v| match v {
                Value::String(s) => Ok(s.as_str()),
                _ => Err(self.invalid(name, "an array of strings")),
            })
            .collect()
    }

    /// An object that may be absent.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn opt_object(&self, name: &str) -> Read<Option<Params<'a>>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => {
                Ok(Some(Params { method: self.method, path: format!("{}/{name}", self.path), fields }))
            }
            Some(_) => Err(self.invalid(name, "object")),
        }
    }

    /// An object that must be there.
    ///
    /// # Errors
    /// When it is missing or not an object.
    pub fn object(&self, name: &str) -> Read<Params<'a>> {
        self.opt_object(name)?.ok_or_else(|| self.missing(name))
    }

    /// The names and values of the fields.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.fields.iter().map(|(k, v)| (k.as_str(), v))
    }
}

/// A piece of JSON that is written as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub String);

impl Json {
    /// The JSON of `value`.
    pub fn of(value: &impl SerJson) -> Self {
        Self(value.serialize_json())
    }

    /// `null`.
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
    fn faults_name_the_field_as_openclaw_does() {
        let parse = |params: &str| {
            Request::parse(&format!(r#"{{"type":"req","id":"1","method":"connect","params":{params}}}"#))
                .unwrap_or_else(|_| panic!("a frame"))
        };
        let request = parse(r#"{"minProtocol":"x","device":{}}"#);
        let params = request.params().unwrap_or_else(|f| panic!("{f}"));
        let text = |r: Read<u64>| r.map_err(|f| f.0);
        assert_eq!(
            text(params.u64("maxProtocol")),
            Err("invalid connect params: must have required property 'maxProtocol'".into())
        );
        assert_eq!(
            text(params.u64("minProtocol")),
            Err("invalid connect params: at /minProtocol: must be integer".into())
        );
        let device = params.object("device").unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(
            device.str("nonce").map_err(|f| f.0),
            Err("invalid connect params: at /device: must have required property 'nonce'".into())
        );
    }

    #[test]
    fn text_is_escaped_on_the_way_out() {
        assert_eq!(
            response("a\"\u{1}\n", &Json::null()),
            "{\"type\":\"res\",\"id\":\"a\\\"\\u0001\\n\",\"ok\":true,\"payload\":null}"
        );
    }

    #[test]
    fn deep_nesting_is_refused_or_parsed_without_a_deep_stack() {
        let deep = "[".repeat(200_000);
        assert!(matches!(Request::parse(&deep), Err((BadFrame::NotJson, None))));
        let closed = format!("{deep}{}", "]".repeat(200_000));
        assert!(matches!(Request::parse(&closed), Err((BadFrame::NotRequest, None))));
    }
}
