//! The state format: how a [`State`] is written as bytes and read back.
//!
//! ```text
//! frame    "BARNHAND" · format u32 · length u64 · payload · SHA-256 of all before        (little endian)
//! payload  count u32, then for each section: name (u8 length, bytes) · version u16 · length u64 · bytes
//! section  its fields one after the other, in the order of its row in SECTIONS
//! list     count u32, then for each element: length u32 · bytes
//! ```
//!
//! The frame is verified, length and checksum, before anything in it is decoded. Then:
//!
//! - a section that the reader does not know is skipped;
//! - a section that is missing has the default of its fields, or refuses the state if it is required;
//! - a section of a newer version than the reader's counts as one that it does not know;
//! - a section or a list's element that is longer than what the reader knows is read as far as it knows it;
//! - one that is shorter has the defaults of the fields that are missing, if they are marked as added.
//!
//! The program on disk is asked by the preflight whether it reads a state, before anything is given up. So a
//! mistake against the following rules refuses a restart and closes no connection.
//!
//! # To change what is handed over
//! - **A fact**: append it to its section's row as `added`, or, in a saved type, as a last field that is an
//!   [`Added`](crate::packed::Added). The version stays. An older program ignores it, and its default is what an
//!   older program meant by not knowing it.
//! - **A new kind of facts**: a row at the end of [`SECTIONS`], not required.
//! - **A fact of each connection**: a field at the end of a part of its record, or one more part at the end (see
//!   [`SavedConn`](crate::hub::SavedConn)).
//! - **What no older program may ignore or read otherwise**: a higher version of the section. Only programs that
//!   know it then read the section, and if it is required no other takes over.
//! - **Never**: a field removed, moved, given another type or another meaning within a version; a type appended to
//!   that stands anywhere but at the end of a part or a section; the frame, whose number and message an older
//!   program's refusal depends on.
//!
//! `tests/upgrade` holds a state of every released format, and the real program of the release before.

use super::{
    format_2,
    state::{DamagedState, State},
};
use crate::packed::{Pieces, read_parts, write_parts};
use nanoserde::{DeBin, SerBin};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    fs::File,
    io::{self, Write},
};

const MAGIC: &[u8; 8] = b"BARNHAND";
const HEAD: usize = 8 + 4 + 8;
const DIGEST: usize = 32;

/// A section of a state.
struct Section {
    name: &'static str,
    version: u16,
    /// Whether a state without this section is refused.
    required: bool,
    write: for<'a> fn(&'a State, &mut Pieces<'a>),
    read: fn(&mut State, &[u8]) -> Option<()>,
}

/// A section's row: its name, version, whether it is `required` or `optional`, and the fields of [`State`] that are
/// its own: `one` value, a list `each` of whose elements is a part, a list that is `packed` already, or one value that was
/// `added` later.
macro_rules! section {
    ($name:literal $version:literal $need:ident { $($kind:ident $($field:ident).+),+ $(,)? }) => {
        Section {
            name: $name,
            version: $version,
            required: section!(@need $need),
            write: |state, out| { $(section!(@write $kind out, state.$($field).+);)+ },
            read: |state, bytes| {
                let mut at = 0;
                $(section!(@read $kind at, bytes, state.$($field).+);)+
                // A newer version's fields may follow.
                let _ = at;
                Some(())
            },
        }
    };
    (@need required) => { true };
    (@need optional) => { false };
    (@write each $out:ident, $field:expr) => { write_parts(&$field, $out.end()) };
    (@write packed $out:ident, $field:expr) => { $field.write($out) };
    (@write $one:ident $out:ident, $field:expr) => { $field.ser_bin($out.end()) };
    (@read each $at:ident, $bytes:ident, $field:expr) => { $field = read_parts(&mut $at, $bytes).ok()? };
    (@read added $at:ident, $bytes:ident, $field:expr) => {
        if $at < $bytes.len() { $field = DeBin::de_bin(&mut $at, $bytes).ok()? }
    };
    (@read $one:ident $at:ident, $bytes:ident, $field:expr) => { $field = DeBin::de_bin(&mut $at, $bytes).ok()? };
}

/// Every section, the newest last.
const SECTIONS: &[Section] = &[
    section!("origin" 1 required { one version, one why, one since_ns }),
    section!("boot" 1 required {
        one memory.boot, one memory.started_ns, one memory.started_ms, one memory.next
    }),
    section!("sockets" 1 required { one listeners, one given, one epoll }),
    section!("store" 1 optional { one lock }),
    section!("shared-auth" 1 optional { one shared_auth }),
    section!("presence" 1 optional { one memory.presence, one memory.presence_pending }),
    section!("keepalive" 1 optional { one memory.tick_ns, one memory.late_ticks }),
    section!("reloads" 1 optional { one memory.reloads }),
    section!("activity" 1 optional { each memory.contacts, each memory.seen, one memory.unknown_requests }),
    section!("guesses" 1 optional { each memory.guesses }),
    section!("restarts" 1 optional { one memory.restarts }),
    section!("connections" 1 required { packed memory.conns }),
    section!("pending" 1 required { packed memory.pending_conns }),
    section!("invocations" 1 optional { each memory.invocations }),
    section!("journal" 1 optional { one memory.journal }),
    section!("links" 1 optional { packed memory.links, added memory.lost_runs }),
];

/// The sections, by name and version, the newest last.
pub fn section_names() -> impl Iterator<Item = (&'static str, u16)> {
    SECTIONS.iter().map(|section| (section.name, section.version))
}

/// A version's state format, for writing and reading. Plain data, so that a test can be another version.
#[derive(Clone, Copy, Debug)]
pub struct StateFormat {
    /// Version of Barnacle that the format belongs to.
    pub version: &'static str,
    /// The formats that it reads; see [`FORMAT`](Self::FORMAT).
    pub reads: &'static [u32],
    /// The formats that it writes, the one it prefers first.
    pub writes: &'static [u32],
    /// Sections that it does not know.
    pub unknown: &'static [&'static str],
    /// Sections that only it knows: name, version, bytes.
    pub more: &'static [(&'static str, u16, &'static [u8])],
}

/// State format of this version.
pub const STATE_FORMAT: StateFormat = StateFormat {
    version: env!("CARGO_PKG_VERSION"),
    reads: &[StateFormat::FORMAT, format_2::FORMAT],
    writes: &[StateFormat::FORMAT, format_2::FORMAT],
    unknown: &[],
    more: &[],
};

impl StateFormat {
    /// The format made of sections.
    pub const FORMAT: u32 = 3;

    /// The format that it prefers to write.
    pub(crate) fn preferred(&self) -> u32 {
        self.writes.first().copied().unwrap_or(Self::FORMAT)
    }

    /// The bytes of `state` in `format`.
    pub fn seal<'a>(&self, state: &'a State, format: u32) -> Sealed<'a> {
        let payload = match format {
            format_2::FORMAT => Pieces(vec![format_2::encode(state).into()]),
            _ => self.encode(state),
        };
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        format.ser_bin(&mut head);
        (payload.len() as u64).ser_bin(&mut head);
        let mut pieces = payload.0;
        pieces.insert(0, head.into());
        let digest = pieces.iter().fold(Sha256::new(), |digest, piece| digest.chain_update(piece));
        pieces.push(digest.finalize().to_vec().into());
        Sealed(pieces)
    }

    /// Verifies `bytes` and reads the state that they are.
    ///
    /// # Errors
    /// [`DamagedState`].
    pub fn open(&self, bytes: &[u8]) -> Result<State, DamagedState> {
        let end = bytes.len().checked_sub(DIGEST).filter(|end| *end >= HEAD);
        let end = end.ok_or(DamagedState::Broken("is cut short"))?;
        if &bytes[..8] != MAGIC {
            return Err(DamagedState::Broken("does not begin as one"));
        }
        let payload = &bytes[HEAD..end];
        let length = bytes[12..HEAD].try_into().map_or(0, u64::from_le_bytes);
        if length != payload.len() as u64 || Sha256::digest(&bytes[..end])[..] != bytes[end..] {
            return Err(DamagedState::Broken("is not what was written: its length or checksum is wrong"));
        }
        match bytes[8..12].try_into().map_or(0, u32::from_le_bytes) {
            format if !self.reads.contains(&format) => Err(DamagedState::Format(format, self.version)),
            format_2::FORMAT => format_2::decode(payload).ok_or(DamagedState::Broken("makes no sense")),
            _ => self.decode(payload),
        }
    }

    fn knows(&self, section: &&Section) -> bool {
        !self.unknown.contains(&section.name)
    }

    fn encode<'a>(&self, state: &'a State) -> Pieces<'a> {
        let known = SECTIONS.iter().filter(|section| self.knows(section));
        let own = known.map(|section| {
            let mut bytes = Pieces::default();
            (section.write)(state, &mut bytes);
            (section.name, section.version, bytes)
        });
        let more =
            self.more.iter().map(|(name, version, bytes)| (*name, *version, Pieces(vec![(*bytes).into()])));
        let sections: Vec<_> = own.chain(more).collect();
        let mut pieces = Pieces::default();
        (sections.len() as u32).ser_bin(pieces.end());
        for (name, version, bytes) in sections {
            let head = pieces.end();
            head.push(name.len() as u8);
            head.extend_from_slice(name.as_bytes());
            version.ser_bin(head);
            (bytes.len() as u64).ser_bin(head);
            pieces.0.extend(bytes.0);
        }
        pieces
    }

    fn decode(&self, payload: &[u8]) -> Result<State, DamagedState> {
        let sections = split(payload).ok_or(DamagedState::Broken("has a section that is cut short"))?;
        let mut state = State::default();
        for section in SECTIONS {
            let known = |(name, version, _): &&Raw<'_>| {
                *name == section.name.as_bytes() && *version <= section.version && self.knows(&section)
            };
            match sections.iter().find(known) {
                Some((_, _, bytes)) => {
                    (section.read)(&mut state, bytes).ok_or(DamagedState::Section(section.name))?
                }
                None if section.required => return Err(DamagedState::Missing(section.name, self.version)),
                None => {}
            }
        }
        Ok(state)
    }
}

/// Name, version and bytes of a section.
type Raw<'a> = (&'a [u8], u16, &'a [u8]);

/// Splits a payload into its sections.
fn split(payload: &[u8]) -> Option<Vec<Raw<'_>>> {
    let mut at = 0usize;
    let mut take = |length: usize| {
        let part = payload.get(at..at.checked_add(length)?)?;
        at += length;
        Some(part)
    };
    let count = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let mut sections = Vec::new();
    for _ in 0..count {
        let length = take(1)?[0].into();
        let name = take(length)?;
        let version = u16::from_le_bytes(take(2)?.try_into().ok()?);
        let length = u64::from_le_bytes(take(8)?.try_into().ok()?);
        sections.push((name, version, take(length.try_into().ok()?)?));
    }
    (at == payload.len()).then_some(sections)
}

/// The bytes of a state, in pieces.
pub struct Sealed<'a>(Vec<Cow<'a, [u8]>>);

impl Sealed<'_> {
    /// Mark of this state; see [`mark`].
    pub(crate) fn mark(&self) -> String {
        mark(self.0.last().map(|digest| &**digest).unwrap_or_default())
    }

    /// A file in memory with it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn memory_file(&self) -> io::Result<File> {
        let fd = rustix::fs::memfd_create("barnacle-state", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = File::from(fd);
        self.0.iter().try_for_each(|piece| file.write_all(piece))?;
        Ok(file)
    }

    /// Serialises the whole state.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }
}

/// Returns the mark that identifies a state: the end of its bytes, as hexadecimal digits.
pub(crate) fn mark(bytes: &[u8]) -> String {
    crate::protocol::hex(&bytes[bytes.len().saturating_sub(DIGEST)..])
}
