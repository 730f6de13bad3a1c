//! A peer made by hand: a listening socket, and for each connection what the test says.

use crate::wire::LONG;
use barnacle::internals::{
    outbound::{Limits, Url},
    tls::{Certificate, Files, Trust},
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    thread,
    time::Duration,
};

/// One connection, with or without TLS.
pub trait Socket: Read + Write + Send {}

impl<T: Read + Write + Send> Socket for T {}

/// Whoever is dialled: what it does with its one connection after the other.
pub struct Peer {
    pub at: SocketAddr,
}

impl Peer {
    /// Serves each connection of one after the other with `serve`.
    pub fn plain(serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        Self::listen("127.0.0.1:0", serve)
    }

    fn listen(at: &str, mut serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(LONG)).unwrap();
                socket.set_write_timeout(Some(LONG)).unwrap();
                serve(socket);
            }
        });
        Self { at }
    }

    /// The same by TLS, with the certificate in these files.
    pub fn tls(files: &Files, mut serve: impl FnMut(&mut dyn Socket) + Send + 'static) -> Self {
        let config = server_config(files);
        Self::listen("0.0.0.0:0", move |socket| {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, socket);
            serve(&mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    /// Answers every connection with these bytes after it has read a request, and closes it.
    pub fn says(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::plain(move |mut socket| {
            request(&mut socket);
            let _ = socket.write_all(&bytes);
        })
    }

    pub fn url(&self, scheme: &str, path: &str) -> Url {
        Url::parse(&format!("{scheme}://127.0.0.1:{}{path}", self.at.port())).unwrap()
    }
}

fn server_config(files: &Files) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// A certificate made for this host's names, in a folder that is gone with it.
pub struct Made {
    pub files: Files,
    pub fingerprint: String,
    dir: PathBuf,
}

impl Made {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("barnacle-peer-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let files = Files { cert: dir.join("cert.pem"), key: dir.join("key.pem"), generate: true };
        let made = Certificate::make(&files).unwrap();
        Self { fingerprint: made.fingerprint().into(), files, dir }
    }

    /// Whoever trusts this certificate as an authority.
    pub fn ca(&self) -> Trust {
        Trust::CaFile(self.files.cert.clone())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Reads up to the end of a request's head; the head, with what was read after it.
pub fn request(socket: &mut (impl Read + ?Sized)) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        match socket.read(&mut chunk) {
            Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Times that no test reaches, so that what ends it is what it is about.
pub fn patient() -> Limits {
    Limits { connect: LONG, idle: Some(LONG), deadline: Some(LONG) }
}

/// So short that it ends while the test waits.
pub const SHORT: Duration = Duration::from_millis(100);
