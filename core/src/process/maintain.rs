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
        () = keep_sweeping(&processor) => {}
        () = keep_measuring(&processor) => {}
        () = keep_looking_again(&processor, &inbox) => {}
        () = processor.lifecycle.drained() => {}
    }
    // Also when the last inbox was dropped without `shutdown`.
    processor.lifecycle.closing.cancel();
}

async fn keep_sweeping(processor: &Processor) {
    let mut ticks = every(processor.limits.lease_check_interval);
    loop {
        ticks.tick().await;
        processor.sweep().await;
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
    async fn sweep(&self) {
        if !self.leases.renew_expiring_within(self.limits.lease * 2).await {
            return;
        }
        match self.store.reclaim_expired().await {
            Ok(0) => {}
            Ok(swept) => {
                tracing::warn!(callbacks = swept, "taken back from handlers that ended without a word");
                observe::swept(swept);
                self.ready.wake();
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot sweep expired leases"),
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
                tracing::error!(
                    callbacks = trimmed,
                    "deleted the oldest of what cannot be read: the quarantine is full"
                );
                observe::trimmed(trimmed);
            }
            Err(error) => {
                self.recorder.quarantine.grew();
                tracing::warn!(cause = error_chain(&error), "cannot trim the quarantine");
            }
        }
    }
}
