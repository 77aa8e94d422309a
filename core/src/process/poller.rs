//! Polls for ready callbacks and claims as many as can run.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::elsewhere::DEPLOYMENT;
use super::processor::Processor;
use crate::Kind;
use crate::error_chain::error_chain;
use crate::handler::{Free, InboxHandle};
use crate::store::{Claim, Claimed, Lane};

/// Interval of polling for callbacks without a notification: due retries, callbacks of other
/// processes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of callbacks per claim, so that a crash interrupts few.
const BATCH: usize = 64;

/// Claims and runs callbacks until the inbox stops.
pub(crate) async fn poll(processor: Arc<Processor>, inbox: InboxHandle) {
    if !processor.adopted().await {
        return;
    }
    while !processor.lifecycle.stopping.is_cancelled() {
        // Check for permits before claiming: a lease is for running, not for waiting.
        let Some(free) = processor.permits.free(BATCH) else {
            tokio::select! {
                () = processor.permits.freed() => continue,
                () = processor.lifecycle.stopping.cancelled() => return,
            }
        };
        let Free { kinds, limit, is_restricted } = free;
        let (claimed, expires) = processor.claim(&kinds, Lane::Main, limit).await;
        let is_idle = claimed.is_empty();
        for claimed in claimed {
            let permit = processor.permits.take(&claimed.kind);
            // Renewed from now on, not from when the task is first polled.
            let cancelled = processor.leases.enter_claimed(&claimed, expires);
            processor.lifecycle.tasks.spawn(processor.clone().process(claimed, cancelled, Some(permit), inbox.clone()));
        }
        if is_idle {
            let poll = POLL_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = processor.ready.woken() => {}
                () = processor.store.notified() => {}
                () = processor.permits.freed(), if is_restricted => {}
                () = sleep(poll) => {}
                () = processor.lifecycle.stopping.cancelled() => return,
            }
        }
    }
}

/// Claims and runs suspects: callbacks whose process ended while they ran, more than once. At first
/// one suspect runs at a time, so that if it ends the process, no other loses its attempt. Each
/// round that this process survives doubles their number: nearly all of them are innocent, and are
/// done soon after the crashes have ended.
pub(crate) async fn poll_suspects(processor: Arc<Processor>, inbox: InboxHandle) {
    if !processor.adopted().await {
        return;
    }
    let kinds: Vec<Kind> = processor.routes.iter().map(|route| route.kind().clone()).collect();
    let widest = (processor.limits.max_concurrent_handlers / 4).max(1);
    let mut width = 1;
    while !processor.lifecycle.stopping.is_cancelled() {
        let mut handled = 0;
        if width > 1 {
            handled += processor.run_suspects(&kinds, Lane::Suspects, width, &inbox).await;
        }
        // Including those that were interrupted so often that they run alone.
        handled += processor.run_suspects(&kinds, Lane::Alone, 1, &inbox).await;
        if handled > 0 {
            width = (width * 2).min(widest);
            continue;
        }
        let poll = POLL_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = sleep(poll) => {}
            () = processor.lifecycle.stopping.cancelled() => return,
        }
    }
}

impl Processor {
    /// Returns the claimed callbacks, and when their leases expire.
    async fn claim(&self, kinds: &[Kind], lane: Lane, limit: usize) -> (Vec<Claimed>, Instant) {
        // The lease counts from before the call, by the monotonic clock.
        let expires = Instant::now() + self.limits.lease;
        // Whether or not there are permits for payments now.
        let handles_payments = self.routes.of(&Kind::Payment).is_some();
        let left_since = self.clock.now().checked_sub(DEPLOYMENT).unwrap_or(SystemTime::UNIX_EPOCH);
        let claim = Claim { kinds, lane, limit, lease: self.limits.lease, handles_payments, left_since };
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
    async fn run_suspects(self: &Arc<Self>, kinds: &[Kind], lane: Lane, limit: usize, inbox: &InboxHandle) -> usize {
        let (claimed, expires) = self.claim(kinds, lane, limit).await;
        let count = claimed.len();
        let running: Vec<_> = claimed
            .into_iter()
            .map(|claimed| {
                let cancelled = self.leases.enter_claimed(&claimed, expires);
                self.lifecycle.tasks.spawn(self.clone().process(claimed, cancelled, None, inbox.clone()))
            })
            .collect();
        for one in running {
            // A panic of the store was reported where it happened; the lease expires.
            let _ = one.await;
        }
        count
    }
}
