//! JSON as it comes, and as it should not.

use super::*;

fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip().is_ok() && scanner.is_at_end()
}

#[test]
fn what_is_json() {
    let good = [
        "{}",
        "[]",
        " [ ] ",
        "{\"a\":1}",
        "[1,2]",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        "\"\"",
        "\"\\u00e4\\n\\/\"",
        "[{\"a\":[{}]},[]]",
        " { \"a\" : [ 1 , { } ] , \"b\" : null } ",
        "\"\\ud83e\"",
        "\"ä\"",
    ];
    let bad = [
        "",
        " ",
        "{",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "[}",
        "{]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "nul",
        "nulll",
        "True",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"a\nb\"",
        "\"\t\"",
        "1 2",
        "{} x",
        "'a'",
        "NaN",
        "\u{feff}{}",
    ];
    good.iter().for_each(|text| assert!(is_json(text), "{text}"));
    bad.iter().for_each(|text| assert!(!is_json(text), "{text}"));
}

#[test]
fn nesting_takes_no_stack() {
    for depth in [1, 63, 64, 65, 128, 129, 1_000_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_json(&nested) && !is_json(&nested[1..]) && !is_json(&nested[..2 * depth - 1]), "{depth}");
        let mixed = format!("{}1{}", r#"[{"a":"#.repeat(depth), "}]".repeat(depth));
        assert!(is_json(&mixed) && !is_json(&mixed.replace("1}]", "1]}")), "{depth}");
    }
}

#[test]
fn signs_are_found_wherever_they_stand() {
    for length in 0..40 {
        for sign in ['"', '\\', '\n', '\u{1f}', '\0'] {
            let text = format!("{}{sign}äöü", "ö ~\u{7f}€".chars().cycle().take(length).collect::<String>());
            assert_eq!(plain(text.as_bytes()), text.find(sign).unwrap(), "{text:?}");
        }
    }
}

#[test]
fn texts_are_changed_where_they_stand() {
    let json = r#"{ "a" : "x\"y", "b":["x", {"c":"\u0078"}], "x":1, "d":"" }"#;
    let mut seen = Vec::new();
    let changed = map_texts(json, |name, text| {
        seen.push((name.to_owned(), text.to_owned()));
        (text == "x").then(|| "\"\n".to_owned())
    });
    assert_eq!(changed, r#"{ "a" : "x\"y", "b":["\"\n", {"c":"\"\n"}], "x":1, "d":"" }"#);
    let expected = [("a", "x\"y"), ("b", "x"), ("c", "x"), ("d", "")];
    assert_eq!(seen, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(map_texts(r#"["a"#, |_, _| Some("b".into())), r#"["a"#);
}

#[test]
fn escapes() {
    let rows = [
        ("plain", "plain"),
        (r#"a\"\\\/\b\f\n\r\tz"#, "a\"\\/\u{8}\u{c}\n\r\tz"),
        (r"\u00e4\u20AC", "ä€"),
        (r"\ud83e\udd80", "🦀"),
        (r"\ud83e", "\u{fffd}"),
        (r"\udd80\ud83e", "\u{fffd}\u{fffd}"),
        (r"\ud83ex", "\u{fffd}x"),
        (r"\ud83e\n", "\u{fffd}\n"),
        (r"\ud83e\u0041", "\u{fffd}A"),
    ];
    for (raw, text) in rows {
        assert_eq!(unescape(raw), text, "{raw}");
        assert_eq!(unescape(&whole_characters(raw)), text, "{raw}");
    }
    assert_eq!(whole_characters(r#"{"a":"\\ud83e\ud83e"}"#), r#"{"a":"\\ud83e\ufffd"}"#);
}

#[test]
fn members_and_items() {
    let object = r#" {"a" : [1, {"b":2}] ,"c":"x,}" ,"d":{} } "#;
    let expected = [("a", r#"[1, {"b":2}]"#), ("c", r#""x,}""#), ("d", "{}")];
    let mut found = members(object);
    assert_eq!(found.by_ref().collect::<Vec<_>>(), expected);
    assert!(found.end().is_ok_and(|mut rest| rest.is_at_end()));
    for broken in ["[]", "{\"a\":1", "{\"a\":1]", "1", "{\"a\" 1}", "{\"a\":1,}", "{,}"] {
        let mut found = members(broken);
        found.by_ref().for_each(drop);
        assert!(found.end().is_err(), "{broken}");
    }
    assert_eq!(items(r#"[1,"a,]", [2] ]"#).collect::<Vec<_>>(), ["1", r#""a,]""#, "[2]"]);
    assert_eq!(items("[]").count() + items("{}").count() + items("1").count(), 0);
}
