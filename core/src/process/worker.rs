//! Claiming what is ready, as much as there is room for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::run;
use crate::engine::Engine;
use crate::receive::error_chain;

/// How often to look for work that nobody announced: retries that came due, other processes' callbacks.
const POLL: Duration = Duration::from_secs(1);

/// The most that is claimed at once, so that a crash leaves little behind.
const BATCH: usize = 64;

/// After so many attempts that ended without a word, a callback runs alone: when it takes the process down, it takes
/// nobody else's attempt with it.
const SUSPECT: u32 = 2;

/// Claims and runs until the inbox stops.
pub(crate) async fn work(engine: Arc<Engine>) {
    loop {
        let permit = tokio::select! {
            permit = engine.permits.clone().acquire_owned() => permit,
            () = engine.stopping.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        let room = (1 + engine.permits.available_permits()).min(BATCH);
        // The lease counts from before the question was asked, by a clock that nobody sets.
        let expires = Instant::now() + engine.limits.lease;
        let claimed = match engine.store.claim(room, engine.limits.lease).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot claim callbacks");
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        let mut first = Some(permit);
        for claimed in claimed {
            let all = u32::try_from(engine.limits.concurrency).unwrap_or(u32::MAX);
            let suspect = claimed.interruptions >= SUSPECT;
            if suspect {
                first = None;
            }
            let (engine, permit) = (engine.clone(), first.take());
            engine.clone().tasks.spawn(async move {
                let permits = match permit {
                    Some(permit) => Ok(permit),
                    None => engine.permits.clone().acquire_many_owned(if suspect { all } else { 1 }).await,
                };
                if let Ok(permits) = permits {
                    run(engine, claimed, permits, expires).await;
                }
            });
        }
        drop(first);
        if idle {
            let poll = POLL.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = engine.wake.notified() => {}
                () = sleep(poll) => {}
                () = engine.stopping.cancelled() => return,
            }
        }
    }
}
