//! Many things written down one after the other, each read when its turn comes: thousands of connections are
//! never all in memory twice.

use nanoserde::{DeBin, DeBinErr, SerBin};
use std::marker::PhantomData;

/// Things of a kind, written down.
#[derive(Clone, Debug)]
pub struct PackedList<T> {
    count: usize,
    bytes: Vec<u8>,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeBin> PackedList<T> {
    /// None yet, with room for `count` ordinary ones.
    pub fn for_some(count: usize) -> Self {
        Self { count: 0, bytes: Vec::with_capacity(count * 256), kind: PhantomData }
    }

    /// One more; `write` writes it.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.count += 1;
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each of them in turn; nothing where one makes no sense, which is then the last.
    pub fn read(&self) -> impl Iterator<Item = Option<T>> + '_ {
        let (mut at, mut left) = (0, self.count);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let one = T::de_bin(&mut at, &self.bytes).ok();
            if one.is_none() {
                left = 0;
            }
            Some(one)
        })
    }
}

impl<T> SerBin for PackedList<T> {
    fn ser_bin(&self, out: &mut Vec<u8>) {
        self.count.ser_bin(out);
        self.bytes.len().ser_bin(out);
        out.extend_from_slice(&self.bytes);
    }
}

impl<T> DeBin for PackedList<T> {
    fn de_bin(at: &mut usize, bytes: &[u8]) -> Result<Self, DeBinErr> {
        let (count, length) = (usize::de_bin(at, bytes)?, usize::de_bin(at, bytes)?);
        let end = at.checked_add(length).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| DeBinErr::new(*at, length, bytes.len()))?;
        let row = Self { count, bytes: bytes[*at..end].to_vec(), kind: PhantomData };
        *at = end;
        Ok(row)
    }
}
