//! Who comes before anyone can be let in. Plain HTTP is told how things stand, as a supervisor asks that way;
//! everyone else waits, connected, for who lets them in.

use super::pages::LIVE;
use crate::{
    net::http::{Beginning, Page},
    reactor::Async,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    task::{Context, Poll},
};

/// The most that wait here; more wait in the kernel's backlog.
const MOST: usize = 64;
/// Bytes of a request's head that are looked at. What is longer waits.
const HEAD: usize = 2048;

/// One who came.
pub struct Caller {
    /// The connection, unread.
    pub socket: Async<TcpStream>,
    /// From where.
    pub remote: SocketAddr,
    /// Whether by a socket unit's socket.
    pub given: bool,
    waits: bool,
}

/// A listening socket, and whether it is a socket unit's.
pub type Listener = (Rc<Async<TcpListener>>, bool);

/// Takes in who connects, and answers who asks for a page; to be polled until somebody lets them in.
pub fn receive(listeners: &[Listener], callers: &mut Vec<Caller>, cx: &mut Context<'_>) {
    for (listener, given) in listeners {
        while callers.len() < MOST
            && let Poll::Ready(Ok((socket, remote))) = listener.poll_accept(cx)
        {
            callers.push(Caller { socket, remote, given: *given, waits: false });
        }
    }
    callers.retain_mut(|caller| caller.waits || caller.is_to_wait(cx));
}

impl Caller {
    /// Whether it is no answered request, and not gone.
    fn is_to_wait(&mut self, cx: &mut Context<'_>) -> bool {
        let mut bytes = [0; HEAD];
        let seen = match self.socket.poll_with(cx, |socket| socket.peek(&mut bytes)) {
            Poll::Pending => return true,
            Poll::Ready(Err(_) | Ok(0)) => return false,
            Poll::Ready(Ok(n)) => &mut bytes[..n],
        };
        let (path, length) = match Beginning::of(seen) {
            Beginning::Get(path, length) => (path, length),
            Beginning::Part if seen.len() < HEAD => {
                self.socket.wait_readable(cx);
                return true;
            }
            _ => {
                self.waits = true;
                return true;
            }
        };
        let Page { status, kind, body } = page(&path);
        let head = format!("HTTP/1.1 {status} \r\nContent-Type: {kind}\r\nConnection: close\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut socket = self.socket.get_ref();
        // What is left unread would be answered with a reset. It fits into any socket's buffer.
        let _ = socket.read_exact(&mut seen[..length]).and_then(|()| socket.write_all(answer.as_bytes()));
        false
    }
}

fn page(path: &str) -> Page {
    match path {
        "/health" | "/healthz" => Page::json(200, LIVE),
        _ => Page::json(503, r#"{"ready":false,"reason":"waiting for the kernel's random numbers"}"#),
    }
}
