//! Claiming what is ready, as much as there is room for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::handle::Ended;
use super::run;
use crate::engine::Engine;
use crate::receive::error_chain;
use crate::store::{Claimed, Ending, caught};

/// How often to look for work that nobody announced: retries that came due, other processes' callbacks.
const POLL: Duration = Duration::from_secs(1);

/// The most that is claimed at once, so that a crash leaves little behind.
const BATCH: usize = 64;

/// After so many attempts that ended without a word, a callback runs alone: should it take the process down, it takes
/// nobody else's attempt with it.
const SUSPECT: u32 = 2;

/// Claims and runs until the inbox stops.
pub(crate) async fn work(engine: Arc<Engine>) {
    let mut one_by_one = false;
    loop {
        let permit = tokio::select! {
            permit = engine.permits.clone().acquire_owned() => permit,
            () = engine.stopping.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        // Room is taken before anything is claimed: a lease is for running, not for waiting.
        let mut permits = vec![permit];
        while !one_by_one && permits.len() < BATCH {
            let Ok(permit) = engine.permits.clone().try_acquire_owned() else { break };
            permits.push(permit);
        }
        // The lease counts from before the question was asked, by a clock that nobody sets.
        let expires = Instant::now() + engine.limits.lease;
        let claimed = match caught(engine.store.claim(permits.len(), engine.limits.lease)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot claim callbacks");
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        one_by_one = claimed.iter().any(|claimed| claimed.interruptions >= SUSPECT);
        if one_by_one {
            run_alone(&engine, claimed, permits, expires).await;
        } else {
            for (claimed, permit) in claimed.into_iter().zip(permits) {
                spawn(&engine, claimed, permit, expires);
            }
        }
        if idle {
            let poll = POLL.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = engine.wake.notified() => {}
                () = engine.store.announced() => {}
                () = sleep(poll) => {}
                () = engine.stopping.cancelled() => return,
            }
        }
    }
}

fn spawn(engine: &Arc<Engine>, claimed: Claimed, permits: OwnedSemaphorePermit, expires: Instant) {
    // Renewed from now on, not from when the task gets its turn.
    let cancelled = engine.in_flight.enter(claimed.lease, expires);
    engine.tasks.spawn(run(engine.clone(), claimed, cancelled, permits));
}

/// Gives back what was claimed beside a suspect, waits until everything else has ended, and lets the suspect run alone.
async fn run_alone(
    engine: &Arc<Engine>,
    mut claimed: Vec<Claimed>,
    permits: Vec<OwnedSemaphorePermit>,
    expires: Instant,
) {
    let Some(at) = claimed.iter().position(|claimed| claimed.interruptions >= SUSPECT) else { return };
    let suspect = claimed.swap_remove(at);
    let cancelled = engine.in_flight.enter(suspect.lease, expires);
    for other in claimed {
        engine.settle(other.lease, Ended::With(Ending::Released { after: Duration::ZERO }, None)).await;
    }
    drop(permits);
    let all = u32::try_from(engine.limits.concurrency).unwrap_or(u32::MAX);
    let Ok(permits) = engine.permits.clone().acquire_many_owned(all).await else { return };
    let lease = suspect.lease;
    let running = engine.tasks.spawn(run(engine.clone(), suspect, cancelled, permits));
    // Nothing else is claimed meanwhile.
    if running.await.is_err() {
        engine.in_flight.leave(lease);
    }
}
