//! Writes of the configuration: everything outside of a changed value stays as it was, byte for byte.

use crate::home::{Home, mode};
use barnacle::internals::config::change::merge::{at, with};
use barnacle::internals::config::change::write::{WriteOptions, WriteTarget, Written, write};
use barnacle::internals::config::text::node::Node;
use barnacle::internals::config::{KeyPath, Refused, settings::load::load, text::file};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn path(text: &str) -> KeyPath {
    KeyPath::parse(text).unwrap()
}

/// Sets a value, or takes it out with "-".
fn set(home: &Home, key: &str, value: &str) -> Result<Written, Refused> {
    let (paths, env) = (home.paths(&[]), home.env(&[]));
    let options = WriteOptions { may_shrink: true, ..WriteOptions::default() };
    write(&paths, &env, options, |present| {
        let to = (value != "-").then(|| file::value(value).unwrap_or_else(|_| Node::of_text(value)));
        Ok(WriteTarget::Sum(with(&present.source.root, &path(key), to)?))
    })
}

#[test]
fn only_the_value_changes() {
    // before, path, value, after
    let rows = [
        ("{a: 1}", "a", "2", "{a: 2}"),
        ("{a: 1}", "b", "'x'", "{a: 1, b: \"x\"}"),
        ("{ 'a': 'y' }", "b", "\"it's\"", "{ 'a': 'y', 'b': 'it\\'s' }"),
        ("{ 'a': \"y\" }", "a", "z", "{ 'a': \"z\" }"),
        ("{a: 1, b: 2}", "a", "-", "{b: 2}"),
        ("{ a: 1, b: 2 }", "b", "-", "{ a: 1 }"),
        ("{a: 1, b: 2,}", "b", "-", "{a: 1,}"),
        ("{a: 1, b: 2, c: 3}", "b", "-", "{a: 1, c: 3}"),
        ("{a: 1}", "a", "-", "{}"),
        ("{a/* x */: 1, \\u0062: 2}", "a", "3", "{a/* x */: 3, \\u0062: 2}"),
        ("{a/* x */: 1, \\u0062// y\n: 2}", "b", "-", "{a/* x */: 1}"),
        ("{}", "a.b", "true", "{\"a\": {\"b\": true}}"),
        ("{\"a\": 1}", "b", "0x10", "{\"a\": 1, \"b\": 16}"),
        ("{\"a\": 1}", "b", "{c: [1, 2], d: {}}", "{\"a\": 1, \"b\": {\"c\": [1, 2], \"d\": {}}}"),
        ("{\"a\": [1,2 , 3]}", "a[1]", "9", "{\"a\": [1,9 , 3]}"),
        ("{\"a\": [1,2 , 3]}", "a[3]", "4", "{\"a\": [1,2 , 3, 4]}"),
        ("{\"a\": [1,2 , 3]}", "a[0]", "-", "{\"a\": [2 , 3]}"),
        ("{\"a\": [1,2 , 3]}", "a[2]", "-", "{\"a\": [1,2 ]}"),
        ("{a: [], // none\n b: 1}", "a[0]", "x", "{a: [\n  \"x\"\n], // none\n b: 1}"),
        (
            "// top\n{\n  // about a\n  a: 1, // here\n  b: 2\n}\n// end\n",
            "c",
            "3",
            "// top\n{\n  // about a\n  a: 1, // here\n  b: 2,\n  c: 3\n}\n// end\n",
        ),
        (
            "{\n  a: 1, // here\n\n  b: 2, /* there */ // and here\n\n}\n",
            "c",
            "3",
            "{\n  a: 1, // here\n\n  b: 2, /* there */ // and here\n  c: 3,\n\n}\n",
        ),
        ("{\n  a: 1 // here\n}\n", "b", "2", "{\n  a: 1, // here\n  b: 2\n}\n"),
        ("{\n  a: 1 // here\n  , b: 2\n}\n", "b", "-", "{\n  a: 1 // here\n  \n}\n"),
        (
            "{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}",
            "a.c.d",
            "[1, {e: 2}]",
            "{\n\t\"a\": {\n\t\t\"b\": 1,\n\t\t\"c\": {\n\t\t\t\"d\": [\n\t\t\t\t1,\n\t\t\t\t{\n\t\t\t\t\t\"e\": 2\n\t\t\t\t}\n\t\t\t]\n\t\t}\n\t}\n}",
        ),
        (
            "{\r\n    a: 1,\r\n    b: {},\r\n}\r\n",
            "b.c",
            "1",
            "{\r\n    a: 1,\r\n    b: {\r\n        c: 1\r\n    },\r\n}\r\n",
        ),
        ("{\r\n  a: 1,\r\n  b: 2,\r\n}\r\n", "a", "-", "{\r\n  b: 2,\r\n}\r\n"),
        ("{\n  a: 1,\n  b: 2\n}\n", "b", "-", "{\n  a: 1\n}\n"),
        ("{\n  a: 1, // about a\n  b: 2\n}\n", "a", "-", "{\n  // about a\n  b: 2\n}\n"),
        ("{\n  // about a\n  a: {x: 1},\n  b: 2,\n}\n", "a", "-", "{\n  // about a\n  b: 2,\n}\n"),
        ("{a: 1, a: 2}", "a", "3", "{a: 1, a: 3}"),
        ("{a: 1, b: 0, a: 2}", "a", "-", "{b: 0}"),
        ("{x: {a: 1}}", "x", "7", "{x: 7}"),
        ("{x: 7, y: +.5}", "x", "{a: 1}", "{x: {a: 1}, y: +.5}"),
        ("\u{feff}{a: 'b\\\nc'}", "d", "1", "\u{feff}{a: 'b\\\nc', d: 1}"),
        (
            "{\n  a: [\n    'x', // the x\n    'y',\n  ],\n}\n",
            "a[2]",
            "z",
            "{\n  a: [\n    'x', // the x\n    'y',\n    'z',\n  ],\n}\n",
        ),
        (
            "{\n  a: [\n    {id: 'x', n: 1}, // the x\n    {id: 'y'},\n  ],\n}\n",
            "a[0]",
            "-",
            "{\n  a: [\n    // the x\n    {id: 'y'},\n  ],\n}\n",
        ),
        ("{}\n", "a", "\u{7}\"\\\n", "{\"a\": \"\\u0007\\\"\\\\\\n\"}\n"),
        ("{a: 1}", "odd.k-e y[\"b.c\"]", "1", "{a: 1, odd: {\"k-e y\": {\"b.c\": 1}}}"),
    ];
    let mut wrong = Vec::new();
    for (before, key, value, after) in rows {
        let home = Home::with(before);
        let written = set(&home, key, value).unwrap_or_else(|e| panic!("{before:?} {key}={value}: {e}"));
        if home.read() != after {
            wrong.push(format!("{before:?} {key}={value}\n  is     {:?}\n  wanted {after:?}", home.read()));
        }
        assert_eq!(written.file, Some(home.config()));
        assert_eq!(fs::read_to_string(written.backup.unwrap()).unwrap(), before);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unchanged_value_is_not_written() {
    for (text, key, value) in [
        ("{a: 1e3, // thousand\n}", "a", "1000"),
        ("{a: 'x'}", "a", "x"),
        ("{a: {b: 1, c: 2}}", "a", "{c: 2, b: 1.0}"),
        ("{a: 123456789012345678}", "a", "123456789012345678"),
    ] {
        let home = Home::with(text);
        let inode = fs::metadata(home.config()).unwrap().ino();
        assert!(set(&home, key, value).unwrap().file.is_none(), "{text}");
        assert_eq!((home.read().as_str(), fs::metadata(home.config()).unwrap().ino()), (text, inode));
        assert!(!home.path(".openclaw/openclaw.json.bak").exists());
    }
    let home = Home::with("{a: 123456789012345678}");
    assert!(set(&home, "a", "123456789012345679").unwrap().file.is_some());
}

#[test]
fn a_missing_file_is_created() {
    let home = Home::new();
    let written = set(&home, "gateway.port", "19000").unwrap();
    assert_eq!(home.read(), "{\n  \"gateway\": {\n    \"port\": 19000\n  }\n}\n");
    assert_eq!((mode(&home.config()), mode(&home.path(".openclaw"))), (0o600, 0o700));
    assert!(written.backup.is_none());
}

#[test]
fn symlink_mode_and_backups_are_kept() {
    let home = Home::new();
    let real = home.write("dotfiles/oc.json", "{n: 0}");
    fs::create_dir_all(home.path(".openclaw")).unwrap();
    symlink(&real, home.config()).unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    for n in 1..=8 {
        set(&home, "n", &n.to_string()).unwrap();
    }
    assert!(home.config().is_symlink());
    assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("{n: 8}", 0o640));
    let ring = ["bak", "bak.1", "bak.2", "bak.3", "bak.4"];
    for (age, name) in ring.iter().enumerate() {
        let backup = home.path(&format!(".openclaw/openclaw.json.{name}"));
        assert_eq!(fs::read_to_string(&backup).unwrap(), format!("{{n: {}}}", 7 - age));
        assert_eq!(mode(&backup), 0o600);
    }
    // Nothing else is left, and nothing where the link leads.
    let names = |dir| fs::read_dir(home.path(dir)).unwrap().count();
    assert_eq!((names(".openclaw"), names("dotfiles")), (6, 1));
}

#[test]
fn every_kind_of_value_round_trips() {
    let values =
        ["null", "true", "0.5", "-3", "\"\"", "[]", "{}", "[[], {\"a\": null}]", "{\"a\": {\"b\": [1]}}"];
    let files =
        ["{}", "{\n}\n", "{// c\n}", "{a: 1}", "{\n \"z\": [\n ]\n}", "{x: {y: 1,},}", "/* c */ {a:{}}"];
    for text in files {
        for value in values {
            for key in ["v", "x.v", "z[0]", "a.b.c"] {
                let home = Home::with(text);
                if set(&home, key, value).is_err() {
                    assert_eq!(home.read(), text, "{text} {key}={value}");
                    continue;
                }
                let now = load(&home.paths(&[]), &home.env(&[]), None).source;
                let there = at(&now.root, &path(key)).unwrap_or_else(|| panic!("{text} {key}={value}"));
                assert!(there.same(&file::value(value).unwrap()), "{text} {key}={value}: {}", home.read());
                set(&home, key, "-").unwrap();
                assert!(
                    home.read().matches('c').count() >= text.matches('c').count(),
                    "{text} {key}={value}"
                );
            }
        }
    }
}

/// Texts as nobody would write them: any layout, comments everywhere, each with a number of its own.
struct Wild {
    seed: u64,
    comments: u32,
    /// The paths of its objects that hold something, and of its texts.
    objects: Vec<Vec<String>>,
    texts: Vec<(Vec<String>, String)>,
}

impl Wild {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn gap(&mut self, newline: &str) -> String {
        let mut gap = String::new();
        for _ in 0..self.below(3) {
            let n = self.comments;
            match self.below(6) {
                0 => gap.push_str(&format!(" // c{n}!{newline}")),
                1 => gap.push_str(&format!("/* c{n}! */")),
                2 => gap.push_str(&format!("/* c{n}!{newline} */{newline}\t")),
                3 => gap.push_str(newline),
                4 => gap.push_str("  "),
                _ => gap.push_str(&format!("{newline}   ")),
            }
            self.comments += u32::from(gap.contains(&format!("c{n}!")));
        }
        gap
    }

    fn object(&mut self, newline: &str, depth: u32, path: &[String]) -> String {
        let mut text = String::from("{");
        let count = self.below(4) + u64::from(depth == 0);
        if count > 0 {
            self.objects.push(path.to_vec());
        }
        for n in 0..count {
            let name = format!("k{n}");
            let quote = ["", "'", "\""][self.below(3) as usize];
            let inner = [path, std::slice::from_ref(&name)].concat();
            let gaps = [self.gap(newline), self.gap(newline), self.gap(newline), self.gap(newline)];
            let value = match self.below(if depth < 3 { 4 } else { 2 }) {
                0 => "0x1F".to_owned(),
                1 => {
                    let quote = ["'", "\""][self.below(2) as usize];
                    let literal = format!("{quote}@{}@{quote}", self.texts.len());
                    self.texts.push((inner, literal.clone()));
                    literal
                }
                2 => format!("[1,{}2{}]", self.gap(newline), ["", ","][self.below(2) as usize]),
                _ => self.object(newline, depth + 1, &inner),
            };
            let comma = if n + 1 < count || self.below(2) == 0 { "," } else { "" };
            let [a, b, c, d] = gaps;
            text.push_str(&format!("{a}{quote}{name}{quote} {b}:{c}{value}{d}{comma}"));
        }
        text + &self.gap(newline) + "}"
    }
}

#[test]
fn any_layout_is_kept() {
    let (mut changed, mut restored) = (0, 0);
    for seed in 0..80 {
        let mut wild = Wild { seed, comments: 0, objects: Vec::new(), texts: Vec::new() };
        let newline = ["\n", "\r\n"][(seed % 2) as usize];
        let text = wild.gap(newline) + &wild.object(newline, 0, &[]) + &wild.gap(newline);
        assert!(file::value(&text).is_ok(), "seed {seed}: {:?} in {text:?}", file::value(&text));
        let home = Home::with(&text);
        for (path, literal) in &wild.texts {
            home.write(".openclaw/openclaw.json", &text);
            set(&home, &KeyPath(path.clone()).to_string(), "other").unwrap();
            let quote = &literal[..1];
            assert_eq!(
                home.read(),
                text.replace(literal.as_str(), &format!("{quote}other{quote}")),
                "seed {seed}"
            );
            changed += 1;
        }
        for path in &wild.objects {
            home.write(".openclaw/openclaw.json", &text);
            let added = KeyPath([&path[..], &["added".into()]].concat()).to_string();
            set(&home, &added, "{x: [1]}").unwrap();
            let more = home.read();
            for n in 0..wild.comments {
                assert!(more.contains(&format!("c{n}!")), "seed {seed}: comment {n} is lost in {more:?}");
            }
            set(&home, &added, "-").unwrap();
            // A blank line where it stood may stay.
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&home.read()), words(&text), "seed {seed}: {added} was in {more:?}");
            restored += 1;
        }
    }
    println!("{changed} texts changed, {restored} keys added and taken out again");
}
