//! The parts of a handshake that are computed, by the library's own functions in this process; and what is
//! computed in every gateway: one bare verification.

use crate::{
    Run,
    rig::{Failure, Offer, TOKEN, connect_frame, stranger, us},
    table::{Cell, Column, Table},
};
use barnacle::internals::{
    auth::{
        Facts, decide,
        identity::{verify, verify_by},
        payload::Payload,
        policy::{Bearer, Bootstrap, Shared},
        prepared::PreparedKey,
    },
    protocol::{Connect, PublicKey, RequestFrame, Role, Scopes},
    store::{Display, Grant, Registry, Store, Via, atomic},
};
use ed25519_dalek::{Signature, Signer, SigningKey};
use std::{
    convert::Infallible,
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

/// Each is too short for the clock, so a time is that of this many, shared out.
const TOGETHER: u32 = 16;

/// Parse, verify, decide, and the verification alone.
pub fn computed(table: &mut Table, run: &Run) -> Result<(), Failure> {
    const PART: &str = "parts";
    let rounds = run.rounds(500);
    let me = stranger()?;
    let nonce = "n".repeat(32);
    let text = connect_frame(&Offer { device: Some(&me), token: Some(TOKEN) }, &nonce, 1);
    let mut put = |what: &str, column, cell| table.put(PART, what, "µs", column, cell);

    let parse =
        || RequestFrame::parse(black_box(&text)).map(|r| r.params().is_ok_and(|p| Connect::read(&p).is_ok()));
    put("parse of connect", Column::Barnacle, timed(rounds, || parse().is_ok_and(|read| read)));

    let request = RequestFrame::parse(&text).map_err(|_| "the frame does not parse")?;
    let params = request.params().map_err(|_| "the frame has no params")?;
    let connect = Connect::read(&params).map_err(|_| "the frame is no connect")?;
    let device = connect.device.as_ref().ok_or("no device in the frame")?;
    let payload = Payload {
        device_id: device.id,
        client_id: connect.client.id,
        client_mode: connect.client.mode,
        role: connect.role,
        scopes: &connect.scopes,
        signed_at: device.signed_at,
        nonce: &nonce,
        platform: connect.client.platform.unwrap_or_default(),
        device_family: "",
    };
    let key = PublicKey::parse(device.public_key).ok_or("no key in the frame")?;
    let tokens: Vec<&str> = connect.auth.signed_tokens().collect();
    let proven = || verify(black_box(&key), device.signature, &payload, &tokens).is_ok();
    const FIRST: &str = "verify of its signature, first visit";
    const LATER: &str = "verify of its signature, later visits";
    put(FIRST, Column::Barnacle, timed(rounds, proven));
    let prepared = PreparedKey::new(&key).ok_or("the key is no point")?.with_comb();
    let proven =
        || verify_by(black_box(&prepared), device.signature, &payload, tokens.iter().copied()).is_ok();
    put(LATER, Column::Barnacle, timed(rounds, proven));
    let bare = SigningKey::from_bytes(&[7; 32]);
    let message = [7; 250];
    let signature: Signature = bare.sign(&message);
    let bare = || {
        let key = ed25519_dalek::VerifyingKey::from_bytes(black_box(&bare.verifying_key().to_bytes()));
        key.is_ok_and(|key| key.verify_strict(&message, &signature).is_ok())
    };
    put(FIRST, Column::Floor, timed(rounds, bare));
    put(LATER, Column::Floor, timed(rounds, bare));

    let grant = Grant::new(Role::Operator, Scopes::from_names(connect.scopes.iter().copied()), 0);
    let facts = Facts {
        role: Role::Operator,
        requested: grant.scopes,
        device: true,
        known: true,
        grant: Some(&grant),
        removed: false,
        shared: Shared::Missing,
        bearer: Bearer::Good,
        bootstrap: Bootstrap::None,
        local: true,
        auto_approve_local: true,
        key_proof: true,
        locked: None,
        control_ui: false,
        control_ui_without_device: false,
    };
    put(
        "decide",
        Column::Barnacle,
        timed(rounds, || {
            matches!(decide(black_box(&facts)), barnacle::internals::auth::Verdict::Admit { .. })
        }),
    );
    Ok(())
}

/// How long one takes; an error if it fails.
fn timed(rounds: usize, mut one: impl FnMut() -> bool) -> Result<Cell, Failure> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        for _ in 0..TOGETHER {
            if !black_box(one()) {
                return Err("it fails".into());
            }
        }
        times.push(us(began.elapsed()) / f64::from(TOGETHER));
    }
    times.sort_by(f64::total_cmp);
    Ok(Cell::Spread(times))
}

/// One change of a store of a hundred devices, until it is on the disk of `dir`, in turn with the disk's own
/// time: write, `fsync`, rename, `fsync` of the directory.
pub fn commit(table: &mut Table, run: &Run, dir: &Path) -> Result<(), Failure> {
    let dir = dir.join(format!("bench-store-{}", std::process::id()));
    let measured = commits(&dir, run.rounds(200));
    fs::remove_dir_all(&dir)?;
    let (floor, times) = measured?;
    const WHAT: &str = "a change of 100 devices' store, until on disk";
    table.put("commit", WHAT, "µs", Column::Barnacle, Ok(Cell::times(times)));
    table.put("commit", WHAT, "µs", Column::Floor, Ok(Cell::times(floor)));
    Ok(())
}

fn commits(dir: &Path, rounds: usize) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
    let store = Store::open(dir).map_err(|e| e.to_string())?.0;
    let key = |n: u8| PublicKey([n; 32]);
    let pair = |registry: &mut Registry| {
        let scopes = Scopes::from_names(["operator.read", "operator.write"]);
        for n in 1..=100 {
            registry.approve(key(n), Role::Operator, scopes, &Display::default(), Via::Operator, 0);
        }
        Ok::<_, Infallible>(())
    };
    smol::block_on(store.change(pair)).map_err(|e| format!("{e:?}"))?;
    let bytes = fs::read(dir.join("tokens.bin"))?;
    let (mut floor, mut times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        atomic::replace(&dir.join("floor"), &bytes, 0o600)?;
        floor.push(began.elapsed());
        let began = Instant::now();
        let rotate = |registry: &mut Registry| {
            let grant = registry.device_mut(&key(1).device_id()).and_then(|d| d.grant_mut(Role::Operator));
            grant.map(|g| g.generation += 1).ok_or("no such device")
        };
        smol::block_on(store.change(rotate)).map_err(|e| format!("{e:?}"))?;
        times.push(began.elapsed());
    }
    Ok((floor, times))
}
