//! Connections that arrive before the kernel's random generator is ready. Plain HTTP is answered, as a supervisor asks
//! that way; all others wait, connected, until they can be served.

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

/// A connection in the queue.
pub(super) struct Waiting {
    /// Socket, not read from yet.
    pub socket: Async<TcpStream>,
    pub remote: SocketAddr,
    /// Whether a socket unit's socket accepted it.
    pub given: bool,
    /// Whether it was looked at, and is no plain HTTP.
    other: bool,
}

/// A listening socket, and whether it is a socket unit's.
pub(super) type Listener = (Rc<Async<TcpListener>>, bool);

/// Accepts connections and answers plain HTTP; to be polled until they can be served.
pub(super) fn receive(listeners: &[Listener], queue: &mut Vec<Waiting>, cx: &mut Context<'_>) {
    for (listener, given) in listeners {
        while queue.len() < MOST
            && let Poll::Ready(Ok((socket, remote))) = listener.poll_accept(cx)
        {
            queue.push(Waiting { socket, remote, given: *given, other: false });
        }
    }
    queue.retain_mut(|waiting| waiting.other || waiting.is_to_wait(cx));
}

impl Waiting {
    /// Whether it is still connected, and was not answered just now.
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
                self.other = true;
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
