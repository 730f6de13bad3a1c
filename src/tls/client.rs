//! The client's side: TLS over a socket that blocks, with whom it is told to trust.

use super::{Trust, certificate::provider, x509};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, pem::PemObject},
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Read, Write},
    sync::Arc,
};

/// Where distributions keep the certificates of those that this host trusts.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A socket that speaks TLS.
pub type Secured<S> = StreamOwned<ClientConnection, S>;

/// Speaks TLS over `stream` to `host`, once something is read or written.
///
/// # Errors
/// When `host` is no name, or this host trusts nobody.
pub fn secure<S: Read + Write>(stream: S, host: &str, trust: &Trust) -> io::Result<Secured<S>> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13]);
    let config = config.map_err(io::Error::other)?;
    let mut config = match trust {
        Trust::Only(fingerprint) => {
            let pinned = Pinned { fingerprint: fingerprint.clone(), provider };
            config.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth()
        }
        Trust::Authorities => config.with_root_certificates(authorities()?).with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(tls, stream))
}

fn authorities() -> io::Result<RootCertStore> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let mut paths = named.iter().map(String::as_str).chain(BUNDLES);
    let bundle = paths.find_map(|path| fs::read(path).ok()).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok));
    if roots.is_empty() {
        let why = "this host has no certificates of authorities (ca-certificates): say which one to trust with \
                   --tls-fingerprint or gateway.remote.tlsFingerprint";
        return Err(io::Error::other(why));
    }
    Ok(roots)
}

/// Trusts one certificate, whatever else is in it.
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
            false => Err(Error::General(format!(
                "it shows a certificate with the fingerprint {fingerprint}, and the one that is trusted has {}",
                self.fingerprint
            ))),
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
