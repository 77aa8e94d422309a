//! A purge of all that is done, while callbacks come at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Options;
use crate::load::{Generated, Generator, path, send};
use crate::serve::Running;
use crate::side::Side;

/// The steady rate, a second, at which callbacks come during a purge.
pub(super) const RATE: u32 = 500;

/// A purge, and what the callbacks met with that came meanwhile.
pub(super) struct Purged {
    /// How many callbacks went.
    pub(super) rows: u64,
    pub(super) took: Duration,
    /// The highest of any two seconds, in milliseconds.
    pub(super) p99: f64,
    /// The slowest of all, in milliseconds.
    pub(super) worst: f64,
}

pub(super) fn purge(server: &mut Running, side: Side, first: u64, options: &Options) -> anyhow::Result<Purged> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, connections, is_purged) = (server.address, options.connections, is_over.clone());
    let sending = thread::spawn(move || {
        let mut loads: Vec<Generated> = Vec::new();
        while loads.is_empty() || !is_purged.load(Ordering::Relaxed) {
            let first = loads.last().map_or(first, |load| load.next);
            let load = Generator { address, path: path(side), connections, seconds: 2.0, rate: Some(RATE), first };
            loads.push(send(&load)?);
        }
        anyhow::Ok(loads)
    });
    let began = Instant::now();
    let rows = server.purge()?;
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let loads = sending.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
    let highest = |figure: fn(&Generated) -> f64| loads.iter().map(figure).fold(0.0, f64::max);
    Ok(Purged { rows, took, p99: highest(|load| load.p99), worst: highest(|load| load.worst) })
}
