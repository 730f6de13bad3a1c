//! What stands in for TLS in a build without it: types of which there is no value.

use super::{CertificateError, Files, TlsError, Trust, Validity};
use std::{
    io::{self, Read, Write},
    marker::PhantomData,
    net::TcpStream,
    path::Path,
};

/// A certificate, of which there is none without TLS.
pub enum Certificate {}

/// A TLS session, of which there is none without TLS.
pub enum Session {}

impl Certificate {
    /// Says that there is none.
    ///
    /// # Errors
    /// [`CertificateError::NotBuilt`].
    pub fn read(_: &Files) -> Result<Self, CertificateError> {
        Err(CertificateError::NotBuilt)
    }

    /// Says that there is none.
    ///
    /// # Errors
    /// [`CertificateError::NotBuilt`].
    pub fn make(_: &Files) -> Result<Self, CertificateError> {
        Err(CertificateError::NotBuilt)
    }

    /// Unreachable.
    pub fn is_same(&self, _: &Self) -> bool {
        match *self {}
    }

    /// Unreachable.
    pub fn fingerprint(&self) -> &str {
        match *self {}
    }

    /// Returns `None`.
    pub fn fingerprint_in(_: &Path) -> Option<String> {
        None
    }

    /// Returns `None`.
    pub fn validity_in(_: &Path) -> Option<Validity> {
        None
    }

    /// Unreachable.
    pub fn files(&self) -> &Files {
        match *self {}
    }

    /// Unreachable.
    pub fn accept(&self) -> Option<Session> {
        match *self {}
    }
}

impl Session {
    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn flush(&mut self, _: &TcpStream) -> io::Result<bool> {
        match *self {}
    }

    /// Unreachable.
    pub fn end(&mut self, _: &TcpStream) {
        match *self {}
    }

    /// Unreachable.
    pub fn is_full(&self) -> bool {
        match *self {}
    }
}

/// A client's TLS session, of which there is none without TLS.
pub enum ClientSession {}

impl ClientSession {
    /// Says that there is none.
    ///
    /// # Errors
    /// [`TlsError::NotBuilt`].
    pub fn new(_: &str, _: &Trust) -> Result<Self, TlsError> {
        Err(TlsError::NotBuilt)
    }

    /// Unreachable.
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Unreachable.
    pub fn wants_write(&self) -> bool {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn handshake(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Unreachable.
    ///
    /// # Errors
    /// None.
    pub fn flush(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    /// Unreachable.
    pub fn end(&mut self) {
        match *self {}
    }
}

/// A TLS stream, of which there is none without TLS.
pub struct Secured<S> {
    /// The socket below.
    pub sock: S,
    _none: PhantomData<std::convert::Infallible>,
}

/// Says that there is none.
///
/// # Errors
/// Always.
pub fn secure<S: Read + Write>(_: S, _: &str, _: &Trust) -> io::Result<Secured<S>> {
    Err(io::Error::other(TlsError::NotBuilt))
}

impl<S: Read> Read for Secured<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.sock.read(out)
    }
}

impl<S: Write> Write for Secured<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sock.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sock.flush()
    }
}
