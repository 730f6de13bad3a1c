//! The state that crosses a restart, as bytes: the formats of the releases are read for ever, and what is damaged is
//! not.

use barnacle::internals::{
    auth::Basis,
    handoff::{DamagedState, STATE_FORMAT, State, StateFormat, section_names},
    hub::{SavedConn, SavedPending, Stage},
    protocol::{Role, TokenHash},
};

/// Saved by b4befac: see `tests/upgrade/scene.rs`.
const FORMAT_2: &[u8] = include_bytes!("../upgrade/state-format-2.bin");
/// The same state in format 3, as the first version that had it wrote it.
const FORMAT_3: &[u8] = include_bytes!("../upgrade/state-format-3.bin");

fn open(bytes: &[u8]) -> State {
    STATE_FORMAT.open(bytes).unwrap()
}

fn conns(state: &State) -> Vec<SavedConn> {
    state.memory.conns.read().map(Option::unwrap).collect()
}

fn pending(state: &State) -> Vec<SavedPending> {
    state.memory.pending_conns.read().map(Option::unwrap).collect()
}

#[track_caller]
fn is_the_scene(state: &State) {
    const BOOT: u32 = 0x76a0_491a;
    assert_eq!((&*state.version, &*state.why, state.since_ns), ("0.1.0", "", 3_956_097_361_333));
    let lock = state.lock.clone().unwrap();
    assert!(lock.0.ends_with("/.openclaw/barnacle") && lock.1 > 2, "{lock:?}");
    assert_eq!((state.shared_auth.open, state.shared_auth.secret), (false, Some(TokenHash::of("T1"))));
    assert_eq!((&*state.listeners, &*state.given, state.epoll), (&[3, 6][..], &[][..], Some(4)));
    let m = &state.memory;
    assert_eq!((m.boot, m.started_ns, m.started_ms, m.next), (BOOT, 3_955_917_866_475, 1_795_997_177_218, 6));
    assert_eq!((m.presence, m.presence_pending), (3, true));
    assert_eq!((m.tick_ns, m.late_ticks, m.reloads), (3_970_944_268_184, 0, 0));
    let contact = ("23d75291-57d0-47d4-bb23-e95993bc356b".to_owned(), 3_956_096_119_763);
    assert_eq!(m.contacts.iter().map(|(id, at)| (id.0.clone(), *at)).collect::<Vec<_>>(), [contact]);
    let [(seen, ms, None)] = &m.seen[..] else { panic!("{:?}", m.seen) };
    assert_eq!((seen.short(), *ms), ("79a38769".into(), 1_795_997_177_361));
    assert_eq!(m.unknown_requests, (0, None));
    let guess = format!("{:?}", m.guesses);
    assert!(guess.contains(r#"ip: "127.0.0.1", loopback: false"#) && guess.contains("5bd3daf6"), "{guess}");
    assert!(guess.contains("locked_until: None, locks: 0"), "{guess}");
    assert_eq!((m.restarts.count, m.restarts.carried, &*m.restarts.why), (0, 0, ""));
    let journal = format!("{:?}", m.journal);
    assert!(journal.contains("INFO listening on") && journal.contains("end: 2305"), "{journal}");
    let [invocation] = &m.invocations[..] else { panic!("{:?}", m.invocations) };
    let asked = &invocation.asked;
    assert_eq!((asked.node.number, asked.caller.number, &*asked.request), (4, 2, "r1"));
    assert_eq!((&*asked.id, &*asked.command), ("adcf564a-24d0-42de-9e06-2ed36a0f47fc", "system.notify"));
    assert_eq!((asked.device.short(), asked.timeout_ms), ("2b9dad21".into(), 600_000));
    assert_eq!(invocation.until_ns, 4_556_088_483_235);

    let all = conns(state);
    let facts = |c: &SavedConn| {
        let s = &c.session;
        let client = s.client.client_id.clone().unwrap();
        (s.id.number, s.role, s.device.map(|d| d.short()), client, s.scopes.names().len(), c.socket.fd, c.seq)
    };
    let device = |short: &str| Some(short.to_owned());
    assert_eq!(
        all.iter().map(facts).collect::<Vec<_>>(),
        [
            (1, Role::Operator, None, "cli".into(), 5, 19, 4),
            (2, Role::Operator, device("28fb8ebc"), "openclaw-tui".into(), 5, 21, 4),
            (4, Role::Node, device("2b9dad21"), "node-host".into(), 0, 22, 0),
            (5, Role::Operator, None, "cli".into(), 1, 23, 0),
        ]
    );
    let modes: Vec<_> = all.iter().map(|c| c.session.mode().to_owned()).collect();
    assert_eq!(modes, ["cli", "ui", "node", "cli"]);
    for conn in &all {
        let s = &conn.session;
        assert_eq!((s.id.boot, s.protocol, s.basis, s.local), (BOOT, 4, Basis::Shared, true));
        assert_eq!((s.requested, &s.instance, s.subscriptions.len()), (s.scopes, &None, 0));
        assert_eq!(s.client.ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(
            (s.client.platform.as_deref(), s.client.version.as_deref()),
            (Some("linux"), Some("1.0.0"))
        );
        assert_eq!((&conn.close, conn.quiet, &*conn.output), (&None, 0, &[][..]));
        assert_eq!(conn.socket.cookie, None);
    }
    assert_eq!(all[2].session.declared().commands, ["system.notify", "camera.snap"]);
    let attached: Vec<_> = all.iter().map(|c| c.session.connected_ms).collect();
    assert_eq!(attached, [1_795_997_177_246, 1_795_997_177_256, 1_795_997_177_368, 1_795_997_177_389]);
    // The last one is in the middle of a frame: masked, of less than 126 bytes.
    let input = &all[3].input;
    assert!(input[0] == 0x81 && input[1] & 0x80 != 0 && usize::from(input[1] & 0x7f) + 6 > input.len());
    assert!(all[..3].iter().all(|c| c.input.is_empty()));

    let all = pending(state);
    let Stage::Challenged(challenged) = &all[0].stage else { panic!("{:?}", all[0]) };
    assert_eq!(challenged.nonce, "6i00mJvn9qiN_E3z-u4JkSFnrkLqLPb-");
    assert!(challenged.connect.get().is_none());
    let peer = &challenged.peer;
    assert_eq!(
        (peer.ip.to_string(), peer.local, peer.loopback, peer.proxied),
        ("127.0.0.1".into(), true, true, false)
    );
    assert_eq!((peer.host.as_deref(), peer.origin.as_deref()), (Some("127.0.0.1:45825"), None));
    assert!(matches!(all[1].stage, Stage::Head) && all[1].input == b"GET /heal");
    let of = |p: &SavedPending| (p.socket.fd, p.until_ns, p.output.len(), p.close.clone());
    assert_eq!(all.len(), 2);
    assert_eq!(of(&all[0]), (24, 3_971_089_252_871, 0, None));
    assert_eq!((of(&all[1]).1, of(&all[1]).2), (3_971_089_320_180, 0));
}

#[test]
fn format_2_is_read_and_written_as_the_release_before_does() {
    let state = open(FORMAT_2);
    is_the_scene(&state);
    assert_eq!(STATE_FORMAT.seal(&state, 2).bytes(), FORMAT_2);
}

#[test]
fn format_3_holds_all_that_format_2_does() {
    let sealed = STATE_FORMAT.seal(&open(FORMAT_2), 3).bytes();
    if let Some(path) = std::env::var_os("BARNACLE_STATE") {
        std::fs::write(path, &sealed).unwrap();
    }
    for state in [open(&sealed), open(FORMAT_3)] {
        is_the_scene(&state);
        assert_eq!(STATE_FORMAT.seal(&state, 2).bytes(), FORMAT_2);
    }
}

#[test]
fn each_section_may_be_unknown_or_missing() {
    let state = open(FORMAT_2);
    let required = ["origin", "boot", "sockets", "connections", "pending"];
    for (name, version) in section_names() {
        let without = StateFormat { unknown: vec![name].leak(), version: "0.0.9", ..STATE_FORMAT };
        // What the one does not write the other does without, and what the one does not know it skips.
        let missing = STATE_FORMAT.open(&without.seal(&state, 3).bytes());
        let skipped = without.open(&STATE_FORMAT.seal(&state, 3).bytes());
        // A newer version of it counts as one that is not known.
        let newer: &'static [_] = vec![(name, version + 1, &b"\xff\xff"[..])].leak();
        let newer = StateFormat { more: newer, ..without }.seal(&state, 3).bytes();
        let newer = STATE_FORMAT.open(&newer);
        for read in [missing, skipped, newer] {
            match read {
                Ok(read) => {
                    assert!(!required.contains(&name), "{name}");
                    assert_eq!(conns(&read), conns(&state), "{name}");
                }
                Err(e) => {
                    assert!(required.contains(&name), "{name}: {e}");
                    assert!(matches!(e, DamagedState::Missing(missing, _) if missing == name), "{e}");
                }
            }
        }
    }
    // One that nobody knows yet, with bytes that make no sense.
    let more =
        StateFormat { more: &[("weather", 7, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff")], ..STATE_FORMAT };
    is_the_scene(&open(&more.seal(&state, 3).bytes()));
}

#[test]
fn what_is_damaged_is_not_decoded() {
    for whole in [FORMAT_2, FORMAT_3] {
        for end in 0..whole.len() {
            assert!(matches!(STATE_FORMAT.open(&whole[..end]), Err(DamagedState::Broken(_))), "{end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            assert!(matches!(STATE_FORMAT.open(&bytes), Err(DamagedState::Broken(_))), "{at}");
        }
        let longer = [whole, b"x"].concat();
        assert!(matches!(STATE_FORMAT.open(&longer), Err(DamagedState::Broken(_))));
    }
}

#[test]
fn a_format_that_is_not_read_is_named() {
    let four = StateFormat { writes: &[4], ..STATE_FORMAT };
    let e = STATE_FORMAT.open(&four.seal(&open(FORMAT_2), 4).bytes()).unwrap_err();
    // The words by which every version knows that it may offer an older format.
    assert!(e.to_string().starts_with("the state has format 4, which Barnacle "), "{e}");
    assert!(e.to_string().ends_with(" does not read"), "{e}");
}
