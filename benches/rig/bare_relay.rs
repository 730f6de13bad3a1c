//! A relay that does nothing: what comes by one socket goes out by the other, in a process of its own. It is the least that
//! standing between two programs costs.

use super::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

/// The first argument of a program that is to be the relay.
const ROLE: &str = "bare-relay";

/// The process of one.
pub struct BareRelay {
    pub child: Child,
    /// Where it listens.
    pub at: SocketAddr,
}

impl BareRelay {
    /// Starts this program again, as a relay to `behind`.
    pub fn start(behind: SocketAddr) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.args([ROLE, &behind.to_string()]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, at: line.trim().parse()? })
    }

    /// Is the relay, where this program was started as one.
    pub fn serve_if_asked() -> Result<(), Failure> {
        let args: Vec<String> = env::args().skip(1).collect();
        let [role, behind] = args.as_slice() else { return Ok(()) };
        if role != ROLE {
            return Ok(());
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (client, _) = listener.accept()?;
            // Its end is the end of one client, and of nothing else.
            let _ = pass(client, TcpStream::connect(behind)?);
        }
    }
}

impl Drop for BareRelay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes bytes both ways until one side ends.
fn pass(client: TcpStream, behind: TcpStream) -> Result<(), Failure> {
    client.set_nodelay(true)?;
    behind.set_nodelay(true)?;
    let mut bytes = vec![0; 64 << 10];
    loop {
        let ready = {
            let mut both = [PollFd::new(&client, PollFlags::IN), PollFd::new(&behind, PollFlags::IN)];
            poll(&mut both, None)?;
            both.map(|side| !side.revents().is_empty())
        };
        for (ready, mut from, mut to) in [(ready[0], &client, &behind), (ready[1], &behind, &client)] {
            if ready {
                let n = from.read(&mut bytes)?;
                if n == 0 {
                    return Ok(());
                }
                to.write_all(&bytes[..n])?;
            }
        }
    }
}
