//! How long a certificate is valid: as much of DER (X.690) as that needs.

/// When it begins and ends to be valid, each as `20261231235959`, which can be compared as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validity {
    /// `notBefore`.
    pub from: String,
    /// `notAfter`.
    pub until: String,
}

impl Validity {
    /// That of the certificate `der` (RFC 5280 §4.1). `None` where it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, mut fields, _) = element(certificate)?;
        // A version, if it is not the first, a serial number, an algorithm, who issued it.
        let before = if element(fields)?.0 == 0xa0 { 4 } else { 3 };
        for _ in 0..before {
            fields = element(fields)?.2;
        }
        let (_, validity, _) = element(fields)?;
        let (kind, from, rest) = element(validity)?;
        let from = time(kind, from)?;
        let (kind, until, _) = element(rest)?;
        Some(Self { from, until: time(kind, until)? })
    }
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
