//! The parameters of a request: fields of an object, read by name from its text.

use super::json;
use std::{borrow::Cow, cell::OnceCell, fmt};

/// Members of an object that are indexed; those of a larger one are looked for again each time, so that an index is
/// never larger than the text.
const INDEXED: usize = 64;

/// Members that an index has room for in place: few objects have more.
const USUAL: usize = 12;

/// A field of a method's parameters that is missing or of the wrong kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamFault(pub String);

impl fmt::Display for ParamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Texts that had escapes, kept as long as the request.
#[derive(Default, Debug)]
pub(super) struct Texts(OnceCell<Box<(Vec<String>, Texts)>>);

impl Texts {
    /// Keeps `texts`, and lends them.
    fn keep(&self, texts: Vec<String>) -> &[String] {
        let mut end = self;
        while let Some(next) = end.0.get() {
            end = &next.1;
        }
        &end.0.get_or_init(|| Box::new((texts, Self::default()))).0
    }

    /// A string as it stands between its quotes, with its escapes resolved.
    fn text<'a>(&'a self, raw: &'a str) -> &'a str {
        match json::unescape(raw) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => self.keep(vec![text]).first().map_or("", String::as_str),
        }
    }
}

/// Read access to an object of parameters, with errors that name the field.
pub struct Params<'a> {
    method: &'a str,
    /// The names that lead to the object, with slashes between them.
    path: Cow<'static, str>,
    first: Index<'a>,
    /// Fields that are not read yet.
    others: json::Members<'a>,
    texts: &'a Texts,
}

/// The first members of an object: names as they stand between their quotes, and the texts of the values.
struct Index<'a> {
    usual: [(&'a str, &'a str); USUAL],
    count: usize,
    /// Those for which there is no room.
    more: Vec<(&'a str, &'a str)>,
}

impl<'a> Index<'a> {
    fn of(members: &mut json::Members<'a>) -> Self {
        let (mut usual, mut count) = ([("", ""); USUAL], 0);
        for (place, member) in usual.iter_mut().zip(members.by_ref()) {
            *place = member;
            count += 1;
        }
        let more = if count < USUAL { Vec::new() } else { members.take(INDEXED - USUAL).collect() };
        Self { usual, count, more }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &(&'a str, &'a str)> {
        self.usual[..self.count].iter().chain(&self.more)
    }
}

type Read<T> = Result<T, ParamFault>;

impl<'a> Params<'a> {
    /// The members of `object`, which is JSON.
    pub(super) fn new(method: &'a str, object: &'a str, texts: &'a Texts) -> Self {
        Self::within(method, Cow::Borrowed(""), object, texts)
    }

    fn within(method: &'a str, path: Cow<'static, str>, object: &'a str, texts: &'a Texts) -> Self {
        let mut others = json::members(object);
        let first = Index::of(&mut others);
        Self { method, path, first, others, texts }
    }

    /// The error for the field `name`, which must be something else.
    pub fn invalid(&self, name: &str, must: &str) -> ParamFault {
        let at = self.at();
        ParamFault(format!("invalid {} params: at {at}/{name}: must be {must}", self.method))
    }

    fn at(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("/{}", self.path) }
    }

    fn missing(&self, name: &str) -> ParamFault {
        let at = self.at();
        let at = if at.is_empty() { at } else { format!("at {at}: ") };
        ParamFault(format!("invalid {} params: {at}must have required property '{name}'", self.method))
    }

    /// A value as JSON text; `null` counts as absent. Of two of the same name the last one counts.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        let is = |(key, _): &(&str, &str)| {
            *key == name || key.as_bytes().contains(&b'\\') && json::unescape(key) == name
        };
        let found = self.others.clone().filter(is).last();
        let found = found.or_else(|| self.first.iter().rfind(|member| is(member)).copied());
        found.map(|(_, value)| value).filter(|value| *value != "null")
    }

    /// A text that may be absent.
    ///
    /// # Errors
    /// When it is not a string.
    pub fn opt_str(&self, name: &str) -> Read<Option<&'a str>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let raw = quoted(value).ok_or_else(|| self.invalid(name, "string"))?;
        Ok(Some(self.texts.text(raw)))
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
        let Some(value) = self.value(name) else { return Ok(None) };
        let float = |value: &str| {
            let number = value.parse::<f64>().ok()?;
            (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
        };
        let number = value.parse().ok().or_else(|| float(value));
        number.map(Some).ok_or_else(|| self.invalid(name, "integer"))
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
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid(name, "boolean")),
        }
    }

    /// A list of texts; absent is empty.
    ///
    /// # Errors
    /// When it is not an array of strings.
    pub fn strs(&self, name: &str) -> Read<Vec<&'a str>> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        if !value.starts_with('[') {
            return Err(self.invalid(name, "array"));
        }
        let raw: Option<Vec<&str>> = json::items(value).map(quoted).collect();
        let raw = raw.ok_or_else(|| self.invalid(name, "an array of strings"))?;
        if !raw.iter().any(|raw| raw.contains('\\')) {
            return Ok(raw);
        }
        let texts = raw.into_iter().map(|raw| json::unescape(raw).into_owned()).collect();
        Ok(self.texts.keep(texts).iter().map(String::as_str).collect())
    }

    /// An object that may be absent.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn opt_object(&self, name: &'static str) -> Read<Option<Params<'a>>> {
        match self.value(name) {
            None => Ok(None),
            Some(object) if object.starts_with('{') => {
                let path = match &*self.path {
                    "" => Cow::Borrowed(name),
                    path => Cow::Owned(format!("{path}/{name}")),
                };
                Ok(Some(Self::within(self.method, path, object, self.texts)))
            }
            Some(_) => Err(self.invalid(name, "object")),
        }
    }

    /// An object that must be there.
    ///
    /// # Errors
    /// When it is missing or not an object.
    pub fn object(&self, name: &'static str) -> Read<Params<'a>> {
        self.opt_object(name)?.ok_or_else(|| self.missing(name))
    }

    /// The names of the fields, and their values as JSON text.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.first.iter().copied().chain(self.others.clone());
        all.map(|(name, value)| (self.texts.text(name), value))
    }
}

/// Returns the text between the quotes of a string.
fn quoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RequestFrame;

    fn with<T>(params: &str, read: impl FnOnce(&Params<'_>) -> T) -> T {
        let frame = format!(r#"{{"type":"req","id":"1","method":"connect","params":{params}}}"#);
        let request = RequestFrame::parse(frame).unwrap_or_else(|(why, _)| panic!("{why}"));
        read(&request.params().unwrap_or_else(|f| panic!("{f}")))
    }

    #[test]
    fn errors_name_the_field_as_openclaw_does() {
        with(r#"{"minProtocol":"x","device":{}}"#, |params| {
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
        });
    }

    #[test]
    fn values_of_every_kind() {
        let params = r#"{"s":"a\"\u00e4","e":"","n":17,"f":1.8e1,"half":1.5,"minus":-1,"t":true,"x":null,
            "l":["a","\n"],"m":["a",1],"o":{"a":{"b":"c"}},"twi\u0063e":"1","twice":"2"}"#;
        with(params, |p| {
            assert_eq!(p.opt_str("s"), Ok(Some("a\"ä")));
            assert_eq!(
                (p.opt_str("x"), p.opt_str("none"), p.opt_str("e")),
                (Ok(None), Ok(None), Ok(Some("")))
            );
            assert!(p.str("e").is_err() && p.str("x").is_err() && p.str("n").is_err());
            assert_eq!(
                (p.opt_u64("n"), p.opt_u64("f"), p.opt_u64("x")),
                (Ok(Some(17)), Ok(Some(18)), Ok(None))
            );
            assert!(["half", "minus", "s"].iter().all(|name| p.opt_u64(name).is_err()));
            assert_eq!((p.opt_bool("t"), p.opt_bool("x")), (Ok(Some(true)), Ok(None)));
            assert_eq!((p.strs("l"), p.strs("none")), (Ok(vec!["a", "\n"]), Ok(vec![])));
            assert!(p.strs("m").is_err() && p.strs("s").is_err() && p.opt_bool("n").is_err());
            assert_eq!(p.str("twice"), Ok("2"));
            let within = p.object("o").and_then(|o| o.object("a")).unwrap_or_else(|f| panic!("{f}"));
            assert_eq!(within.str("b"), Ok("c"));
            assert_eq!(p.object("o").map(|o| o.value("a")), Ok(Some(r#"{"b":"c"}"#)));
            assert_eq!(p.entries().filter(|(name, _)| *name == "twice").count(), 2);
        });
    }

    #[test]
    fn a_field_beyond_the_index_is_found() {
        let many: Vec<String> = (0..1000).map(|n| format!(r#""k{n}":{n}"#)).collect();
        with(&format!(r#"{{{},"k3":"last"}}"#, many.join(",")), |p| {
            assert_eq!((p.u64("k5"), p.u64("k999"), p.str("k3")), (Ok(5), Ok(999), Ok("last")));
            assert_eq!(p.entries().count(), 1001);
        });
    }
}
