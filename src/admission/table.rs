//! The table of every limit, which is `docs/limits.md`.

use super::limits::*;
use std::{fmt::Write as _, time::Duration};

/// A limit, as `docs/limits.md` shows it.
struct Limit {
    /// What is limited.
    what: &'static str,
    /// The value.
    value: Value,
    /// The configuration key, if there is one.
    key: Option<&'static str>,
    /// What happens when it is reached.
    full: &'static str,
    /// Why there is a limit, and why this one.
    why: &'static str,
}

/// The value of a limit.
enum Value {
    /// So many.
    Count(usize),
    /// So many bytes.
    Bytes(usize),
    /// So long.
    Time(Duration),
    /// A rule.
    Rule(&'static str),
}

use Value::{Bytes, Count, Rule, Time};

/// Every limit.
const LIMITS: &[Limit] = &[
    Limit {
        what: "connections that have not attached",
        value: Count(PENDING),
        key: None,
        full: "the oldest of the source that has most makes room; accepting never stops",
        why: "a flood of silent connections keeps no paired device out; fewer where `RLIMIT_NOFILE` is small: a \
              quarter of the connections that it allows",
    },
    Limit {
        what: "those of one IPv4 address or IPv6 /64",
        value: Count(PENDING_OF_ONE),
        key: None,
        full: "its oldest one makes room",
        why: "whoever has one address of an IPv6 network has all of its /64; this host has no share, as a proxy's \
              clients all come from it",
    },
    Limit {
        what: "time to attach",
        value: Rule("15 s"),
        key: Some("gateway.handshakeTimeoutMs"),
        full: "closed",
        why: "a connection that says nothing is of no use",
    },
    Limit {
        what: "attached connections of one device",
        value: Count(ATTACHED_OF_DEVICE),
        key: None,
        full: "one of its own that missed a keepalive makes room; else the new one is refused, UNAVAILABLE",
        why: "one device cannot take all descriptors; a device whose network comes and goes is not locked out by its \
              own dead connections. At most a third of all that may attach",
    },
    Limit {
        what: "attached connections",
        value: Rule("three quarters of RLIMIT_NOFILE, less the reserve"),
        key: None,
        full: "refused, UNAVAILABLE",
        why: "each is a descriptor; in front of OpenClaw two, so half as many",
    },
    Limit {
        what: "descriptors that no connection gets",
        value: Count(RESERVED_DESCRIPTORS),
        key: None,
        full: "-",
        why: "the store, the configuration, a restart and the command line work however many connections there are",
    },
    Limit {
        what: "a frame before attaching",
        value: Bytes(crate::protocol::MAX_CONNECT_FRAME),
        key: None,
        full: "refused, close 1009",
        why: "a `connect` is 2 KiB, that of a node with hundreds of commands 30",
    },
    Limit {
        what: "unfinished `connect` frames of all, beyond 8 KiB each",
        value: Bytes(CONNECT_BYTES),
        key: None,
        full: "the largest of the source that holds most is closed",
        why: "memory for nobody known; an ordinary `connect` is not charged",
    },
    Limit {
        what: "a message of an attached client",
        value: Bytes(crate::protocol::MAX_PAYLOAD),
        key: None,
        full: "close 1009",
        why: "`policy.maxPayload` of the protocol",
    },
    Limit {
        what: "unfinished messages of all attached clients, beyond 64 KiB each",
        value: Bytes(MESSAGE_BYTES),
        key: None,
        full: "the largest of the device that holds most is closed, 1008",
        why: "two whole messages and more; a board has 512 MiB",
    },
    Limit {
        what: "those of one device or address",
        value: Bytes(MESSAGE_BYTES_OF_ONE),
        key: None,
        full: "its largest is closed, 1008",
        why: "one whole message and more",
    },
    Limit {
        what: "time for a message to be whole",
        value: Time(MESSAGE_TIME),
        key: None,
        full: "close 1008",
        why: "25 MiB at 1.8 Mbit/s; what never ends holds its memory no longer",
    },
    Limit {
        what: "`params` of a method that carries no content",
        value: Bytes(PARAMS),
        key: None,
        full: "answered INVALID_REQUEST by id; the connection stays",
        why: "what is not read is not to be carried; `node.invoke`, its result and configuration texts have more",
    },
    Limit {
        what: "requests of one connection under way",
        value: Count(IN_FLIGHT as usize),
        key: None,
        full: "answered UNAVAILABLE, again after 100 ms",
        why: "each is a task",
    },
    Limit {
        what: "bytes that wait for a client behind the message now being sent",
        value: Bytes(crate::protocol::MAX_BUFFERED),
        key: None,
        full: "a large message is answered to its sender as not delivered; a client that is behind with small ones is \
               closed, 1008",
        why: "`policy.maxBufferedBytes`: what a reader has not taken, not the size of a picture",
    },
    Limit {
        what: "bytes that wait for all attached clients together",
        value: Bytes(UNSENT_BYTES),
        key: None,
        full: "a client that is more than 256 KiB behind is closed with its next frame, 1008 slow consumer",
        why: "64 connections of one device that ask and never read take no more memory than one",
    },
    Limit {
        what: "bytes of all clients' requests that wait for the gateway behind this one, or may have to be sent again",
        value: Bytes(RELAYED_BYTES),
        key: None,
        full: "a request that would have to wait is answered `UNAVAILABLE`, to be tried again; one that is sent is not sent a second time",
        why: "clients that ask while OpenClaw is away take no memory from others; one client's share is `upstream.waitBytes`",
    },
    Limit {
        what: "time in which a client that is sent something takes a part of it",
        value: Time(STALLED),
        key: None,
        full: "close 1008 slow consumer",
        why: "a client that has stopped reading holds memory",
    },
    Limit {
        what: "a log line",
        value: Bytes(crate::journal::LINE),
        key: None,
        full: "cut",
        why: "some lines quote what a peer sent",
    },
    Limit {
        what: "lines about refusals of one source and kind in a minute",
        value: Count(REFUSAL_LINES as usize),
        key: None,
        full: "counted, and the count is logged once a minute",
        why: "a log on an SD card, and one that is read",
    },
    Limit {
        what: "lines that wait for standard error",
        value: Bytes(crate::journal::BACKLOG),
        key: None,
        full: "dropped, counted, and the count is logged",
        why: "a reader that stops reading does not stop the gateway",
    },
    Limit {
        what: "lines kept for `barnacle logs`",
        value: Bytes(crate::journal::RING + crate::journal::PEER_RING),
        key: None,
        full: "the oldest go; those about peers have a part of their own and push out no others",
        why: "peers cannot push out what an operator needs",
    },
    Limit {
        what: "wrong shared secrets of one address",
        value: Rule("10 different ones in 60 s; ten times as many from this host"),
        key: Some("gateway.auth.rateLimit"),
        full: "refused for 30 s, then twice as long each time, up to 5 minutes",
        why: "a secret is not to be guessed; the same wrong one counts once",
    },
    Limit {
        what: "pairing requests of one source that wait",
        value: Count(REQUESTS_OF_ONE),
        key: None,
        full: "its oldest goes",
        why: "one holder of the shared secret pushes out nobody else's request",
    },
    Limit {
        what: "new pairing requests of one source",
        value: Rule("32 at once, then one every 10 s"),
        key: None,
        full: "refused, UNAVAILABLE",
        why: "each is a write to an SD card",
    },
    Limit {
        what: "keys of paired devices that are kept with their multiples, 10 KB each",
        value: Count(COMBS),
        key: None,
        full: "a key that was not used for ten minutes makes room; else the device is let in by more work",
        why: "a reconnect takes half of the work; in proportion fewer where memory is below 256 MiB, and none while less \
              than a sixteenth of it is available",
    },
];

/// The text of `docs/limits.md`.
fn document() -> String {
    let mut out = String::from(
        "# Limits\n\n\
         What one peer can take from others, and what happens when it asks for more. Connections, memory and log \
         lines are budgets of one shape (`src/admission`): a total, a share of each source, and a rule for who makes \
         room when it is full. A source is this host, an IPv4 address, an IPv6 network of 64 bits, or a device that \
         proved its key. `status` shows how full each budget is and how often it was reached; a log line says so at \
         most once a minute.\n\n\
         Generated from `src/admission/table.rs`; a test compares the two.\n\n\
         | limit | value | key | when it is reached | why |\n| --- | --- | --- | --- | --- |\n",
    );
    for Limit { what, value, key, full, why } in LIMITS {
        let key = key.map_or("-".to_owned(), |key| format!("`{key}`"));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {what} | {} | {key} | {full} | {why} |", text(value));
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Count(n) => n.to_string(),
        Bytes(n) if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        Bytes(n) if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        Bytes(n) => format!("{n} bytes"),
        Time(time) => format!("{} s", time.as_secs()),
        Rule(rule) => (*rule).to_owned(),
    }
}

/// `BARNACLE_WRITE_DOCS=1 cargo test` writes it.
#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");
    if std::env::var_os("BARNACLE_WRITE_DOCS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), document());
}
