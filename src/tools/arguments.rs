//! Arguments of a tool: what a model wrote, held against the tool's schema. Each error names the property and says what it
//! must be, so that the model can do it right the next time.
//!
//! Of JSON schema: `type`, `required`, `enum`, `properties`, `items`, `minimum`, `maximum`, `minLength`, `maxLength`,
//! `minItems`, `maxItems` and `additionalProperties: false`. A `null` counts as absent.

use crate::protocol::json::{self, Scanner};

/// The most that a tool is given, bytes.
pub const LONGEST: usize = 1 << 20;
/// Of a value that is wrong, this much is shown.
const SHOWN: usize = 60;

/// Reads what a model wrote as the arguments of a tool: an object of the schema. Nothing is no arguments.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn read<'a>(schema: &str, text: &'a str) -> Result<&'a str, String> {
    let text = text.trim();
    let text = if text.is_empty() || text == "null" { "{}" } else { text };
    if text.len() > LONGEST {
        return Err(format!("the arguments are {} bytes, and a tool takes {LONGEST} at most", text.len()));
    }
    let mut scanner = Scanner::new(text);
    if scanner.skip().is_err() || !scanner.is_at_end() {
        return Err(format!("the arguments are no JSON: {}", shown(text)));
    }
    match text.starts_with('{') {
        true => fits(schema, "", text).map(|()| text),
        false => Err(format!("the arguments must be a JSON object, and are {}", shown(text))),
    }
}

/// Judges `value`, which stands at `path`.
fn fits(schema: &str, path: &str, value: &str) -> Result<(), String> {
    let wrong = |must: &str| Err(format!("{} must be {must}, and is {}", named(path), shown(value)));
    if let Some(types) = member(schema, "type") {
        let types: Vec<&str> = match types.starts_with('[') {
            true => json::items(types).filter_map(quoted).collect(),
            false => quoted(types).into_iter().collect(),
        };
        if !types.iter().any(|kind| is_a(kind, value)) {
            return wrong(&types.iter().map(|kind| said(kind)).collect::<Vec<_>>().join(" or "));
        }
    }
    if let Some(choices) = member(schema, "enum") {
        let is = |choice: &str| match (quoted(choice), quoted(value)) {
            (Some(choice), Some(value)) => json::unescape(choice) == json::unescape(value),
            _ => choice == value,
        };
        if !json::items(choices).any(is) {
            return wrong(&format!("one of {}", json::items(choices).collect::<Vec<_>>().join(", ")));
        }
    }
    if let Some((name, size, unit)) = sizes(value) {
        let bound = |keyword: &str| member(schema, &format!("{keyword}{name}"))?.parse::<f64>().ok();
        let (least, most) = match name {
            "" => (bound("minimum"), bound("maximum")),
            _ => (bound("min"), bound("max")),
        };
        if let Some(least) = least.filter(|least| size < *least) {
            return wrong(&format!("at least {least}{unit}"));
        }
        if let Some(most) = most.filter(|most| size > *most) {
            return wrong(&format!("at most {most}{unit}"));
        }
    }
    match value.as_bytes().first() {
        Some(b'{') => object_fits(schema, path, value),
        Some(b'[') => match member(schema, "items") {
            None => Ok(()),
            Some(items) => json::items(value)
                .enumerate()
                .try_for_each(|(n, item)| fits(items, &format!("{path}[{n}]"), item)),
        },
        _ => Ok(()),
    }
}

fn object_fits(schema: &str, path: &str, value: &str) -> Result<(), String> {
    let properties = member(schema, "properties").unwrap_or("{}");
    let closed = member(schema, "additionalProperties") == Some("false");
    let given = || json::members(value).filter(|(_, value)| *value != "null");
    for (name, inner) in given() {
        let name = json::unescape(name);
        match member(properties, &name) {
            Some(schema) => fits(schema, &below(path, &name), inner)?,
            None if closed => {
                let known: Vec<&str> = json::members(properties).map(|(name, _)| name).collect();
                let name = shown(&name);
                return Err(match known.is_empty() {
                    true => format!("{} takes no properties, and has {name}", named(path)),
                    false => format!("{} has no property {name}; it has {}", named(path), known.join(", ")),
                });
            }
            None => {}
        }
    }
    let required = member(schema, "required").map(json::items).into_iter().flatten();
    for name in required.filter_map(quoted) {
        if !given().any(|(given, _)| json::unescape(given) == name) {
            return Err(format!("{} is required, and is missing", below(path, name)));
        }
    }
    Ok(())
}

fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    json::members(object).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn quoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn named(path: &str) -> &str {
    if path.is_empty() { "the tool" } else { path }
}

fn is_a(kind: &str, value: &str) -> bool {
    let first = value.as_bytes().first();
    match kind {
        "object" => first == Some(&b'{'),
        "array" => first == Some(&b'['),
        "string" => first == Some(&b'"'),
        "boolean" => matches!(value, "true" | "false"),
        "null" => value == "null",
        "number" => number(value).is_some(),
        "integer" => number(value).is_some_and(|number| number.fract() == 0.0 && number.abs() < 9e15),
        _ => false,
    }
}

fn number(value: &str) -> Option<f64> {
    let number = value.as_bytes().first().is_some_and(|b| b.is_ascii_digit() || *b == b'-');
    if number { value.parse().ok().filter(|n: &f64| n.is_finite()) } else { None }
}

fn said(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    }
}

/// What of a value has bounds: the end of their keywords, how much it is, and of what.
fn sizes(value: &str) -> Option<(&'static str, f64, &'static str)> {
    match value.as_bytes().first()? {
        b'"' => Some(("Length", json::unescape(value).chars().count() as f64 - 2.0, " characters")),
        b'[' => Some(("Items", json::items(value).count() as f64, " items")),
        _ => number(value).map(|number| ("", number, "")),
    }
}

/// A value in one line, cut.
fn shown(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN + 1).collect();
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{
        "name":{"type":"string","minLength":1,"maxLength":5},
        "count":{"type":"integer","minimum":1,"maximum":20},
        "share":{"type":"number"},
        "on":{"type":"boolean"},
        "which":{"enum":["a","b",true]},
        "either":{"type":["string","integer"]},
        "list":{"type":"array","items":{"type":"string"},"maxItems":2},
        "inner":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}
        },"required":["name"],"additionalProperties":false}"#;

    #[test]
    fn each_error_names_the_property() {
        let deep = format!("{{\"name\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let rows = [
            (r#"{"name":"x"}"#, Ok(())),
            (r#"{"n\u0061me":"\u0061"}"#, Ok(())),
            (
                r#"{"name":"x","count":20,"share":1.5e3,"on":false,"which":true,"either":3,"list":["a"],"inner":{"x":1,"y":2}}"#,
                Ok(()),
            ),
            (r#"{"name":"x","count":null,"inner":null}"#, Ok(())),
            (r#"{"name":"x","count":2.0,"which":"\u0061"}"#, Ok(())),
            ("", Err("name is required, and is missing")),
            ("null", Err("name is required, and is missing")),
            (r#"{"name":null}"#, Err("name is required, and is missing")),
            ("[1]", Err("the arguments must be a JSON object, and are [1]")),
            (r#"{"name":"x""#, Err(r#"the arguments are no JSON: {"name":"x""#)),
            (r#"{"name":1}"#, Err("name must be a text, and is 1")),
            (r#"{"name":""}"#, Err(r#"name must be at least 1 characters, and is """#)),
            (r#"{"name":"abcdef"}"#, Err(r#"name must be at most 5 characters, and is "abcdef""#)),
            (r#"{"name":"x","count":"5"}"#, Err(r#"count must be a whole number, and is "5""#)),
            (r#"{"name":"x","count":0}"#, Err("count must be at least 1, and is 0")),
            (r#"{"name":"x","count":21}"#, Err("count must be at most 20, and is 21")),
            (r#"{"name":"x","count":1.5}"#, Err("count must be a whole number, and is 1.5")),
            (r#"{"name":"x","count":1e999}"#, Err("count must be a whole number, and is 1e999")),
            (r#"{"name":"x","on":"yes"}"#, Err(r#"on must be true or false, and is "yes""#)),
            (r#"{"name":"x","which":"c"}"#, Err(r#"which must be one of "a", "b", true, and is "c""#)),
            (r#"{"name":"x","either":[]}"#, Err("either must be a text or a whole number, and is []")),
            (r#"{"name":"x","list":["a",2]}"#, Err("list[1] must be a text, and is 2")),
            (
                r#"{"name":"x","list":["a","b","c"]}"#,
                Err(r#"list must be at most 2 items, and is ["a","b","c"]"#),
            ),
            (r#"{"name":"x","inner":{}}"#, Err("inner.x is required, and is missing")),
            (r#"{"name":"x","inner":{"x":"1"}}"#, Err(r#"inner.x must be a whole number, and is "1""#)),
            (
                r#"{"name":"x","other":1}"#,
                Err(
                    "the tool has no property other; it has name, count, share, on, which, either, list, inner",
                ),
            ),
            // Of two of the same name each is judged.
            (r#"{"name":"x","name":1}"#, Err("name must be a text, and is 1")),
            (
                &deep,
                Err(
                    "name must be a text, and is [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…",
                ),
            ),
        ];
        for (text, expected) in rows {
            let read = read(SCHEMA, text);
            assert_eq!(read.as_ref().map(|_| ()).map_err(String::as_str), expected, "{}", shown(text));
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(LONGEST));
        assert!(read(SCHEMA, &long).is_err_and(|why| why.contains("a tool takes")));
    }
}
