//! The choice of the file that a change is written to, where the configuration has several.

use crate::home::Home;
use barnacle::internals::config::change::merge::with;
use barnacle::internals::config::change::write::{WriteOptions, WriteTarget, write};
use barnacle::internals::config::text::node::Node;
use barnacle::internals::config::{KeyPath, Refused, text::file};
use std::fs;

fn set(home: &Home, vars: &[(&str, &str)], edits: &[(&str, &str)]) -> Result<(), Refused> {
    let (paths, env) = (home.paths(vars), home.env(vars));
    let options = WriteOptions { may_drop_mode: true, may_shrink: true, ..WriteOptions::default() };
    let written = write(&paths, &env, options, |present| {
        let edited = edits.iter().try_fold(present.source.root.clone(), |sum, (key, value)| {
            let to = (*value != "-").then(|| file::value(value).unwrap_or_else(|_| Node::of_text(value)));
            with(&sum, &KeyPath::parse(key).unwrap(), to)
        });
        Ok::<_, Refused>(WriteTarget::Sum(edited?))
    });
    written.map(drop)
}

/// Every file of the configuration's directory but backups.
fn files(home: &Home) -> Vec<(String, String)> {
    let dir = home.path(".openclaw");
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_file() && !e.file_name().to_str().unwrap().contains(".bak"))
        .map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap()))
        .collect();
    all.sort();
    all
}

const ROOT: &str = "// root
{
  gateway: {mode: 'local', auth: {$include: './auth.json5'}}, // who
  agents: {$include: 'agents.json5'},
  channels: {$include: ['a.json5', 'b.json5']},
  ui: {$include: './ui.json5', seamColor: '#1'},
  twice: {one: {$include: 'same.json5'}, two: {$include: 'same.json5'}},
  far: {$include: '../far/far.json5'},
  items: [{$include: 'item.json5'}, {n: 1}],
}
";

fn home() -> Home {
    let home = Home::with(ROOT);
    for (name, text) in [
        ("auth.json5", "{mode: 'token', token: 'T', // the token\n}"),
        (
            "agents.json5",
            "{\n  'defaults': {\n    'model': {$include: './model.json5'}, // see there\n    'n': 1,\n  },\n}\n",
        ),
        ("model.json5", "{\"primary\": \"p/a\"}"),
        ("a.json5", "{x: {n: 1}}"),
        ("b.json5", "{y: 1}"),
        ("ui.json5", "{wide: true}"),
        ("same.json5", "{n: 1}"),
        ("item.json5", "{n: 0}"),
    ] {
        home.write(&format!(".openclaw/{name}"), text);
    }
    home.write("far/far.json5", "{n: 1}");
    home
}

#[test]
fn a_change_goes_to_the_file_that_has_the_key() {
    // path, value, file, what stands there then
    let rows = [
        ("gateway.port", "1", "openclaw.json", "auth: {$include: './auth.json5'}, port: 1}, // who"),
        ("gateway.auth.token", "U", "auth.json5", "{mode: 'token', token: 'U', // the token\n}"),
        (
            "gateway.auth.rateLimit.maxAttempts",
            "5",
            "auth.json5",
            "token: 'T', rateLimit: {maxAttempts: 5}, // the token",
        ),
        (
            "agents.defaults.n",
            "2",
            "agents.json5",
            "'model': {$include: './model.json5'}, // see there\n    'n': 2,",
        ),
        ("agents.defaults.model.primary", "p/b", "model.json5", "{\"primary\": \"p/b\"}"),
        ("agents.defaults.model.more", "[1]", "model.json5", "{\"primary\": \"p/a\", \"more\": [1]}"),
        ("added.here", "{}", "openclaw.json", "  added: {here: {}},\n}"),
    ];
    for (key, value, name, expected) in rows {
        let home = home();
        let far = home.path("far");
        let before = files(&home);
        set(&home, &[("OPENCLAW_INCLUDE_ROOTS", far.to_str().unwrap())], &[(key, value)])
            .unwrap_or_else(|e| panic!("{key}: {e}"));
        for ((file, was), (_, is)) in before.iter().zip(files(&home)) {
            assert_eq!(*was != is, file == name, "{key}: {file}: {is}");
            assert!(file != name || is.contains(expected), "{key}: {is}");
        }
        assert!(home.path(&format!(".openclaw/{name}.bak")).exists(), "{key}");
    }
}

/// Paths and values to set, and what is said of it, with the file to edit.
type Left<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str);

#[test]
fn a_key_of_several_files_is_not_written() {
    let rows: [Left<'_>; 13] = [
        (&[("channels.x.n", "2")], "channels.x.n comes from $include together with other keys", "a.json5"),
        (&[("channels.z", "2")], "together with other keys", "b.json5"),
        (&[("ui.seamColor", "#2")], "together with other keys", "ui.json5"),
        (&[("twice.one.n", "2")], "is in a file that is included more than once", "same.json5"),
        (&[("far.n", "2")], "is in a file outside of the configuration's directory", "far.json5"),
        (&[("items[0].n", "2")], "items holds what $include brings", "item.json5"),
        (&[("items[1].n", "2")], "items holds what $include brings", "openclaw.json"),
        (&[("agents", "-")], "agents is what $include brings", "openclaw.json"),
        (&[("agents.defaults", "-")], "agents.defaults holds what $include brings", "agents.json5"),
        (&[("gateway", "7")], "gateway holds what $include brings", "auth.json5"),
        (&[("gateway.auth", "7")], "gateway.auth is what $include brings", "auth.json5"),
        (
            &[("gateway.port", "1"), ("gateway.auth.token", "U")],
            "stands in another file than the rest",
            "auth.json5",
        ),
        (
            &[("agents.defaults.n", "1.5"), ("agents.defaults.model.primary", "q")],
            "another file",
            "model.json5",
        ),
    ];
    for (edits, why, name) in rows {
        let home = home();
        let far = home.path("far");
        let before = files(&home);
        let refused = set(&home, &[("OPENCLAW_INCLUDE_ROOTS", far.to_str().unwrap())], edits).err();
        let said = refused.map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(why) && said.contains(name) && said.contains("by hand"), "{edits:?}: {said}");
        assert_eq!(files(&home), before, "{edits:?}");
    }
    // An include for the whole of the root.
    let home = Home::with("{$include: './all.json5'}");
    home.write(".openclaw/all.json5", "{a: 1}");
    let said = set(&home, &[], &[("a", "2")]).unwrap_err().to_string();
    assert!(said.contains("for the whole of another") && said.contains("all.json5"), "{said}");
}

/// A client that was shown the sum of all files, and sends it back, wants no copy of them.
#[test]
fn merged_values_sent_back_are_not_copied() {
    let home = Home::with("{a: {$include: './a.json5'}, b: 1} ");
    home.write(".openclaw/a.json5", "{n: 1, // kept\n}");
    let (paths, env) = (home.paths(&[]), home.env(&[]));
    let root = |text: &str| {
        let text = text.to_owned();
        write(&paths, &env, WriteOptions::default(), move |_| {
            Ok::<_, Refused>(WriteTarget::Root(text.clone()))
        })
    };
    root(r#"{"a":{"n":2},"b":1}"#).unwrap();
    assert_eq!(files(&home)[0].1, "{n: 2, // kept\n}");
    assert_eq!(home.read(), "{a: {$include: './a.json5'}, b: 1} ");
    // The directive itself is the user's to change.
    root(r#"{"a":{"$include":"./a.json5"},"b":2}"#).unwrap();
    assert_eq!(home.read(), "{a: {$include: './a.json5'}, b: 2} ");
}

/// A writer that heeds no lock of ours, between our reading and our writing.
#[test]
fn a_concurrent_edit_is_not_overwritten() {
    let home = Home::with("{a: 1, b: 1}");
    let (paths, env) = (home.paths(&[]), home.env(&[]));
    let mut times = 0;
    let path = KeyPath::dotted("a");
    let mut once = |root: &Node, others: &str| {
        times += 1;
        if times == 1 || others.contains("again") {
            home.write(".openclaw/openclaw.json", &others.replace('N', &times.to_string()));
        }
        with(root, &path, Some(Node::of_text(&times.to_string())))
    };
    write(&paths, &env, WriteOptions::default(), |p| {
        Ok::<_, Refused>(WriteTarget::Sum(once(&p.source.root, "{a: 1, b: 2}")?))
    })
    .unwrap();
    assert_eq!(home.read(), "{a: \"2\", b: 2}");
    // One that never stops is told, not fought.
    let refused = write(&paths, &env, WriteOptions::default(), |p| {
        Ok::<_, Refused>(WriteTarget::Sum(once(&p.source.root, "{a: 1, again: N}")?))
    });
    assert!(matches!(refused, Err(Refused::Changed)));
    assert!(home.read().starts_with("{a: 1, again: "));
}
