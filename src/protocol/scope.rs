//! Operator scopes and their order: `admin` covers every other, `write` covers `read` and `talk`.
//!
//! OpenClaw compares scopes as a flat list, so that a grant of `operator.admin` did not cover a
//! request for `operator.read`, and each such request minted a narrower token. Here a set knows what
//! it implies. Source: `docs/gateway/operator-scopes.md`.

use nanoserde::{DeBin, SerBin, SerJson, SerJsonState};
use std::fmt;

/// An operator scope of the protocol's closed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Scope {
    /// Covers every other scope.
    Admin = 1,
    /// Reads state.
    Read = 2,
    /// Changes state; covers `read`.
    Write = 4,
    /// Decides on approvals.
    Approvals = 8,
    /// Answers questions.
    Questions = 16,
    /// Pairs, approves, rotates and revokes devices.
    Pairing = 32,
    /// Takes part in talk sessions.
    Talk = 64,
    /// Talk configuration with its secrets.
    TalkSecrets = 128,
}

impl Scope {
    /// Every scope, in the order they are listed on the wire.
    pub const ALL: [Self; 8] = [
        Self::Admin,
        Self::Read,
        Self::Write,
        Self::Approvals,
        Self::Questions,
        Self::Pairing,
        Self::Talk,
        Self::TalkSecrets,
    ];

    /// Name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "operator.admin",
            Self::Read => "operator.read",
            Self::Write => "operator.write",
            Self::Approvals => "operator.approvals",
            Self::Questions => "operator.questions",
            Self::Pairing => "operator.pairing",
            Self::Talk => "operator.talk",
            Self::TalkSecrets => "operator.talk.secrets",
        }
    }

    /// Reads a wire name; `None` for a scope of no version of the protocol.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, SerBin, DeBin)]
pub struct Scopes(u16);

impl Scopes {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The known scopes among `names`; unknown ones grant nothing and are left out.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(Scope::parse).collect()
    }

    /// Every scope this set implies, itself included.
    fn closure(self) -> u16 {
        let mut all = self.0;
        if self.has(Scope::Admin) {
            all = 0xff;
        }
        if self.has(Scope::Write) {
            all |= Scope::Read as u16 | Scope::Talk as u16;
        }
        all
    }

    fn has(self, scope: Scope) -> bool {
        self.0 & scope as u16 != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this set grants `scope`, directly or by implication.
    pub fn allows(self, scope: Scope) -> bool {
        self.closure() & scope as u16 != 0
    }

    /// Whether everything in `other` is granted by this set.
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.closure() == 0
    }

    /// Returns the union of both sets.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What a connection gets that asks for `self` where `approved` was granted: of what it asked, the
    /// part that is covered; where a wider scope was asked than approved (`admin` of `read`), the
    /// approved part of it.
    pub fn granted(self, approved: Self) -> Self {
        let both = self.closure() & approved.closure();
        if approved.covers(self) { self } else { Self((self.0 | approved.0) & both) }
    }

    /// The scopes, in wire order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |s| self.has(*s))
    }

    /// The wire names, in wire order.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|s| s.as_str().into()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(iter: I) -> Self {
        Self(iter.into_iter().fold(0, |bits, s| bits | s as u16))
    }
}

impl SerJson for Scopes {
    /// The wire names.
    fn ser_json(&self, _: usize, s: &mut SerJsonState) {
        s.out.push('[');
        for (i, scope) in self.iter().enumerate() {
            s.out.push_str(if i == 0 { "\"" } else { ",\"" });
            s.out.push_str(scope.as_str());
            s.out.push('"');
        }
        s.out.push(']');
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(i, scope)| {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", scope.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> Scopes {
        Scopes::from_names(names.split(' ').filter(|n| !n.is_empty()))
    }

    #[test]
    fn granted_is_requested_within_approved() {
        for (requested, approved, granted) in [
            ("operator.read", "operator.admin", "operator.read"),
            ("operator.admin", "operator.read", "operator.read"),
            ("operator.write operator.pairing", "operator.read", "operator.read"),
            ("operator.pairing", "operator.read operator.write", ""),
            ("operator.admin", "operator.admin operator.read", "operator.admin"),
            ("operator.talk", "operator.write", "operator.talk"),
            ("", "operator.admin", ""),
        ] {
            assert_eq!(set(requested).granted(set(approved)), set(granted), "{requested} of {approved}");
        }
    }

    #[test]
    fn admin_covers_all_and_write_covers_read() {
        assert!(set("operator.admin").covers(Scope::ALL.into_iter().collect()));
        assert!(set("operator.write").covers(set("operator.read operator.talk")));
        assert!(!set("operator.write").covers(set("operator.pairing")));
        assert!(!set("operator.read").covers(set("operator.write")));
    }
}
