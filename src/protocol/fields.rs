//! JSON that others wrote, read leniently: a field of the wrong kind counts as absent.

use miniserde::json::{Number, Object, Value};

/// The fields of an object.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Object);

impl<'a> Fields<'a> {
    /// The fields of `value`, if it is an object.
    pub fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self(object)),
            _ => None,
        }
    }

    /// A text, trimmed, unless it is blank.
    pub fn str(self, name: &str) -> Option<&'a str> {
        match self.0.get(name) {
            Some(Value::String(text)) => Some(text.trim()).filter(|t| !t.is_empty()),
            _ => None,
        }
    }

    /// The same, or nothing to see.
    pub fn text(self, name: &str) -> &'a str {
        self.str(name).unwrap_or_default()
    }

    /// A whole number of 0 or more.
    pub fn u64(self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Number(Number::U64(n))) => Some(*n),
            Some(Value::Number(Number::F64(n))) if (0.0..9e15).contains(n) => Some(*n as u64),
            _ => None,
        }
    }

    /// Whether a switch is there and on.
    pub fn is(self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }

    /// The texts of a list.
    pub fn strs(self, name: &str) -> Vec<&'a str> {
        let text = |v: &'a Value| match v {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        };
        self.list(name).iter().filter_map(text).collect()
    }

    /// Reads a list; empty if the field is none.
    pub fn list(self, name: &str) -> &'a [Value] {
        match self.0.get(name) {
            Some(Value::Array(list)) => list,
            _ => &[],
        }
    }

    /// The objects of a list.
    pub fn objects(self, name: &str) -> impl Iterator<Item = Self> {
        self.list(name).iter().filter_map(Self::of)
    }

    /// Reads an object; `None` if the field is none.
    pub fn object(self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Self::of)
    }
}

/// The text of the member `name` of the object that `json` holds, as it stands there. `json` must have
/// been parsed before: this only counts brackets.
pub fn raw_member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let (mut begin, mut key, mut colon) = (0, "", None);
    for (at, byte) in json.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    quoted = false;
                    if depth == 1 && colon.is_none() {
                        key = &json[begin..at];
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => {
                quoted = true;
                begin = at + 1;
            }
            b'{' | b'[' => depth += 1,
            b':' if depth == 1 => colon = Some(at + 1),
            b',' | b'}' if depth == 1 => {
                if let Some(from) = colon.take()
                    && key == name
                {
                    return Some(json[from..at].trim());
                }
                depth -= i32::from(byte == b'}');
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::raw_member;

    #[test]
    fn a_member_is_found_as_it_stands() {
        let frame = r#"{"a":{"payload":1,"x":[{}]}, "b":"\"payload\":2,}", "payload" : {"z":1e3,"a":[1,{"q":"]"}]} ,"c":null}"#;
        assert_eq!(raw_member(frame, "payload"), Some(r#"{"z":1e3,"a":[1,{"q":"]"}]}"#));
        assert_eq!(raw_member(frame, "c"), Some("null"));
        assert_eq!(raw_member(frame, "z"), None);
    }
}
