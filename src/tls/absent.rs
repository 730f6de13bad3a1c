//! What stands in for TLS in a build without it: types of which there is no value.

use super::{CertificateError, Files, TlsError, Trust, Validity};
use std::{
    io::{self, Read, Write},
    marker::PhantomData,
    net::TcpStream,
    path::Path,
};

/// There is none.
pub enum Certificate {}

/// There is none.
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

    /// Nothing.
    pub fn is_same(&self, _: &Self) -> bool {
        match *self {}
    }

    /// Nothing.
    pub fn fingerprint(&self) -> &str {
        match *self {}
    }

    /// Nothing.
    pub fn fingerprint_in(_: &Path) -> Option<String> {
        None
    }

    /// Nothing.
    pub fn validity_in(_: &Path) -> Option<Validity> {
        None
    }

    /// Nothing.
    pub fn files(&self) -> &Files {
        match *self {}
    }

    /// Nothing.
    pub fn accept(&self) -> Option<Session> {
        match *self {}
    }
}

impl Session {
    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn flush(&mut self, _: &TcpStream) -> io::Result<bool> {
        match *self {}
    }

    /// Nothing.
    pub fn end(&mut self, _: &TcpStream) {
        match *self {}
    }

    /// Nothing.
    pub fn is_full(&self) -> bool {
        match *self {}
    }
}

/// There is none.
pub enum ClientSession {}

impl ClientSession {
    /// Says that there is none.
    ///
    /// # Errors
    /// [`TlsError::NotBuilt`].
    pub fn new(_: &str, _: &Trust) -> Result<Self, TlsError> {
        Err(TlsError::NotBuilt)
    }

    /// Nothing.
    pub fn wants_write(&self) -> bool {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn handshake(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &TcpStream, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    pub fn flush(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    /// Nothing.
    pub fn end(&mut self) {
        match *self {}
    }
}

/// There is none.
pub struct Secured<S> {
    /// What would be below.
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
