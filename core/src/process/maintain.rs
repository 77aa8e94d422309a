//! Maintenance: renews leases, reclaims expired ones, trims the quarantine, measures the queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::measure::keep_measuring;
use super::processor::Processor;
use super::ticks::every;
use crate::error_chain::error_chain;
use crate::handler::InboxHandle;
use crate::observe;

/// Runs until everything has ended. The parts run side by side: a slow one delays no renewal.
pub(crate) async fn maintain(processor: Arc<Processor>, inbox: InboxHandle) {
    tokio::select! {
        () = processor.leases.keep() => {}
        () = keep_reclaiming(&processor) => {}
        () = keep_measuring(&processor) => {}
        () = keep_looking_again(&processor, &inbox) => {}
        () = processor.lifecycle.drained() => {}
    }
    // Also when the last inbox was dropped without `shutdown`.
    processor.lifecycle.closing.cancel();
}

async fn keep_reclaiming(processor: &Processor) {
    let mut ticks = every(processor.limits.lease_check_interval);
    loop {
        ticks.tick().await;
        processor.reclaim().await;
        processor.trim().await;
    }
}

async fn keep_looking_again(processor: &Processor, inbox: &InboxHandle) {
    let mut ticks = every(processor.limits.lease_check_interval);
    loop {
        ticks.tick().await;
        if processor.is_adopted.load(Ordering::Relaxed) {
            processor.recorder.look_again(inbox).await;
        }
    }
}

impl Processor {
    /// Reclaims expired leases. The own leases are renewed first: after a pause or a clock step
    /// they may look expired, too.
    async fn reclaim(&self) {
        if !self.leases.renew_expiring_within(self.limits.lease * 2).await {
            return;
        }
        match self.store.reclaim_expired().await {
            Ok(0) => {}
            Ok(reclaimed) => {
                tracing::warn!(
                    callbacks = reclaimed,
                    "reclaimed expired leases: their process ended while handlers ran"
                );
                observe::leases_reclaimed(reclaimed);
                self.ready.wake();
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot reclaim expired leases"),
        }
    }

    /// Trims the quarantine, oldest first.
    async fn trim(&self) {
        if !self.recorder.quarantine.has_grown() {
            return;
        }
        let limits = self.recorder.quarantine.limits;
        match self.store.trim_quarantine(limits.rows, limits.bytes).await {
            Ok(0) => {}
            Ok(trimmed) => {
                tracing::error!(callbacks = trimmed, "the quarantine is full; its oldest callbacks are deleted");
                observe::trimmed(trimmed);
            }
            Err(error) => {
                self.recorder.quarantine.grew();
                tracing::warn!(cause = error_chain(&error), "cannot trim the quarantine");
            }
        }
    }
}
