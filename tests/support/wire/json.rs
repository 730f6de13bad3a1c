//! Access to fields of answers.

use miniserde::json::{Number, Value};

/// miniserde's values cannot be cloned; what is kept is written and read again.
pub trait ClonedFlat {
    fn cloned_flat(&self) -> Value;
}

impl ClonedFlat for Option<&Value> {
    fn cloned_flat(&self) -> Value {
        self.map_or(Value::Null, |v| miniserde::json::from_str(&miniserde::json::to_string(v)).unwrap())
    }
}

/// A member by its path; a number selects an item of a list.
pub fn get<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |v, name| match v {
        Value::Object(o) => o.get(name),
        Value::Array(a) => a.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

pub fn text(value: &Value, path: &str) -> String {
    match get(value, path) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
        _ => String::new(),
    }
}

pub fn flag(value: &Value, path: &str) -> bool {
    matches!(get(value, path), Some(Value::Bool(true)))
}

pub fn number(value: &Value, path: &str) -> u64 {
    match get(value, path) {
        Some(Value::Number(Number::U64(n))) => *n,
        other => panic!("{path} is {}", other.map_or("missing".into(), json)),
    }
}

pub fn list(value: &Value, path: &str) -> Vec<String> {
    match get(value, path) {
        Some(Value::Array(a)) => a
            .iter()
            .map(|v| match v {
                Value::String(s) => s.clone(),
                other => json(other),
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub fn items<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    match get(value, path) {
        Some(Value::Array(a)) => a.iter().collect(),
        _ => Vec::new(),
    }
}

pub fn json(value: &Value) -> String {
    miniserde::json::to_string(value)
}

/// The bootstrap token in the answer to `device.pair.setupCode`.
pub fn bootstrap_token(made: &Value) -> String {
    let code = barnacle::internals::protocol::base64url_decode(&text(made, "setupCode")).unwrap();
    text(&miniserde::json::from_str(&String::from_utf8(code).unwrap()).unwrap(), "bootstrapToken")
}
