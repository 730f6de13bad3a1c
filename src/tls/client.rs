//! The client's side: whom a connection trusts, and TLS over a socket that blocks.

use super::{TlsError, Trust, certificate::provider, roots, x509};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, OtherError,
    SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

/// A socket that speaks TLS.
pub type Secured<S> = StreamOwned<ClientConnection, S>;

/// Speaks TLS over `stream` to `host`, once something is read or written.
///
/// # Errors
/// When `host` is no name, or the authorities cannot be read.
pub fn secure<S: Read + Write>(stream: S, host: &str, trust: &Trust) -> io::Result<Secured<S>> {
    Ok(StreamOwned::new(connection(host, trust).map_err(io::Error::other)?, stream))
}

/// The TLS of a connection to `host`, which nothing has been sent of. Reads files.
///
/// # Errors
/// [`TlsError`].
pub(super) fn connection(host: &str, trust: &Trust) -> Result<ClientConnection, TlsError> {
    let other = |e: Error| TlsError::Other(e.to_string());
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13]);
    let config = config.map_err(other)?;
    let mut config = match trust {
        Trust::Only(fingerprint) => {
            let pinned = Pinned { fingerprint: fingerprint.clone(), provider };
            config.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth()
        }
        Trust::Authorities => config.with_root_certificates(roots::system()?).with_no_client_auth(),
        Trust::CaFile(path) => config.with_root_certificates(roots::of_file(path)?).with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::BadName(host.into()))?;
    ClientConnection::new(Arc::new(config), name).map_err(other)
}

/// Trusts one certificate by its fingerprint.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = crate::protocol::hex(&Sha256::digest(shown));
        match fingerprint == self.fingerprint {
            true => Ok(ServerCertVerified::assertion()),
            false => {
                let wrong = TlsError::WrongFingerprint(fingerprint, self.fingerprint.clone());
                Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("it speaks TLS 1.2 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Whatever else is in the certificate, and of whatever version it is.
        let key = x509::public_key(shown).ok_or_else(|| Error::General("it shows no certificate".into()))?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key), signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
