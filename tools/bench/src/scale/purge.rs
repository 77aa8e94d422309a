//! A purge of all that is done, while callbacks come at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Options;
use crate::load::{Generator, path, send};
use crate::measure::median;
use crate::serve::Running;
use crate::side::Side;

/// The steady rate, a second, at which callbacks come during a purge.
pub(super) const RATE: u32 = 500;

/// The latencies of callbacks at that rate, per interval of two seconds.
pub(super) struct Met {
    /// The median of all two seconds', in milliseconds.
    pub(super) p99: f64,
    /// The slowest of all, in milliseconds.
    pub(super) worst: f64,
    /// The number of the next body.
    next: u64,
}

/// A purge, with the latencies of callbacks during it and before it.
pub(super) struct Purged {
    /// How many callbacks went.
    pub(super) rows: u64,
    pub(super) took: Duration,
    pub(super) alone: Met,
    pub(super) beside: Met,
}

/// For how often two seconds, in each round, the disk is looked at without a purge: it has moments of its own.
const ALONE: usize = 5;

pub(super) fn purge(server: &mut Running, side: Side, first: u64, options: &Options) -> anyhow::Result<Purged> {
    let load = Generator {
        address: server.address,
        path: path(side),
        connections: options.connections,
        seconds: 2.0,
        rate: Some(RATE),
        first,
    };
    let alone = meet(&load, |seconds| seconds < ALONE * options.rounds)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let is_purged = is_over.clone();
    let load = Generator { first: alone.next, ..load };
    let sending = thread::spawn(move || meet(&load, |seconds| seconds == 0 || !is_purged.load(Ordering::Relaxed)));
    let began = Instant::now();
    let rows = server.purge()?;
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let beside = sending.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
    Ok(Purged { rows, took, alone, beside })
}

/// Sends two seconds after two seconds, for as long as there is to be another one.
fn meet(load: &Generator, is_on: impl Fn(usize) -> bool) -> anyhow::Result<Met> {
    let (mut p99, mut worst, mut load) = (Vec::new(), 0.0_f64, load.clone());
    while is_on(p99.len()) {
        let met = send(&load)?;
        p99.push(met.p99);
        worst = worst.max(met.worst);
        load.first = met.next;
    }
    Ok(Met { p99: median(p99), worst, next: load.first })
}
