//! Polls for ready callbacks and claims as many as can run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Free, run};
use crate::Kind;
use crate::engine::Engine;
use crate::receive::error_chain;
use crate::store::{Claim, Claimed, Lane};

/// Interval of polling for callbacks that nobody announced: due retries, callbacks of other
/// processes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of callbacks per claim, so that a crash interrupts few.
const BATCH: usize = 64;

/// Claims and runs callbacks until the inbox stops.
pub(crate) async fn work(engine: Arc<Engine>) {
    if !engine.adopted().await {
        return;
    }
    while !engine.stopping.is_cancelled() {
        // Check for permits before claiming: a lease is for running, not for waiting.
        let Some(free) = engine.room.free(BATCH) else {
            tokio::select! {
                () = engine.room.freed() => continue,
                () = engine.stopping.cancelled() => return,
            }
        };
        let Free { kinds, limit, is_restricted } = free;
        let (claimed, expires) = engine.claim(&kinds, Lane::Main, limit).await;
        let is_idle = claimed.is_empty();
        for claimed in claimed {
            let place = engine.room.take(&claimed.kind);
            // Renewed from now on, not from when the task is first polled.
            let cancelled = engine.held_leases.enter_claimed(&claimed, expires);
            engine.tasks.spawn(run(engine.clone(), claimed, cancelled, Some(place)));
        }
        if is_idle {
            let poll = POLL_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = engine.wake.notified() => {}
                () = engine.store.notified() => {}
                () = engine.room.freed(), if is_restricted => {}
                () = sleep(poll) => {}
                () = engine.stopping.cancelled() => return,
            }
        }
    }
}

/// Claims and runs suspects: callbacks whose process ended while they ran, more than once. At first
/// one suspect runs at a time, so that if it ends the process, no other loses its attempt. Each
/// round that this process survives doubles their number: nearly all of them are innocent, and are
/// done soon after the crashes have ended.
pub(crate) async fn poll_suspects(engine: Arc<Engine>) {
    if !engine.adopted().await {
        return;
    }
    let kinds: Vec<Kind> = engine.routes.iter().map(|route| route.kind().clone()).collect();
    let widest = (engine.limits.max_concurrent_handlers / 4).max(1);
    let mut width = 1;
    while !engine.stopping.is_cancelled() {
        let mut handled = 0;
        if width > 1 {
            handled += engine.run_suspects(&kinds, Lane::Suspects, width).await;
        }
        // Including those that were interrupted so often that they run alone.
        handled += engine.run_suspects(&kinds, Lane::Alone, 1).await;
        if handled > 0 {
            width = (width * 2).min(widest);
            continue;
        }
        let poll = POLL_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = sleep(poll) => {}
            () = engine.stopping.cancelled() => return,
        }
    }
}

impl Engine {
    /// Returns the claimed callbacks, and when their leases expire.
    async fn claim(&self, kinds: &[Kind], lane: Lane, limit: usize) -> (Vec<Claimed>, Instant) {
        // The lease counts from before the call, by the monotonic clock.
        let expires = Instant::now() + self.limits.lease;
        // Whether or not there are permits for payments now.
        let handles_payments = self.routes.of(&Kind::Payment).is_some();
        let claim = Claim { kinds, lane, limit, lease: self.limits.lease, handles_payments };
        let claimed = match self.store.claim(&claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot claim callbacks");
                Vec::new()
            }
        };
        (claimed, expires)
    }

    /// Claims and runs suspects, waits for all of them, and returns their number.
    async fn run_suspects(self: &Arc<Self>, kinds: &[Kind], lane: Lane, limit: usize) -> usize {
        let (claimed, expires) = self.claim(kinds, lane, limit).await;
        let count = claimed.len();
        let running: Vec<_> = claimed
            .into_iter()
            .map(|claimed| {
                let cancelled = self.held_leases.enter_claimed(&claimed, expires);
                self.tasks.spawn(run(self.clone(), claimed, cancelled, None))
            })
            .collect();
        for one in running {
            // A panic of the store was reported where it happened; the lease expires.
            let _ = one.await;
        }
        count
    }
}
