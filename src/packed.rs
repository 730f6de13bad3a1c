//! Serialised data that can grow: what one version of Barnacle appends, another skips or does without.
//!
//! A part is a value behind its length. Whoever reads one takes the fields it knows from the start and ignores
//! what follows; a field that the writer did not know yet is [`Added`] and has its default. A [`PackedList`] is a
//! list of parts kept serialised and decoded one at a time, so that thousands of connections are never in memory
//! twice. The rules for whoever changes a saved type stand in [`handoff::state`](crate::handoff::state).

use nanoserde::{DeBin, DeBinErr, SerBin};
use std::{
    borrow::Cow,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

const LENGTH: usize = 4;

/// Serialised data in pieces, of which the large ones are borrowed: nothing is in memory twice to be written.
#[derive(Default)]
pub(crate) struct Pieces<'a>(pub Vec<Cow<'a, [u8]>>);

impl<'a> Pieces<'a> {
    /// The end, to append to.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        if !matches!(self.0.last(), Some(Cow::Owned(_))) {
            self.0.push(Cow::Owned(Vec::new()));
        }
        let last = self.0.len() - 1;
        self.0[last].to_mut()
    }

    /// Appends `bytes` where they are.
    pub(crate) fn borrow(&mut self, bytes: &'a [u8]) {
        self.0.push(Cow::Borrowed(bytes));
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }
}

/// Appends a part, which `write` writes.
pub(crate) fn write_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    write(out);
    let length = (out.len() - at - LENGTH) as u32;
    out[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
}

/// Takes the part at `at`, and moves `at` behind it.
///
/// # Errors
/// When it is cut short.
pub(crate) fn take_part<'a>(at: &mut usize, bytes: &'a [u8]) -> Result<&'a [u8], DeBinErr> {
    let length = u32::de_bin(at, bytes)? as usize;
    let end = at.checked_add(length).filter(|end| *end <= bytes.len());
    let end = end.ok_or_else(|| DeBinErr::new(*at, length, bytes.len()))?;
    let part = &bytes[*at..end];
    *at = end;
    Ok(part)
}

/// Reads the value of the part at `at`, and moves `at` behind it.
///
/// # Errors
/// When it makes no sense.
pub(crate) fn read_part<T: DeBin>(at: &mut usize, bytes: &[u8]) -> Result<T, DeBinErr> {
    T::de_bin(&mut 0, take_part(at, bytes)?)
}

/// Appends a list, each of its values a part.
pub(crate) fn write_parts<T: SerBin>(list: &[T], out: &mut Vec<u8>) {
    (list.len() as u32).ser_bin(out);
    list.iter().for_each(|one| write_part(out, |out| one.ser_bin(out)));
}

/// Reads what [`write_parts`] wrote.
///
/// # Errors
/// When it makes no sense.
pub(crate) fn read_parts<T: DeBin>(at: &mut usize, bytes: &[u8]) -> Result<Vec<T>, DeBinErr> {
    let count = u32::de_bin(at, bytes)?;
    (0..count).map(|_| read_part(at, bytes)).collect()
}

/// A field appended to the end of a part; its default where the part ends before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Added<T>(pub T);

impl<T> Deref for Added<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Added<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: SerBin> SerBin for Added<T> {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        self.0.ser_bin(out);
    }
}

impl<T: DeBin + Default> DeBin for Added<T> {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        if *at == bytes.len() { Ok(Self::default()) } else { T::de_bin(at, bytes).map(Self) }
    }
}

/// A list kept serialised and decoded one element at a time.
#[derive(Clone, Debug)]
pub struct PackedList<T> {
    count: usize,
    bytes: Vec<u8>,
    kind: PhantomData<fn() -> T>,
}

impl<T> Default for PackedList<T> {
    fn default() -> Self {
        Self { count: 0, bytes: Vec::new(), kind: PhantomData }
    }
}

impl<T: DeBin> PackedList<T> {
    /// An empty list with room for `count` elements of ordinary size.
    pub(crate) fn for_some(count: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * 320), ..Self::default() }
    }

    /// Appends an element, which `write` writes.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write_part(&mut self.bytes, write);
        self.count += 1;
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the list has no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Decodes one element after the other; `None` for one that makes no sense.
    pub fn read(&self) -> impl Iterator<Item = Option<T>> + '_ {
        self.decode()
    }

    /// Decodes only the beginning of each element, which is a `Head`.
    pub(crate) fn read_heads<Head: DeBin>(&self) -> impl Iterator<Item = Option<Head>> + '_ {
        self.decode()
    }

    fn decode<U: DeBin>(&self) -> impl Iterator<Item = Option<U>> + '_ {
        let mut at = 0;
        (0..self.count).map(move |_| read_part(&mut at, &self.bytes).ok())
    }
}

impl<T> PackedList<T> {
    /// Appends the list to `out`, which borrows its elements.
    pub(crate) fn write<'a>(&'a self, out: &mut Pieces<'a>) {
        (self.count as u32).ser_bin(out.end());
        (self.bytes.len() as u64).ser_bin(out.end());
        out.borrow(&self.bytes);
    }
}

impl<T> DeBin for PackedList<T> {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let (count, length) = (u32::de_bin(at, bytes)? as usize, u64::de_bin(at, bytes)?);
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let end = end.filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| DeBinErr::new(*at, 0, bytes.len()))?;
        let list = Self { count, bytes: bytes[*at..end].to_vec(), kind: PhantomData };
        *at = end;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(SerBin, DeBin, PartialEq, Debug)]
    struct Old {
        name: String,
    }

    #[derive(SerBin, DeBin, PartialEq, Debug)]
    struct New {
        name: String,
        more: Added<Vec<u64>>,
        flag: Added<bool>,
    }

    #[test]
    fn an_appended_field_is_skipped_by_the_older_and_defaulted_by_the_newer() {
        let new = |name: &str| New { name: name.into(), more: Added(vec![1, 2]), flag: Added(true) };
        let mut bytes = Vec::new();
        write_parts(&[new("a"), new("b")], &mut bytes);
        7u64.ser_bin(&mut bytes);
        let mut at = 0;
        let read: Vec<Old> = read_parts(&mut at, &bytes).unwrap();
        assert_eq!(read, [Old { name: "a".into() }, Old { name: "b".into() }]);
        assert_eq!(u64::de_bin(&mut at, &bytes).unwrap(), 7, "it stands behind the list");

        let mut bytes = Vec::new();
        write_parts(&[Old { name: "a".into() }, Old { name: "b".into() }], &mut bytes);
        let read: Vec<New> = read_parts(&mut 0, &bytes).unwrap();
        assert_eq!(read[1], New { name: "b".into(), more: Added(vec![]), flag: Added(false) });
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let mut bytes = Vec::new();
        write_parts(&[Old { name: "abc".into() }], &mut bytes);
        for end in 0..bytes.len() {
            assert!(read_parts::<Old>(&mut 0, &bytes[..end]).is_err(), "{end}");
        }
        let mut list = PackedList::<Old>::default();
        list.add(|out| Old { name: "abc".into() }.ser_bin(out));
        let mut pieces = Pieces::default();
        list.write(&mut pieces);
        let bytes = pieces.0.concat();
        assert_eq!(bytes.len(), pieces.len());
        for end in 0..bytes.len() {
            assert!(PackedList::<Old>::de_bin(&mut 0, &bytes[..end]).is_err(), "{end}");
        }
        // One that makes no sense does not take the next with it.
        list.add(|out| out.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]));
        list.add(|out| Old { name: "d".into() }.ser_bin(out));
        let read: Vec<_> = list.read().map(|one| one.map(|old| old.name)).collect();
        assert_eq!(read, [Some("abc".into()), None, Some("d".into())]);
    }
}
