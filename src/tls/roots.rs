//! The authorities that a client trusts: this host's, else those that are built in.

use super::TlsError;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Files in which distributions keep the certificates of trusted authorities.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/share/ssl/cert.pem",
];

/// The authorities of `SSL_CERT_FILE` if that is set, else of this host's bundle, else Mozilla's as of the build.
///
/// # Errors
/// [`TlsError::Roots`] when `SSL_CERT_FILE` names no file of certificates.
pub(super) fn system() -> Result<RootCertStore, TlsError> {
    if let Some(named) = env::var_os("SSL_CERT_FILE").filter(|named| !named.is_empty()) {
        return of_file(&PathBuf::from(named));
    }
    let mut found = BUNDLES.iter().filter_map(|path| of_file(Path::new(path)).ok());
    Ok(found.next().unwrap_or_else(|| webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
}

/// The authorities in a PEM file.
///
/// # Errors
/// [`TlsError::Roots`].
pub(super) fn of_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let bad = |why: String| TlsError::Roots(path.into(), why);
    let bundle = fs::read(path).map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok));
    match roots.is_empty() {
        true => Err(bad("it holds no certificate in PEM".into())),
        false => Ok(roots),
    }
}
