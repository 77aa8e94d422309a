//! A replica is killed with callbacks in hand.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use super::Stage;
use crate::deliveries::{Delivery, Meaning};
use crate::fleet::{Fleet, Manner};
use crate::journal::Journal;
use crate::load::send;

/// The defaults of the library are 30 s and 5 s; both are shorter here in the same proportion.
const LEASE: Duration = Duration::from_secs(6);

/// How long another process may take beyond lease and sweep: it looks once a second, and handles.
const SLACK: Duration = Duration::from_secs(3);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    const CALLBACKS: usize = 50;
    let mut longest = Duration::ZERO;
    for round in 0..stage.options.times {
        let manner = |flag| Manner { place: stage.place.clone(), lease: LEASE, spools: None, flags: vec![flag] };
        let journal = Journal::new((round + 1) * CALLBACKS);
        let hanging = Fleet::start(stage.program.clone(), manner("--hangs"), 1)?;
        let deliveries: Vec<_> = (round * CALLBACKS..(round + 1) * CALLBACKS)
            .map(|number| Delivery { number, meaning: Meaning::Paid })
            .collect();
        tokio::task::block_in_place(|| send(&hanging, &journal, &deliveries, None, &mut stage.random, |_| Ok(())))?;
        let store = stage.place.store().await?;
        while store.counts().await?.running < CALLBACKS as u64 {
            sleep(Duration::from_millis(5)).await;
        }
        let other = Fleet::start(stage.program.clone(), manner("--good"), 1)?;
        hanging.kill(0)?;
        let killed = Instant::now();
        while store.counts().await?.running + store.counts().await?.ready > 0 {
            ensure!(killed.elapsed() < Duration::from_mins(1), "nobody took over");
            sleep(Duration::from_millis(5)).await;
        }
        longest = longest.max(killed.elapsed());
        drop(other);
    }
    let promised = LEASE + LEASE / 6;
    println!("taken over at most {longest:?} after the kill; lease and sweep are {promised:?}");
    ensure!(longest <= promised + SLACK, "too late");
    Ok(())
}
