//! The TLS of one connection that this process opened, over a socket that does not block.

use super::{TlsError, Trust, client};
use rustls::ClientConnection;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

/// Most bytes that wait for the socket to take them: one record.
const UNSENT: usize = 16 << 10;

/// The TLS of a connection to a peer.
pub struct ClientSession {
    tls: ClientConnection,
}

impl ClientSession {
    /// The TLS of a connection to `host`, which nothing has been sent of. Reads the files of `trust`, so it belongs on
    /// a worker thread.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(host: &str, trust: &Trust) -> Result<Self, TlsError> {
        let mut tls = client::connection(host, trust)?;
        tls.set_buffer_limit(Some(UNSENT));
        Ok(Self { tls })
    }

    /// Whether something waits for the socket to take it.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Takes the handshake as far as the socket allows.
    ///
    /// # Errors
    /// `WouldBlock` until it is done; see [`ClientSession::wants_write`].
    pub fn handshake(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        self.flush(socket)?;
        while self.tls.is_handshaking() {
            self.fill(&mut socket)?;
            self.flush(socket)?;
        }
        Ok(())
    }

    /// Reads what the peer says; 0 once it has said that this was all.
    ///
    /// # Errors
    /// `WouldBlock` while nothing is there; `UnexpectedEof` when the peer is gone and did not say that this was all;
    /// `InvalidData` for what is no TLS.
    pub fn read(&mut self, mut socket: &TcpStream, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.tls.read_tls(&mut socket)? > 0 {
                self.process(socket)?;
            }
            // The answer to a key update can wait until the socket has room.
            match self.flush(socket) {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
    }

    /// Takes as much of `bytes` as there is room for, and sends what the socket takes.
    ///
    /// # Errors
    /// `WouldBlock` while there is no room.
    pub fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let n = self.tls.writer().write(bytes)?;
        match self.flush(socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(n),
        }
    }

    /// Sends what is to be sent.
    ///
    /// # Errors
    /// `WouldBlock` while the socket takes no more.
    pub fn flush(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Says that nothing more comes; to be flushed.
    pub fn end(&mut self) {
        self.tls.send_close_notify();
    }

    fn fill(&mut self, socket: &mut &TcpStream) -> io::Result<()> {
        if self.tls.read_tls(socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.process(socket)
    }

    fn process(&mut self, socket: &TcpStream) -> io::Result<()> {
        let processed = self.tls.process_new_packets().map_err(|e| TlsError::from(&e));
        processed.map(drop).map_err(|e| {
            // The alert is a best effort: nothing else is said to the peer.
            let _ = self.flush(socket);
            io::Error::new(io::ErrorKind::InvalidData, e)
        })
    }
}
