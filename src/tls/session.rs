//! The TLS of one connection that somebody else opened, over a socket that does not block.

use rustls::{Error, InvalidMessage, ServerConfig, ServerConnection};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

/// Most that a connection may say before its handshake is done, bytes: as much as the head of a request.
const HELLO: usize = 16 << 10;
/// Answer to a peer that speaks plain HTTP.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 69\r\n\r\n\
    This port speaks TLS: wss:// in place of ws://, https:// for http://.\n";

/// The TLS of a connection.
pub struct Session {
    tls: ServerConnection,
    /// Bytes received before the handshake was done.
    heard: usize,
    /// Set once a peer that speaks no TLS got the answer.
    refused: bool,
}

impl Session {
    pub(super) fn accept(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self { tls: ServerConnection::new(config.clone())?, heard: 0, refused: false })
    }

    /// Reads what the peer says, and answers what is the handshake's; 0 at its end.
    ///
    /// # Errors
    /// `WouldBlock` while nothing is there; `InvalidData` for what is no TLS. The alert is sent by then.
    pub fn read(&mut self, mut socket: &TcpStream, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Closed without `close_notify`; whether the last message was whole shows in the message.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            match self.tls.read_tls(&mut socket)? {
                0 => return Ok(0),
                n if self.tls.is_handshaking() => self.heard += n,
                _ => {}
            }
            if let Err(e) = self.tls.process_new_packets() {
                let plain = matches!(e, Error::InvalidMessage(InvalidMessage::InvalidContentType));
                self.refused = plain && self.tls.is_handshaking();
                // A best effort: nothing else is sent.
                let _ = match self.refused {
                    true => socket.write_all(PLAIN),
                    false => self.flush(socket).map(drop),
                };
                return Err(io::Error::new(io::ErrorKind::InvalidData, e));
            }
            if self.tls.is_handshaking() && self.heard > HELLO {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.flush(socket)?;
        }
    }

    /// Takes as much of `bytes` as it has room for, and sends what the socket takes.
    ///
    /// # Errors
    /// `WouldBlock` while it has no room.
    pub fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.tls.writer().write(bytes)?;
        self.flush(socket)?;
        Ok(n)
    }

    /// Sends what is to be sent; whether that was all.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn flush(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        while self.tls.wants_write() && !self.refused {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Says that nothing more comes, so that the peer knows that it has all.
    pub fn end(&mut self, socket: &TcpStream) {
        self.tls.send_close_notify();
        let _ = self.flush(socket);
    }

    /// Whether output waits for the socket.
    pub fn is_full(&self) -> bool {
        self.tls.wants_write()
    }
}
