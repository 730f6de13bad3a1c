//! A certificate and its key, read and checked.

use super::{CertificateError, Files, Session, Validity, make, x509};
use crate::host;
use rustls::{
    Error, InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{io, path::Path, sync::Arc};

/// Most of a file that is read, bytes; OpenClaw's bound.
const MOST: u64 = 64 << 10;
const CERT: &str = "gateway.tls.certPath";
const KEY: &str = "gateway.tls.keyPath";

/// A certificate with its key.
pub struct Certificate {
    config: Arc<ServerConfig>,
    fingerprint: String,
    files: Files,
    /// Digest of both files' bytes.
    digest: [u8; 32],
}

impl Certificate {
    /// Reads certificate and key, and checks that they belong together.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn read(files: &Files) -> Result<Self, CertificateError> {
        let missing = |read: &Result<_, CertificateError>| matches!(read, Err(CertificateError::Unreadable(_, _, e)) if e.kind() == io::ErrorKind::NotFound);
        let (cert, key) = (read(CERT, &files.cert), read(KEY, &files.key));
        match (missing(&cert), missing(&key)) {
            (true, true) => return Err(CertificateError::Missing(files.clone())),
            (true, false) if make::is_interrupted(files) => {
                return Err(CertificateError::Missing(files.clone()));
            }
            (true, false) => return Err(CertificateError::Half(files.key.clone(), files.cert.clone())),
            (false, true) => return Err(CertificateError::Half(files.cert.clone(), files.key.clone())),
            (false, false) => {}
        }
        let (cert, key) = (cert?, key?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert).filter_map(Result::ok).collect();
        let first =
            chain.first().ok_or_else(|| CertificateError::NoPem(CERT, files.cert.clone(), "certificate"))?;
        let fingerprint = crate::protocol::hex(&Sha256::digest(first));
        let private = private_key(&key, files)?;
        let certified = certified(chain, private, files)?;
        let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|e| CertificateError::Refused(files.cert.clone(), e.to_string()))?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        // A connection lasts for days: what resuming one would save is not worth what it would hold.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let digest = Sha256::new().chain_update(&cert).chain_update([0]).chain_update(&key).finalize().into();
        Ok(Self { config: Arc::new(config), fingerprint, files: files.clone(), digest })
    }

    /// Makes a self-signed certificate and its key where neither is there, on disk before it returns, and
    /// reads them.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn make(files: &Files) -> Result<Self, CertificateError> {
        make::make(files)?;
        Self::read(files)
    }

    /// Whether it is of the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// The SHA-256 of the certificate, 64 hexadecimal digits: the fingerprint that a client pins.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The fingerprint of the certificate in a file, for who may not read its key.
    pub fn fingerprint_in(path: &Path) -> Option<String> {
        let cert = CertificateDer::from_pem_slice(&read(CERT, path).ok()?).ok()?;
        Some(crate::protocol::hex(&Sha256::digest(cert)))
    }

    /// The validity of the certificate in a file.
    pub fn validity_in(path: &Path) -> Option<Validity> {
        Validity::of(&CertificateDer::from_pem_slice(&read(CERT, path).ok()?).ok()?)
    }

    /// The files it was read from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The TLS of a connection that a client opens.
    pub fn accept(&self) -> Option<Session> {
        Session::accept(&self.config).map_err(|e| log::error!("TLS: {e}")).ok()
    }
}

/// Provider of cryptography for rustls.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn private_key(pem: &[u8], files: &Files) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = String::from_utf8_lossy(pem);
    // PKCS #8, and the older form of OpenSSL.
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CertificateError::Encrypted(files.key.clone()));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| CertificateError::NoPem(KEY, files.key.clone(), "private key"))
}

/// The chain with its key, which is the key of its first certificate.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    files: &Files,
) -> Result<CertifiedKey, CertificateError> {
    let first = chain.first().map_or(&[][..], |first| first);
    let shown = x509::public_key(first).map(<[u8]>::to_vec);
    let key = provider().key_provider.load_private_key(private).map_err(|e| {
        let bits = shown.as_deref().and_then(x509::rsa_bits).filter(|bits| *bits < 2048);
        match bits {
            Some(bits) => CertificateError::WeakKey(files.key.clone(), bits),
            None => CertificateError::Refused(files.key.clone(), e.to_string()),
        }
    })?;
    let version_1 = x509::is_version_1(first);
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch(files.clone())),
        // rustls reads version 3 alone, and serves whatever it is given: the keys are compared here.
        Err(_) if version_1 => {
            let own = certified.key.public_key();
            match own.is_none_or(|own| Some(&own[..]) == shown.as_deref()) {
                true => Ok(certified),
                false => Err(CertificateError::Mismatch(files.clone())),
            }
        }
        Err(e) => Err(CertificateError::Refused(files.cert.clone(), e.to_string())),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    // Whatever is there instead of a file must not hold up the reader.
    host::read_small_file(path, MOST).map_err(|e| CertificateError::Unreadable(key, path.into(), e))
}
