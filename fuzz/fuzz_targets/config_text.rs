//! The configuration's text: any bytes are a tree or an error with a place, and an edit changes what it was asked to.

#![no_main]

use barnacle::internals::config::{
    KeyPath,
    change::merge::with,
    text::{edit::edited, file::Document, file::value, node::Node},
};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, key, new) = input;
    let document = Document::unwritten(Path::new("openclaw.json"), text);
    let root = match document.parse() {
        Ok(root) => Node::of(&root, 0),
        Err(invalid) => {
            assert!(invalid.line >= 1 && invalid.column >= 1);
            let _ = invalid.to_string();
            return;
        }
    };
    let Ok(path) = KeyPath::parse(key) else { return };
    let Ok(new) = value(new) else { return };
    let Ok(wanted) = with(&root, &path, Some(new)) else { return };
    if let Some(text) = edited(&document, &wanted) {
        let again = Document::unwritten(Path::new("openclaw.json"), &text);
        let again = again.parse().unwrap_or_else(|e| panic!("broken by an edit: {e}\n{text}"));
        assert!(Node::of(&again, 0).same(&wanted), "{text}");
    }
});
