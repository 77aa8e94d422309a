//! Replicas are restarted one after the other, as an orchestrator does it: no traffic, then `SIGTERM`, then a new one. Every round
//! is a deployment of the other release: forward to the one that handles payments, and back to the one that handles pushes. They
//! are served by axum, actix-web and Rocket, and each has requests under way when it is told to stop.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::half::Half;
use crate::load::send;
use crate::serving::Framework;

const PER_SECOND: u32 = 300;

/// How long requests that are on their way may take once nobody new is sent there.
const DRAIN: Duration = Duration::from_millis(300);

/// How many requests a replica is in the middle of when it is told to stop.
const UNDER_WAY: usize = 5;

/// What the replica that is started at this restart is served by.
fn framework(restart: usize) -> Framework {
    [Framework::Axum, Framework::Actix, Framework::Rocket][restart % 3]
}

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let manner = Manner { place: stage.place.clone(), lease: Duration::from_secs(1), spools: None, flags: vec![] };
    let fleet = Fleet::start(stage.program.clone(), manner, stage.replicas.max(2))?;
    let (mut deliveries, journal) = stage.deliveries();
    let times = stage.options.times;
    let mut under_way = deliveries.split_off(deliveries.len().saturating_sub(times * UNDER_WAY)).into_iter();
    let mut happened = 0;
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, Some(PER_SECOND), &mut stage.random, |progress| {
            while happened < times {
                progress.wait(happened, times);
                let at = happened % fleet.len();
                let halves =
                    under_way.by_ref().take(UNDER_WAY).map(|delivery| Half::begin(fleet.port_of(at), delivery));
                let halves = halves.collect::<anyhow::Result<Vec<_>>>()?;
                fleet.is_not_ready(at);
                sleep(DRAIN);
                fleet.stop(at, || halves.into_iter().for_each(|half| half.end(&journal)))?;
                happened += 1;
                // The last one is of the newer release: what the others left to it must not wait for ever.
                let is_newer = happened / fleet.len() % 2 == 0 || happened == times;
                let release: &[&str] = if is_newer { &["--payments"] } else { &[] };
                fleet.revive_as(at, &[&["--framework", framework(happened).name()], release].concat())?;
            }
            Ok(())
        })
    })?;
    let sent = journal.totals();
    let sent_apart = times * UNDER_WAY - under_way.len();
    println!("{happened} restarts, of two releases on three frameworks, {sent_apart} requests under way");
    ensure!(sent.refused + sent.unknown == 0, "{} refused, {} not answered", sent.refused, sent.unknown);
    stage.judge(&journal).await.map(drop)
}
