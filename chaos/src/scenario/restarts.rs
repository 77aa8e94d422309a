//! Replicas are restarted one after the other, as an orchestrator does it: no traffic, then `SIGTERM`, then a new one. Every round
//! is a deployment of the other release: forward to the one that handles payments, and back to the one that handles pushes.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::load::send;

const PER_SECOND: u32 = 300;

/// How long requests that are on their way may take once nobody new is sent there.
const DRAIN: Duration = Duration::from_millis(300);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let manner = Manner { place: stage.place.clone(), lease: Duration::from_secs(1), spools: None, flags: vec![] };
    let fleet = Fleet::start(stage.program.clone(), manner, stage.replicas.max(2))?;
    let (deliveries, journal) = stage.deliveries();
    let times = stage.options.times;
    let mut happened = 0;
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, Some(PER_SECOND), &mut stage.random, |progress| {
            while happened < times {
                progress.wait(happened, times);
                let at = happened % fleet.len();
                fleet.is_not_ready(at);
                sleep(DRAIN);
                fleet.stop(at)?;
                happened += 1;
                // The last one is of the newer release: what the others left to it must not wait for ever.
                let is_newer = happened / fleet.len() % 2 == 0 || happened == times;
                fleet.revive_as(at, if is_newer { &["--payments"] } else { &[] })?;
            }
            Ok(())
        })
    })?;
    let sent = journal.totals();
    println!("{happened} restarts, of two releases");
    ensure!(sent.refused + sent.unknown == 0, "{} refused, {} not answered", sent.refused, sent.unknown);
    stage.judge(&journal).await.map(drop)
}
