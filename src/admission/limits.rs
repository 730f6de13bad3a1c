//! Every limit on what peers can use: its value, the reason for it, and the effect of reaching it.
//!
//! `docs/limits.md` is generated from `table.rs`; a test compares the two.

use std::time::Duration;

/// Connections that have not attached, at most; fewer where descriptors are few ([`Places`]).
pub const PENDING: usize = 4096;
/// Pending connections of one IPv4 address or one IPv6 network.
pub const PENDING_OF_ONE: usize = 64;
/// Connections of one device that are attached.
pub const ATTACHED_OF_DEVICE: usize = 64;
/// Descriptors that no connection gets: what runs anyway, a write of the store, a reload, a restart, the command line.
pub const RESERVED_DESCRIPTORS: usize = 44;
/// Further descriptors of that kind in front of another gateway: the connection that watches it, and idle ones to it.
pub const RESERVED_IN_FRONT: usize = 8;
/// Places for connections, however few descriptors there are.
const LEAST_PLACES: usize = 8;
/// Bytes of an unfinished `connect` that are not charged: an ordinary one fits.
pub const CONNECT_FREE: usize = 8 << 10;
/// Bytes of unfinished `connect` frames beyond that, of all connections.
pub const CONNECT_BYTES: usize = 4 << 20;
/// Bytes of an attached connection's unfinished message that are not charged.
pub const MESSAGE_FREE: usize = 64 << 10;
/// Bytes of unfinished messages beyond that, of all attached connections.
pub const MESSAGE_BYTES: usize = 64 << 20;
/// Bytes of unfinished messages of one device or one address.
pub const MESSAGE_BYTES_OF_ONE: usize = 32 << 20;
/// The time in which a message must be whole.
pub const MESSAGE_TIME: Duration = Duration::from_secs(120);
/// Time in which a peer must read some of what is sent to it.
pub const STALLED: Duration = Duration::from_secs(60);
/// Unsent bytes of all attached connections, beyond which one that is far behind is closed.
pub const UNSENT_BYTES: usize = 32 << 20;
/// Bytes of all clients' requests that wait for the gateway behind this one, or may have to be sent to it again.
pub const RELAYED_BYTES: usize = 32 << 20;
/// Requests of one connection that may be under way together.
pub const IN_FLIGHT: u32 = 64;
/// The largest `params` of a method that carries no content, bytes.
pub const PARAMS: usize = 64 << 10;
/// Log lines about refusals of one kind and one source within [`REFUSAL_WINDOW`].
pub const REFUSAL_LINES: u32 = 5;
/// The time after which they are counted anew.
pub const REFUSAL_WINDOW: Duration = Duration::from_secs(60);
/// Pairing requests of one source that wait for approval.
pub const REQUESTS_OF_ONE: usize = 32;
/// New pairing requests of one source that are written at once; one more every [`REQUEST_EVERY`].
pub const REQUEST_WRITES: u32 = 32;
/// The time after which a source may write one more.
pub const REQUEST_EVERY: Duration = Duration::from_secs(10);
/// Keys of paired devices whose multiples are kept, 10 KB each; in proportion fewer where memory is below 256 MiB.
pub const COMBS: usize = 64;

/// Shares of a process's descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    /// Connections that have not attached.
    pub pending: usize,
    /// Attached connections.
    pub attached: usize,
}

impl Places {
    /// The places of a process that may open `descriptors`. In front of another gateway each connection has a second one,
    /// to that gateway.
    pub fn of(descriptors: usize, in_front: bool) -> Self {
        let free = descriptors.saturating_sub(RESERVED_DESCRIPTORS);
        let free = if in_front { free.saturating_sub(RESERVED_IN_FRONT) / 2 } else { free };
        let all = free.max(LEAST_PLACES);
        let pending = (all / 4).clamp(LEAST_PLACES / 2, PENDING);
        Self { pending, attached: all - pending }
    }

    /// The places of this process.
    pub fn of_process(in_front: bool) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self::of(limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)), in_front)
    }

    /// The attached connections of one device.
    pub fn of_device(attached: usize) -> usize {
        (attached / 3).clamp(1, ATTACHED_OF_DEVICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_descriptors() {
        let rows = [
            (0, 4, 4),
            (64, 5, 15),
            (256, 53, 159),
            (1024, 245, 735),
            (65_536, 4096, 61_396),
            (usize::MAX, 4096, usize::MAX - RESERVED_DESCRIPTORS - 4096),
        ];
        for (descriptors, pending, attached) in rows {
            assert_eq!(Places::of(descriptors, false), Places { pending, attached }, "{descriptors}");
        }
        for descriptors in [64, 110, 1024, 65_536] {
            let Places { pending, attached } = Places::of(descriptors, true);
            let least = RESERVED_DESCRIPTORS + RESERVED_IN_FRONT + 2 * LEAST_PLACES;
            let taken = 2 * (pending + attached) + RESERVED_DESCRIPTORS + RESERVED_IN_FRONT;
            assert!(taken <= descriptors.max(least) && taken + 2 > descriptors, "{descriptors}: {taken}");
        }
        let of_device = [(4, 1), (15, 5), (159, 53), (735, 64), (usize::MAX, 64)];
        of_device.iter().for_each(|(attached, most)| assert_eq!(Places::of_device(*attached), *most));
    }
}
