//! Fields of an X.509 certificate (RFC 5280, 4.1): as much of DER (X.690) as they need.
//!
//! Also of one of version 1, which rustls does not read and Node serves.

/// The first and last second of validity, each as `20261231235959`, which can be compared as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validity {
    /// Value of `notBefore`.
    pub from: String,
    /// Value of `notAfter`.
    pub until: String,
}

impl Validity {
    /// The validity of the certificate `der`. `None` where it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        // Serial number, algorithm and issuer come before it.
        let (_, validity, _) = element(field(der, 3)?)?;
        let (kind, from, rest) = element(validity)?;
        let from = time(kind, from)?;
        let (kind, until, _) = element(rest)?;
        Some(Self { from, until: time(kind, until)? })
    }
}

/// Whether the certificate `der` is of version 1: it says no version.
#[cfg(feature = "tls")]
pub(super) fn is_version_1(der: &[u8]) -> bool {
    tbs(der).and_then(element).is_some_and(|(tag, ..)| tag != VERSION)
}

/// The `SubjectPublicKeyInfo` of the certificate `der`, in DER.
#[cfg(feature = "tls")]
pub(super) fn public_key(der: &[u8]) -> Option<&[u8]> {
    let at = field(der, 5)?;
    let (.., rest) = element(at)?;
    Some(&at[..at.len() - rest.len()])
}

/// The size of the RSA modulus of a `SubjectPublicKeyInfo`, bits. `None` for another kind of key.
#[cfg(feature = "tls")]
pub(super) fn rsa_bits(public_key: &[u8]) -> Option<usize> {
    /// Object identifier of RSA keys: 1.2.840.113549.1.1.1.
    const RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let (_, info, _) = element(public_key)?;
    let (_, algorithm, rest) = element(info)?;
    let (_, bits, _) = element(rest).filter(|_| algorithm.starts_with(RSA))?;
    let (_, numbers, _) = element(bits.strip_prefix(&[0])?)?;
    let (_, modulus, _) = element(numbers)?;
    Some(modulus.strip_prefix(&[0]).unwrap_or(modulus).len() * 8)
}

/// The tag of a certificate's version.
const VERSION: u8 = 0xa0;

fn tbs(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(der)?;
    Some(element(certificate)?.1)
}

/// Returns the bytes after the first `n` fields of the certificate `der`, not counting its version.
fn field(der: &[u8], n: usize) -> Option<&[u8]> {
    let mut fields = tbs(der)?;
    let version = (element(fields)?.0 == VERSION) as usize;
    for _ in 0..n + version {
        fields = element(fields)?.2;
    }
    Some(fields)
}

/// The first element of `der`: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let bytes = rest.get(..length - 0x80).filter(|bytes| bytes.len() <= 4)?;
        rest = &rest[bytes.len()..];
        length = bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    }
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}

/// `UTCTime`, whose years end in 2049, or `GeneralizedTime`.
fn time(kind: u8, text: &[u8]) -> Option<String> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = match kind {
        0x17 => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        0x18 => digits.to_owned(),
        _ => return None,
    };
    (digits.len() == 14 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(0x17, b"491231235959Z").as_deref(), Some("20491231235959"));
        assert_eq!(time(0x17, b"500101000000Z").as_deref(), Some("19500101000000"));
        assert_eq!(time(0x18, b"20500101000000Z").as_deref(), Some("20500101000000"));
        for (kind, bad) in
            [(0x17, &b"4912312359Z"[..]), (0x18, b"2050010100000xZ"), (0x02, b"20500101000000Z")]
        {
            assert_eq!(time(kind, bad), None);
        }
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x89", b"\x30\x02\x30\x00", b"\x30\x80"]
        {
            assert_eq!(Validity::of(bytes), None, "{bytes:?}");
        }
    }
}
