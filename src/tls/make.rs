//! A self-signed certificate (RFC 5280) and its key, made once and never again.
//!
//! The key is put in its place first, the certificate last, each whole and on disk; a power cut between the
//! two leaves the certificate beside its place, from where the next start takes it. A name that is there is
//! never overwritten: clients may have pinned the certificate in it.

use super::{CertificateError, Files};
use crate::store::atomic::{beside, make_directory, replace, sync_directory};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{io, path::Path};

/// Common name, as in OpenClaw.
const NAME: &str = "openclaw-gateway";
/// Valid whatever the clock of a board says; until the end of what `UTCTime` can tell.
const VALID: [&[u8]; 2] = [b"000101000000Z", b"491231235959Z"];

/// Whether a power cut came between the key and its certificate.
pub fn is_interrupted(files: &Files) -> bool {
    files.key.exists() && !files.cert.exists() && beside(&files.cert, ".new").exists()
}

/// Makes both files of `files`, neither of which is there.
///
/// # Errors
/// [`CertificateError::NotMade`].
pub fn make(files: &Files) -> Result<(), CertificateError> {
    let (staged_cert, staged_key) = (beside(&files.cert, ".new"), beside(&files.key, ".new"));
    let not_made = |path: &Path| {
        let path = path.to_owned();
        move |e| CertificateError::NotMade(path, e)
    };
    if is_interrupted(files) {
        return publish(&staged_cert, &files.cert).map_err(not_made(&files.cert));
    }
    let (cert, key) = pair().map_err(|_| not_made(&files.key)(io::Error::other("no randomness")))?;
    for (path, staged, text) in [(&files.key, &staged_key, key), (&files.cert, &staged_cert, cert)] {
        path.parent().map_or(Ok(()), make_directory).map_err(not_made(path))?;
        replace(staged, text.as_bytes(), 0o600).map_err(not_made(staged))?;
    }
    publish(&staged_key, &files.key).map_err(not_made(&files.key))?;
    publish(&staged_cert, &files.cert).map_err(not_made(&files.cert))
}

fn publish(staged: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, staged, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it; that nothing was there has been seen.
        Err(rustix::io::Errno::INVAL) => std::fs::rename(staged, path)?,
        done => done?,
    }
    sync_directory(path)
}

/// Generates a certificate and its key, both PEM.
fn pair() -> Result<(String, String), ring::error::Unspecified> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
        .map_err(|_| ring::error::Unspecified)?;
    let mut serial = [0; 16];
    random.fill(&mut serial)?;
    // Positive, and of one length.
    serial[0] = serial[0] & 0x3f | 0x40;
    let tbs = to_be_signed(&serial, key.public_key().as_ref());
    let signature = key.sign(&random, &tbs)?;
    let cert = der(0x30, &[&tbs, &ecdsa_with_sha256(), &bits(signature.as_ref())]);
    Ok((pem("CERTIFICATE", &cert), pem("PRIVATE KEY", pkcs8.as_ref())))
}

/// TBSCertificate of RFC 5280 §4.1.
fn to_be_signed(serial: &[u8], public: &[u8]) -> Vec<u8> {
    let common_name = [0x55, 0x04, 0x03];
    let name = der(0x30, &[&der(0x06, &[&common_name]), &der(0x0c, &[NAME.as_bytes()])]);
    let name = der(0x30, &[&der(0x31, &[&name])]);
    let validity = der(0x30, &VALID.map(|time| der(0x17, &[time])).each_ref().map(Vec::as_slice));
    let ec_public_key = der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]]);
    let prime256v1 = der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]]);
    let key = der(0x30, &[&der(0x30, &[&ec_public_key, &prime256v1]), &bits(public)]);
    let host = crate::host::name();
    let names = der(
        0x30,
        &[
            &der(0x82, &[b"localhost"]),
            &der(0x82, &[host.as_bytes()]),
            &der(0x87, &[&[127, 0, 0, 1]]),
            &der(0x87, &[&std::net::Ipv6Addr::LOCALHOST.octets()]),
        ],
    );
    let subject_alt_name = der(0x06, &[&[0x55, 0x1d, 0x11]]);
    let extensions = der(0x30, &[&der(0x30, &[&subject_alt_name, &der(0x04, &[&names])])]);
    der(
        0x30,
        &[
            &der(0xa0, &[&der(0x02, &[&[2]])]),
            &der(0x02, &[serial]),
            &ecdsa_with_sha256(),
            &name,
            &validity,
            &name,
            &key,
            &der(0xa3, &[&extensions]),
        ],
    )
}

fn ecdsa_with_sha256() -> Vec<u8> {
    der(0x30, &[&der(0x06, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]])])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(0x03, &[&[0], bytes])
}

/// A value in DER (X.690): its tag, its length, and its parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match length {
        0..0x80 => bytes.push(length as u8),
        0x80..0x100 => bytes.extend([0x81, length as u8]),
        _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Encodes as PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    let text = Base64::encode_string(der);
    let lines: Vec<_> = (0..text.len()).step_by(64).map(|n| &text[n..text.len().min(n + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
