//! The TLS of one connection, on whichever side of it this process is.

use super::{ClientSession, Session};
use std::{io, net::TcpStream};

/// The TLS of a connection.
pub enum Channel {
    /// Somebody else opened it.
    Server(Session),
    /// This process opened it.
    Client(ClientSession),
}

impl Channel {
    /// Reads bytes from the peer; 0 at its end, whether it said so or not: in a WebSocket that shows in the message.
    ///
    /// # Errors
    /// `WouldBlock` while nothing is there; `InvalidData` for what is no TLS. The alert is sent by then.
    pub fn read(&mut self, socket: &TcpStream, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Server(tls) => tls.read(socket, out),
            Self::Client(tls) => match tls.read(socket, out) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                done => done,
            },
        }
    }

    /// Takes as much of `bytes` as there is room for, and sends what the socket takes.
    ///
    /// # Errors
    /// `WouldBlock` while there is no room.
    pub fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Server(tls) => tls.write(socket, bytes),
            Self::Client(tls) => tls.write(socket, bytes),
        }
    }

    /// Sends what is to be sent; whether that was all.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        match self {
            Self::Server(tls) => tls.flush(socket),
            Self::Client(tls) => match tls.flush(socket) {
                Ok(()) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(e) => Err(e),
            },
        }
    }

    /// Says that nothing more comes, so that the peer knows that it has all.
    pub fn end(&mut self, socket: &TcpStream) {
        match self {
            Self::Server(tls) => tls.end(socket),
            Self::Client(tls) => {
                tls.end();
                let _ = tls.flush(socket);
            }
        }
    }

    /// Whether output waits for the socket.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Server(tls) => tls.is_full(),
            Self::Client(tls) => tls.wants_write(),
        }
    }
}
