//! `$include` and `${VAR}`: how several files are merged, and which errors name which file and line.

use crate::home::{Home, lines};
use barnacle::internals::config::{AuthMode, Flags};
use std::os::unix::fs::symlink;

/// Root file, further files by name, and what is expected.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn includes_are_merged() {
    let rows: &[Row] = &[
        // One file is what stands there, whatever it is within.
        (
            "{a: {$include: './a.json5'}}",
            &[("a.json5", "{x: 1, /* c */ y: [2],}")],
            r#"{"a":{"x":1,"y":[2]}}"#,
        ),
        // Several are merged in order: objects key by key, lists one after the other.
        (
            "{a: {$include: ['a.json5', './b.json5']}}",
            &[("a.json5", "{x: {p: 1, q: 1}, l: [1]}"), ("b.json5", "{x: {q: 2, r: 3}, l: [2]}")],
            r#"{"a":{"x":{"p":1,"q":2,"r":3},"l":[1,2]}}"#,
        ),
        // Keys beside it are merged over, wherever they stand.
        (
            "{a: {x: 9, $include: 'a.json5', z: 3}}",
            &[("a.json5", "{x: 1, y: 2}")],
            r#"{"a":{"x":9,"y":2,"z":3}}"#,
        ),
        // The root itself, and a folder of its own, from which the next one is looked for.
        (
            "{$include: 'sub/a.json5', b: 1}",
            &[("sub/a.json5", "{a: {$include: './c.json5'}}"), ("sub/c.json5", "{deep: true}")],
            r#"{"a":{"deep":true},"b":1}"#,
        ),
        ("{a: [{$include: 'a.json5'}, 2]}", &[("a.json5", "{x: 1}")], r#"{"a":[{"x":1},2]}"#),
        // The same file twice is no circle.
        (
            "{a: {$include: 'a.json5'}, b: {$include: 'a.json5'}}",
            &[("a.json5", "{x: 1}")],
            r#"{"a":{"x":1},"b":{"x":1}}"#,
        ),
        ("{a: {$include: []}}", &[], r#"{"a":{}}"#),
        (
            "{a: {$include: 'a.json5'}, b: {$include: 'b.json5'}}",
            &[("a.json5", "[1, 2]"), ("b.json5", "'x'")],
            r#"{"a":[1,2],"b":"x"}"#,
        ),
    ];
    for (root, files, expected) in rows {
        let home = Home::with(root);
        for (name, text) in *files {
            home.write(&format!(".openclaw/{name}"), text);
        }
        let settings = home.settings();
        assert_eq!(settings.source.root.to_json(), *expected, "{root}: {}", lines(&settings));
    }
}

#[test]
fn failed_includes_are_reported_at_their_line() {
    let rows: &[Row] = &[
        ("{a: {\n  $include: './a.json5'}}", &[], "openclaw.json:2:13: "),
        ("{a: {$include: './a.json5'}}", &[], "a.json5 cannot be included: there is no such file"),
        ("{a: {$include: './a.json5'}}", &[("a.json5", "{\n x: }")], "a.json5:2:5: "),
        (
            "{a: {$include: 'a.json5'}}",
            &[("a.json5", "{b: {$include: './a.json5'}}")],
            "it is what includes this",
        ),
        ("{a: {$include: './openclaw.json'}}", &[], "it is what includes this"),
        ("{a: {$include: '../a.json5'}}", &[("../a.json5", "{}")], "OPENCLAW_INCLUDE_ROOTS"),
        ("{a: {$include: '/etc/hostname'}}", &[], "OPENCLAW_INCLUDE_ROOTS"),
        ("{a: {$include: 7}}", &[], "$include is a number; it must be the path of a file, or a list"),
        ("{a: {$include: ['x', {}]}}", &[], "$include is a list"),
        ("{a: {$include: ''}}", &[], "that is no path"),
        (
            "{a: {$include: 'a.json5', x: 1}}",
            &[("a.json5", "[1]")],
            "with keys beside $include it must be an object",
        ),
    ];
    for (root, files, expected) in rows {
        let home = Home::with(root);
        for (name, text) in *files {
            home.write(&format!(".openclaw/{name}"), text);
        }
        let settings = home.settings();
        assert!(lines(&settings).contains(expected), "{root}: {}", lines(&settings));
        assert!(!settings.wants_token && settings.credentials.active.is_none(), "{root}");
        // What is missing now may be there later: it is among what is watched.
        let missing = settings.files.iter().any(|f| f.ends_with("a.json5"));
        assert_eq!(missing, root.contains("a.json5"), "{root}");
    }
    let home = Home::with("{$include: 'f0.json5'}");
    for n in 0..12 {
        home.write(&format!(".openclaw/f{n}.json5"), &format!("{{$include: 'f{}.json5'}}", n + 1));
    }
    assert!(lines(&home.settings()).contains("10 deep"), "{}", lines(&home.settings()));
}

#[test]
fn a_symlink_out_of_the_directory_is_refused() {
    let home = Home::with("{gateway: {mode: 'local', port: 19001}, env: {$include: './a.json5'}}");
    let outside = home.write("elsewhere/a.json5", "{x: 1}");
    symlink(&outside, home.path(".openclaw/a.json5")).unwrap();
    let elsewhere = home.path("elsewhere").to_str().unwrap().to_owned();
    let told = lines(&home.settings());
    assert!(told.contains(&format!("it is a link to {elsewhere}/a.json5, which is outside of ")), "{told}");
    assert!(told.contains(&format!("OPENCLAW_INCLUDE_ROOTS={elsewhere} ")), "{told}");
    for roots in [&elsewhere, "~/elsewhere", "/nowhere: ~/elsewhere/", "~"] {
        let settings = home.start(&[("OPENCLAW_INCLUDE_ROOTS", roots)], &Flags::default()).unwrap();
        assert_eq!((settings.port, lines(&settings)), (19001, String::new()), "{roots}");
    }
}

#[test]
fn credentials_in_an_included_file() {
    let home = Home::with("{gateway: {mode: 'local', auth: {$include: './auth.json5'}}}");
    home.write(".openclaw/auth.json5", "{mode: 'password',\n password: '${SAFE}', deviceKeyProof: 7}");
    home.write(".openclaw/.env", "SAFE=open-sesame");
    let settings = home.settings();
    assert_eq!(settings.auth, AuthMode::Password);
    assert!(settings.credentials.admits("open-sesame"));
    assert!(!settings.config.auth.device_key_proof);
    assert!(
        lines(&settings).contains("auth.json5:2:39: gateway.auth.deviceKeyProof"),
        "{}",
        lines(&settings)
    );
}

#[test]
fn variables_are_replaced_in_every_text() {
    let text = "{
  env: {vars: {ORIGIN: 'https://own.example', FROM_ENV: 'file'}, LEGACY: 'lan'},
  gateway: {
    mode: 'local', bind: '${LEGACY}', auth: {token: '${TOKEN_A}-${FROM_ENV}'},
    controlUi: {allowedOrigins: ['${ORIGIN}', 'https://${NOT_SET}', '$${LITERAL}', '${lower}']},
    trustedProxies: ['${PROXY}'],
  },
}";
    let home = Home::with(text);
    home.write(".openclaw/.env", "TOKEN_A=abc");
    let env = [("FROM_ENV", "process"), ("PROXY", "10.0.0.0/8")];
    let settings = home.start(&env, &Flags::default()).unwrap();
    assert_eq!(settings.bind.to_string(), "lan");
    assert!(settings.credentials.admits("abc-process"));
    let origins = &settings.config.control_ui.allowed_origins;
    assert_eq!(origins, &["https://own.example", "${LITERAL}", "${lower}"]);
    assert!(settings.config.trusts("10.1.2.3".parse().unwrap()));
    let said = lines(&settings);
    assert!(said.contains("openclaw.json:5:47: gateway.controlUi.allowedOrigins[1] is ${NOT_SET}"), "{said}");
    assert!(said.contains("openclaw.json:5:84:") && said.contains("did you mean ${LOWER}?"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(home.read(), text);
}

#[test]
fn numbers_and_texts_of_json5() {
    let rows = [
        ("{a: [+Infinity, -Infinity, NaN, .5, 5., 0xFF, +1, 1e3]}", "[null,null,null,0.5,5,255,1,1e3]"),
        ("{a: 'it\\'s \\u0041 \\x41 \\\nok'}", r#""it's A A ok""#),
        ("{a: /* c */ null, // d\n}", "null"),
        ("{a: {unquoted_$: 1, 'single': 2, \"double\": 3}}", r#"{"unquoted_$":1,"single":2,"double":3}"#),
    ];
    for (text, expected) in rows {
        let settings = Home::with(text).settings();
        let json = settings.source.root.get("a").map(|n| n.to_json());
        assert_eq!(json.as_deref(), Some(expected), "{text}: {}", lines(&settings));
    }
}
