//! Certificate and key, read and proven.

use super::{Fault, Files, Session, Validity, make};
use rustls::{
    Error, InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

/// Most of a file that is read, bytes; OpenClaw's bound.
const MOST: u64 = 64 << 10;
const CERT: &str = "gateway.tls.certPath";
const KEY: &str = "gateway.tls.keyPath";

/// A certificate with its key.
pub struct Certificate {
    config: Arc<ServerConfig>,
    fingerprint: String,
    files: Files,
    /// Of both files' bytes.
    digest: [u8; 32],
}

impl Certificate {
    /// Reads certificate and key, and proves that they belong together.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(files: &Files) -> Result<Self, Fault> {
        let missing = |read: &Result<_, Fault>| matches!(read, Err(Fault::Unreadable(_, _, e)) if e.kind() == io::ErrorKind::NotFound);
        let (cert, key) = (read(CERT, &files.cert), read(KEY, &files.key));
        match (missing(&cert), missing(&key)) {
            (true, true) => return Err(Fault::Missing(files.clone())),
            (true, false) if make::is_interrupted(files) => return Err(Fault::Missing(files.clone())),
            (true, false) => return Err(Fault::Half(files.key.clone(), files.cert.clone())),
            (false, true) => return Err(Fault::Half(files.cert.clone(), files.key.clone())),
            (false, false) => {}
        }
        let (cert, key) = (cert?, key?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert).filter_map(Result::ok).collect();
        let first = chain.first().ok_or_else(|| Fault::NoPem(CERT, files.cert.clone(), "certificate"))?;
        let fingerprint = crate::protocol::hex(&Sha256::digest(first));
        let private = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| Fault::NoPem(KEY, files.key.clone(), "private key"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|e| match e {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Fault::Mismatch(files.clone()),
                Error::InvalidCertificate(_) => Fault::Refused(files.cert.clone(), e.to_string()),
                e => Fault::Refused(files.key.clone(), e.to_string()),
            })?;
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
    /// [`Fault`].
    pub fn make(files: &Files) -> Result<Self, Fault> {
        make::make(files)?;
        Self::read(files)
    }

    /// Whether it is of the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// The SHA-256 of the certificate, 64 hexadecimal digits: what a client is told to trust.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The fingerprint of the certificate in a file, for who may not read its key.
    pub fn fingerprint_in(path: &Path) -> Option<String> {
        let cert = CertificateDer::from_pem_slice(&read(CERT, path).ok()?).ok()?;
        Some(crate::protocol::hex(&Sha256::digest(cert)))
    }

    /// How long the certificate in a file is valid.
    pub fn validity_in(path: &Path) -> Option<Validity> {
        Validity::of(&CertificateDer::from_pem_slice(&read(CERT, path).ok()?).ok()?)
    }

    /// Where it was read from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The TLS of a connection that somebody else opens.
    pub fn accept(&self) -> Option<Session> {
        Session::accept(&self.config).map_err(|e| log::error!("TLS: {e}")).ok()
    }
}

/// What is used of cryptography: that of the signatures, too.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    let read = || {
        // Whatever is there instead of a file must not hold up the reader.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MOST {
            true => Err(io::Error::other(format!("it has more than {MOST} bytes"))),
            false => Ok(bytes),
        }
    };
    read().map_err(|e| Fault::Unreadable(key, path.into(), e))
}
