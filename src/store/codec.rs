//! The store's file: a frame that is verified before anything in it is believed.
//!
//! ```text
//! "BARNACLE" · format u32 · counter u64 · length u64 · payload · SHA-256 of all before   (little endian)
//! ```
//!
//! `nanoserde`'s binary decoder trusts its length prefixes, so that sixteen hostile bytes ask for
//! gigabytes: it only ever sees a payload whose digest was right.

use super::{
    record::{Device, Request, SetupCode, Tombstone},
    registry::Registry,
};
use nanoserde::{DeBin, SerBin};
use sha2::{Digest, Sha256};
use std::fmt;

const MAGIC: &[u8; 8] = b"BARNACLE";
const HEAD: usize = 8 + 4 + 8 + 8;
const DIGEST: usize = 32;

/// The newest format this version writes and reads.
pub const FORMAT: u32 = 1;

/// Why a file is not a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// The length differs from what the header states.
    Length,
    /// The beginning is not that of a store.
    Magic,
    /// The digest does not match the content.
    Digest,
    /// The file was written by a newer version.
    Newer(u32),
    /// The digest matches, but the content cannot be decoded.
    Content,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("it is cut short or too long"),
            Self::Magic => f.write_str("it does not begin as a token store does"),
            Self::Digest => f.write_str("its checksum is wrong"),
            Self::Newer(format) => {
                write!(f, "its format {format} is newer than this version reads ({FORMAT})")
            }
            Self::Content => f.write_str("its content makes no sense"),
        }
    }
}

#[derive(DeBin)]
struct Payload {
    devices: Vec<Device>,
    requests: Vec<Request>,
    setup_codes: Vec<SetupCode>,
    removed: Vec<Tombstone>,
}

/// The file of `registry`, but for its digest, which [`seal`] adds.
pub fn encode(registry: &Registry, counter: u64) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEAD + DIGEST + 512 * registry.devices().len());
    file.extend_from_slice(MAGIC);
    FORMAT.ser_bin(&mut file);
    counter.ser_bin(&mut file);
    0u64.ser_bin(&mut file);
    list(&mut file, registry.devices().map(|d| &**d));
    list(&mut file, registry.requests().iter().map(|r| &**r));
    list(&mut file, registry.setup_codes().iter());
    list(&mut file, registry.removed().iter());
    let length = (file.len() - HEAD) as u64;
    file[HEAD - 8..HEAD].copy_from_slice(&length.to_le_bytes());
    file
}

/// Writes a list as a field of [`Payload`] is read, without a copy of it all on the thread that must not wait.
fn list<'a, T: SerBin + 'a>(file: &mut Vec<u8>, items: impl ExactSizeIterator<Item = &'a T>) {
    items.len().ser_bin(file);
    items.for_each(|item| item.ser_bin(file));
}

/// Appends the digest.
pub fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

/// Reads a file: the registry, and the counter of the commit that wrote it.
///
/// # Errors
/// [`Damage`].
pub fn decode(file: &[u8]) -> Result<(Registry, u64), Damage> {
    let (head, rest) = file.split_at_checked(HEAD).ok_or(Damage::Length)?;
    if &head[..8] != MAGIC {
        return Err(Damage::Magic);
    }
    let number = |at: usize| {
        let mut b = [0; 8];
        b.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(b)
    };
    let format = number(8) as u32;
    let (counter, length) = (number(12), number(20));
    if format > FORMAT {
        // A bit flip in the number would look the same: only a whole file is from the future.
        return Err(if sealed(file) { Damage::Newer(format) } else { Damage::Digest });
    }
    let length = usize::try_from(length).map_err(|_| Damage::Length)?;
    if rest.len().checked_sub(DIGEST) != Some(length) {
        return Err(Damage::Length);
    }
    if !sealed(file) {
        return Err(Damage::Digest);
    }
    let mut end = 0;
    let payload: Payload = DeBin::de_bin(&mut end, &rest[..length]).map_err(|_| Damage::Content)?;
    if end != length {
        return Err(Damage::Content);
    }
    let Payload { devices, requests, setup_codes, removed } = payload;
    Ok((Registry::from_parts(devices, requests, setup_codes, removed), counter))
}

fn sealed(file: &[u8]) -> bool {
    file.len().checked_sub(DIGEST).is_some_and(|end| Sha256::digest(&file[..end])[..] == file[end..])
}
