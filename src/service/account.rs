//! The account that a service runs as: passwd(5).

use std::path::PathBuf;

/// An account of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    pub home: PathBuf,
}

impl Account {
    /// The account of that name.
    pub fn named(name: &str) -> Option<Self> {
        find(|account| account.name == name)
    }

    /// The account with that number.
    pub fn with_uid(uid: u32) -> Option<Self> {
        find(|account| account.uid == uid)
    }
}

fn find(wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    let passwd = std::fs::read("/etc/passwd").ok()?;
    String::from_utf8_lossy(&passwd).lines().filter_map(parse).find(wanted)
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let home = fields.nth(1)?;
    Some(Account { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into() })
}
