//! What a gateway does to those who stay: memory, idling, frames, and how long they miss it after a kill or a
//! restart.

use crate::{
    Run,
    floor::Floor,
    rig::{Client, Failure, OF_ONE_DEVICE, TOKEN, attach},
    subject::{PATIENCE, Subject},
    table::{Cell, Column, Table},
    ways::Paired,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Requests under way together when they are pipelined.
const PIPELINED: usize = 64;
/// Between two calls of whoever watches a restart.
const PACE: Duration = Duration::from_millis(2);

/// From its start until it takes a connection.
pub fn start(table: &mut Table, run: &Run, subject: &mut Subject) -> Result<(), Failure> {
    let count = if subject.column == Column::Barnacle { run.rounds(20) } else { run.rounds(3) };
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(subject.kill_and_start()?);
        subject.wait()?;
    }
    table.put("start", "start to listening", "µs", subject.column, Ok(Cell::times(times)));
    Ok(())
}

/// Resident memory, and what one more idle connection adds to it.
pub fn memory(table: &mut Table, run: &Run, subject: &mut Subject) -> Result<(), Failure> {
    const PART: &str = "memory";
    let column = subject.column;
    subject.kill_and_start()?;
    subject.wait()?;
    sleep(run.pause(5));
    let resident = subject.sum("status", &["VmRSS:"])?;
    table.put(PART, "resident, idle (all its processes)", "kB", column, Ok(Cell::One(resident)));
    let share = subject.sum("smaps_rollup", &["Pss:"]).map(Cell::One);
    table.put(PART, "the same, shared pages divided (Pss)", "kB", column, share);
    let private = |subject: &Subject| subject.sum("smaps_rollup", &["Private_Clean:", "Private_Dirty:"]);
    let (few, many) = match column {
        Column::Barnacle => (run.rounds(1_000), run.rounds(10_000)),
        _ => (100, 1_000),
    };
    let slope = || -> Result<Cell, Failure> {
        let paired = devices(subject, many)?;
        let mut clients = Vec::with_capacity(many);
        let mut at = |count: usize| -> Result<f64, Failure> {
            while clients.len() < count {
                let device = &paired[clients.len() / OF_ONE_DEVICE];
                clients.push(Client::attach(subject.at, &device.offer())?.0);
            }
            private(subject)
        };
        let (before, after) = (at(few)?, at(many)?);
        Ok(Cell::One((after - before) * 1024.0 / (many - few) as f64))
    };
    let cell = slope();
    table.put(PART, "one idle connection more (slope)", "bytes", column, cell);
    Ok(())
}

/// What it runs while nothing is asked of it.
pub fn idle(table: &mut Table, run: &Run, subject: &mut Subject) -> Result<(), Failure> {
    let column = subject.column;
    subject.kill_and_start()?;
    subject.wait()?;
    sleep(run.pause(5));
    let mut watch = |what: &str, seconds: u64, subject: &Subject| {
        let cell = (|| {
            let (before, began) = (subject.cpu()?, Instant::now());
            sleep(run.pause(seconds));
            let ran = (subject.cpu()? - before).as_secs_f64() * 1e3;
            Ok(Cell::One(ran * 60.0 / began.elapsed().as_secs_f64()))
        })();
        table.put("idle", what, "ms/min", column, cell);
    };
    watch("CPU at idle, nobody attached", 10, subject);
    let clients = crowd(subject, run.rounds(1_000), &[]).map(|(clients, _)| clients);
    match clients {
        Ok(_clients) => watch("CPU at idle, 1,000 attached (ticks)", 30, subject),
        Err(e) => table.put("idle", "CPU at idle, 1,000 attached (ticks)", "ms/min", column, Err(e)),
    }
    Ok(())
}

/// Requests that are answered a second, and what comes back in the order that it was asked for.
pub fn frames(table: &mut Table, run: &Run, subject: &Subject, floor: &Floor) -> Result<(), Failure> {
    let count = run.count(subject, 20_000);
    let mut client = attach(subject.at)?;
    let began = Instant::now();
    for _ in 0..count {
        let answer = client.call("health", "{}")?;
        if !answer.contains("\"ok\":true") {
            return Err(answer.into());
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    const ONE: &str = "health, one after the other";
    table.put("frames", ONE, "1/s", subject.column, Ok(Cell::One(rate)));
    if subject.column == Column::Barnacle {
        table.put("frames", ONE, "1/s", Column::Floor, floor.round_trips(count).map(Cell::One));
    }
    let began = Instant::now();
    for _ in 0..count.div_ceil(PIPELINED) {
        (0..PIPELINED).try_for_each(|_| client.ask("health", "{}"))?;
        (0..PIPELINED).try_for_each(|_| client.answer().map(drop))?;
    }
    let done = (count.div_ceil(PIPELINED) * PIPELINED) as f64;
    let cell = Ok(Cell::One(done / began.elapsed().as_secs_f64()));
    table.put("frames", "health, 64 under way on one connection", "1/s", subject.column, cell);
    Ok(())
}

/// What it writes while devices come and go.
pub fn writes(table: &mut Table, run: &Run, subject: &Subject) -> Result<(), Failure> {
    let paired = Paired::new(subject)?;
    let count = run.count(subject, 1_000);
    let before = subject.sum("io", &["write_bytes:"])?;
    for _ in 0..count {
        Client::attach(subject.at, &paired.offer())?.0.close()?;
    }
    let written = subject.sum("io", &["write_bytes:"])? - before;
    let cell = Ok(Cell::One(written / count as f64));
    table.put("writes", "written to disk for one reconnect", "bytes", subject.column, cell);
    Ok(())
}

/// After a `kill -9`: until the last of a thousand is attached again, the start included.
pub fn storm(table: &mut Table, run: &Run, subject: &mut Subject) -> Result<(), Failure> {
    let count = run.rounds(1_000);
    let paired = devices(subject, count)?;
    let mut times = Vec::new();
    let rounds = if subject.column == Column::Barnacle { run.rounds(5) } else { 1 };
    for _ in 0..rounds {
        let (clients, _) = crowd(subject, count, &paired)?;
        let began = Instant::now();
        subject.kill_and_start()?;
        drop(clients);
        let (clients, _) = crowd(subject, count, &paired)?;
        times.push(began.elapsed());
        drop(clients);
        subject.wait()?;
    }
    let what = "kill -9: until 1,000 clients are back";
    table.put("storm", what, "µs", subject.column, Ok(Cell::times(times)));
    Ok(())
}

/// As many paired devices as `connections` need.
fn devices(subject: &Subject, connections: usize) -> Result<Vec<Paired>, Failure> {
    (0..connections.div_ceil(OF_ONE_DEVICE)).map(|_| Paired::new(subject)).collect()
}

/// So many clients that all come at the same time, and come again as long as they are not let in; how often
/// one had to. With a paired device, or with the shared token.
fn crowd(subject: &Subject, count: usize, paired: &[Paired]) -> Result<(Vec<Client>, usize), Failure> {
    let shared = crate::rig::Offer { device: None, token: Some(TOKEN) };
    let offer =
        |n: usize| paired.get(n / OF_ONE_DEVICE).map_or(crate::rig::Offer { ..shared }, Paired::offer);
    let (mut inside, mut again) = (Vec::with_capacity(count), 0);
    let end = Instant::now() + PATIENCE;
    while inside.len() < count {
        if Instant::now() > end {
            return Err(format!("{} of {count} are in after {} s", inside.len(), PATIENCE.as_secs()).into());
        }
        let missing = count - inside.len();
        let mut coming: Vec<Client> = (0..missing).filter_map(|_| Client::open(subject.at).ok()).collect();
        let mut here = |client: &mut Client, step: &dyn Fn(&mut Client) -> Result<(), Failure>| {
            let done = client.wait_at_most(PATIENCE).is_ok() && step(client).is_ok();
            again += usize::from(!done);
            done
        };
        let mut n = inside.len();
        coming.retain_mut(|client| {
            n += 1;
            here(client, &|c| c.connect(&offer(n - 1)))
        });
        coming.retain_mut(|client| here(client, &|c| c.hello().map(drop)));
        inside.append(&mut coming);
    }
    Ok((inside, again))
}

/// A restart with a thousand attached: the longest that one of them waits for an answer, and how many are
/// closed.
pub fn handover(table: &mut Table, run: &Run, subject: &Subject) -> Result<(), Failure> {
    const PART: &str = "handover";
    let column = subject.column;
    let count = run.rounds(1_000);
    let rounds = if column == Column::Barnacle { run.rounds(10) } else { 1 };
    let (mut gaps, mut closed) = (Vec::new(), 0);
    for _ in 0..rounds {
        let (clients, _) = crowd(subject, count, &[])?;
        gaps.push(gap(subject)?);
        for mut client in clients {
            client.wait_at_most(Duration::from_secs(10))?;
            closed += usize::from(client.call("health", "{}").is_err());
        }
    }
    table.put(PART, "restart, 1,000 attached: longest gap", "µs", column, Ok(Cell::times(gaps)));
    let share = Ok(Cell::One(closed as f64 / rounds as f64));
    table.put(PART, "closed by it, of 1,000", "", column, share);
    Ok(())
}

/// Has it restart, and calls all the while, as fast again as it can where it was closed: the longest between
/// two answers.
fn gap(subject: &Subject) -> Result<Duration, Failure> {
    let restarts = |status: &str| crate::rig::field(status, "\"restarts\":").map(String::from);
    let mut client = attach(subject.at)?;
    client.wait_at_most(PATIENCE)?;
    let before = restarts(&client.call("status", "{}")?);
    let mut admin = attach(subject.at)?;
    admin.ask("gateway.restart.request", "{}")?;
    let (mut longest, mut last, end) = (Duration::ZERO, Instant::now(), Instant::now() + PATIENCE);
    // It is over once the restart shows in an answer, or the caller was closed and is back.
    while Instant::now() < end {
        let answer = client.call("status", "{}");
        let back = answer.is_err();
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) => loop {
                if let Ok(mut new) = attach(subject.at)
                    && let Ok(answer) = new.call("status", "{}")
                {
                    client = new;
                    break answer;
                }
                if Instant::now() > end {
                    return Err("nobody is let in after the restart".into());
                }
                sleep(Duration::from_millis(10));
            },
        };
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if back || restarts(&answer) != before {
            return Ok(longest);
        }
        sleep(PACE);
    }
    Err("it does not restart".into())
}
