//! A rolling deployment restarts the replicas one after the other, as an orchestrator does: it
//! stops new traffic, sends `SIGTERM`, and starts a new replica. Each round deploys the other
//! release: forward to the one that handles payments, back to the one that handles pushes.
//! Replicas run on axum, actix-web and Rocket in turn, each with requests in flight at `SIGTERM`.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::half::Half;
use crate::load::send;

const PER_SECOND: u32 = 300;

/// How long requests in progress may take when no new ones are sent.
const DRAIN: Duration = Duration::from_millis(300);

/// The values of `--framework`.
const FRAMEWORKS: [&str; 3] = ["axum", "actix", "rocket"];

/// Requests in flight at each `SIGTERM`.
const IN_FLIGHT: usize = 5;

/// The arguments of the replica that this restart starts: its framework and its release.
fn arguments(restart: usize, is_newer: bool) -> Vec<&'static str> {
    let mut arguments = vec!["--framework", FRAMEWORKS[restart % FRAMEWORKS.len()]];
    arguments.extend(is_newer.then_some("--payments"));
    arguments
}

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let manner = Manner { place: stage.place.clone(), lease: Duration::from_secs(1), spools: None, flags: vec![] };
    let fleet = Fleet::start(stage.program.clone(), manner, stage.replicas.max(2))?;
    let (mut deliveries, journal) = stage.deliveries();
    let times = stage.options.times;
    let mut in_flight = deliveries.split_off(deliveries.len().saturating_sub(times * IN_FLIGHT)).into_iter();
    let mut happened = 0;
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, Some(PER_SECOND), &mut stage.random, |progress| {
            while happened < times {
                progress.wait(happened, times);
                let at = happened % fleet.len();
                let halves =
                    in_flight.by_ref().take(IN_FLIGHT).map(|delivery| Half::begin(fleet.port_of(at), delivery));
                let halves = halves.collect::<anyhow::Result<Vec<_>>>()?;
                fleet.is_not_ready(at);
                sleep(DRAIN);
                fleet.stop(at, || halves.into_iter().for_each(|half| half.end(&journal)))?;
                happened += 1;
                // The last one is the newer version: callbacks that the others left must not wait forever.
                let is_newer = happened / fleet.len() % 2 == 0 || happened == times;
                fleet.revive_as(at, &arguments(happened, is_newer))?;
            }
            Ok(())
        })
    })?;
    let sent = journal.totals();
    let sent_apart = times * IN_FLIGHT - in_flight.len();
    println!("{happened} restarts, of two releases on three frameworks, {sent_apart} requests in flight");
    ensure!(sent.refused + sent.unknown == 0, "{} refused, {} not answered", sent.refused, sent.unknown);
    stage.judge(&journal).await.map(drop)
}
