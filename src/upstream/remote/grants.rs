//! What a gateway on another host has granted: the tokens that it issued to this gateway's devices, kept in a file.
//!
//! They belong to one gateway, by its URL: no other one is ever shown them.

use crate::{
    protocol::Scopes,
    reactor::{Tasks, on_worker},
    store::atomic,
};
use nanoserde::{DeJson, SerJson};
use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    rc::Rc,
};

/// Largest file that is read, bytes.
const LARGEST: usize = 1 << 20;
/// Most grants that are kept: the oldest gives way.
const MOST: usize = 1000;

/// A grant to a device, in one role.
#[derive(Clone, PartialEq, Eq, Debug, SerJson, DeJson)]
pub struct Grant {
    pub device: String,
    pub role: String,
    /// The device's token; empty where none was issued.
    pub token: String,
    /// Names of the scopes that were approved there.
    pub scopes: Vec<String>,
}

impl Grant {
    pub fn new(device: &str, role: &str, token: &str, scopes: Scopes) -> Self {
        Self { device: device.into(), role: role.into(), token: token.into(), scopes: scopes.names() }
    }

    /// Scopes that were approved there.
    pub fn scopes(&self) -> Scopes {
        Scopes::from_names(self.scopes.iter().map(String::as_str))
    }

    fn is_of(&self, device: &str, role: &str) -> bool {
        self.device == device && self.role == role
    }
}

/// The content of the file.
#[derive(Clone, PartialEq, Eq, Default, Debug, SerJson, DeJson)]
struct Content {
    url: String,
    grants: Vec<Grant>,
}

/// See the module.
#[derive(Default)]
pub(in crate::upstream) struct Grants {
    content: RefCell<Content>,
    path: RefCell<PathBuf>,
    changed: Cell<bool>,
    writing: Cell<bool>,
}

impl Grants {
    /// Reads what the file at `path` has. Waits for the disk: for the start, before anyone is served.
    pub fn load(&self, path: &Path) {
        *self.path.borrow_mut() = path.to_owned();
        let read = match atomic::read(path) {
            Ok(bytes) if bytes.len() <= LARGEST => String::from_utf8(bytes).map_err(|e| e.to_string()),
            Ok(_) => Err("it is too large".into()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => Err(e.to_string()),
        };
        match read.and_then(|text| Content::deserialize_json(&text).map_err(|e| e.to_string())) {
            Ok(content) => *self.content.borrow_mut() = content,
            Err(why) => log::warn!(
                "the tokens in {} cannot be read ({why}): new ones are asked for with the shared token",
                path.display()
            ),
        }
    }

    /// The grant of the gateway at `url` to a device in a role.
    pub fn of(&self, url: &str, device: &str, role: &str) -> Option<Grant> {
        let content = self.content.borrow();
        let mut known = content.grants.iter().filter(|_| content.url == url);
        known.find(|grant| grant.is_of(device, role)).cloned()
    }

    /// Takes over a grant of the gateway at `url`.
    pub fn put(self: &Rc<Self>, url: &str, grant: Grant, tasks: &Tasks) {
        if self.of(url, &grant.device, &grant.role).as_ref() == Some(&grant) {
            return;
        }
        let mut content = self.content.borrow_mut();
        if content.url != url {
            *content = Content { url: url.into(), grants: Vec::new() };
        }
        content.grants.retain(|other| !other.is_of(&grant.device, &grant.role));
        if content.grants.len() >= MOST {
            content.grants.remove(0);
        }
        content.grants.push(grant);
        drop(content);
        self.write(tasks);
    }

    /// Forgets a grant that counts no more, unless another has taken its place.
    pub fn forget(self: &Rc<Self>, grant: &Grant, tasks: &Tasks) {
        let mut content = self.content.borrow_mut();
        let before = content.grants.len();
        content.grants.retain(|other| other != grant);
        let forgotten = content.grants.len() != before;
        drop(content);
        if forgotten {
            self.write(tasks);
        }
    }

    /// Has the file written, one write after the other.
    fn write(self: &Rc<Self>, tasks: &Tasks) {
        self.changed.set(true);
        if self.writing.replace(true) {
            return;
        }
        let grants = self.clone();
        tasks.spawn(async move {
            while grants.changed.replace(false) {
                let (path, text) = (grants.path.borrow().clone(), grants.content.borrow().serialize_json());
                let kept = on_worker(move || atomic::replace(&path, text.as_bytes(), 0o600)).await;
                if let Err(e) = kept {
                    log::warn!("the tokens of the gateway behind this one cannot be kept: {e}");
                }
            }
            grants.writing.set(false);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Scope;

    #[test]
    fn grants_belong_to_one_gateway() {
        let grants = Rc::new(Grants::default());
        let read: Scopes = [Scope::Read].into_iter().collect();
        let first = Grant::new("d", "operator", "t", read);
        *grants.content.borrow_mut() = Content { url: "wss://a:1".into(), grants: vec![first.clone()] };
        assert_eq!(grants.of("wss://a:1", "d", "operator"), Some(first.clone()));
        assert_eq!(first.scopes(), read);
        for (url, device, role) in
            [("wss://b:1", "d", "operator"), ("wss://a:1", "e", "operator"), ("wss://a:1", "d", "node")]
        {
            assert_eq!(grants.of(url, device, role), None, "{url} {device} {role}");
        }
        let text = grants.content.borrow().serialize_json();
        assert_eq!(Content::deserialize_json(&text).ok().as_ref(), Some(&*grants.content.borrow()));
    }
}
