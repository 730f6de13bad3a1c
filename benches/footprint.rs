//! What the gateway takes while it does nothing: size, memory, time to start, writes.
//!
//! Memory is the kernel's figure (`smaps_rollup`), a connection's share a slope over thousands, with
//! transparent huge pages off. See `benches/README.md`.

mod rig;

use rig::{
    BINARY, Client, Failure, Gateway, OF_ONE_DEVICE, Offer, TOKEN, field, quantile, raise_descriptor_limit,
    stranger,
};
use std::time::Duration;

/// Between these numbers of connections the slope is taken.
const FEW: usize = 1_000;
const MANY: usize = 10_000;
const STARTS: usize = 20;
const RECONNECTS: usize = 10_000;

fn main() -> Result<(), Failure> {
    // Inherited by the gateway.
    rustix::thread::disable_transparent_huge_pages(true)?;
    raise_descriptor_limit();
    println!("binary             {:8} bytes", std::fs::metadata(BINARY)?.len());

    let mut gateway = Gateway::start()?;
    let mut starts = (0..STARTS).map(|_| gateway.restart()).collect::<Result<Vec<Duration>, _>>()?;
    starts.sort();
    let ms = |share| quantile(&starts, share).as_secs_f64() * 1e3;
    println!("start to listening {:8.1} ms (p50 of {STARTS}; slowest {:.1})", ms(0.5), ms(1.0));

    println!("idle, resident     {:8} kB", gateway.figure("status", "VmRSS:")?);
    println!("  of it private    {:8} kB", private(&gateway)?);

    let me = stranger()?;
    let (client, hello) = Client::attach(gateway.at, &Offer { device: Some(&me), token: Some(TOKEN) })?;
    client.close()?;
    let token = field(&hello, "\"deviceToken\":\"").ok_or("no device token in hello-ok")?;
    let offer = Offer { device: Some(&me), token: Some(token) };

    let before = gateway.figure("io", "write_bytes:")?;
    for _ in 0..RECONNECTS {
        Client::attach(gateway.at, &offer)?.0.close()?;
    }
    let written = gateway.figure("io", "write_bytes:")? - before;
    println!("written to disk    {written:8} bytes in {RECONNECTS} reconnects");

    let devices = (0..MANY.div_ceil(OF_ONE_DEVICE))
        .map(|_| {
            let me = stranger()?;
            Client::attach(gateway.at, &Offer { device: Some(&me), token: Some(TOKEN) })?.0.close()?;
            // What is kept of its key is kept now, and no connection's.
            Client::attach(gateway.at, &Offer { device: Some(&me), token: None })?.0.close()?;
            Ok(me)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut clients = Vec::with_capacity(MANY);
    let mut at = |count: usize| -> Result<u64, Failure> {
        while clients.len() < count {
            let device = Some(&devices[clients.len() / OF_ONE_DEVICE]);
            clients.push(Client::attach(gateway.at, &Offer { device, token: None })?.0);
        }
        private(&gateway)
    };
    let (few, many) = (at(FEW)?, at(MANY)?);
    println!("{FEW} connections  {few:8} kB private\n{MANY} connections {many:8} kB private");
    let slope = (many - few) as f64 * 1024.0 / (MANY - FEW) as f64;
    println!("one connection     {slope:8.0} bytes (the slope)");
    Ok(())
}

/// Memory that is the gateway's alone, kB.
fn private(gateway: &Gateway) -> Result<u64, Failure> {
    let figure = |key| gateway.figure("smaps_rollup", key);
    Ok(figure("Private_Clean:")? + figure("Private_Dirty:")?)
}
