//! Idle connections to a peer, kept for the next request.

use super::{Url, http::Connection};
use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

/// Most idle connections.
const MOST: usize = 4;
/// Time for which one is kept; Node's HTTP server closes its own after 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections. Nobody reads them meanwhile, so one may turn out to be closed when it is used.
#[derive(Default)]
pub struct Pool(RefCell<Vec<(Instant, Url, Connection)>>);

impl Pool {
    /// Takes the connection to `url` that was used last.
    pub fn take(&self, url: &Url) -> Option<Connection> {
        let mut idle = self.0.borrow_mut();
        idle.retain(|(since, ..)| since.elapsed() < IDLE);
        let at = idle.iter().rposition(|(_, to, _)| to == url)?;
        Some(idle.remove(at).2)
    }

    /// Keeps a connection to `url`, in place of the one that is idle for longest if there are too many.
    pub fn give(&self, url: &Url, connection: Connection) {
        let mut idle = self.0.borrow_mut();
        idle.retain(|(since, ..)| since.elapsed() < IDLE);
        if idle.len() == MOST {
            idle.remove(0);
        }
        idle.push((Instant::now(), url.clone(), connection));
    }
}
