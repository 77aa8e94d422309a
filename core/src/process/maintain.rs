//! Maintenance: renews leases, reclaims expired ones, trims the quarantine, measures the queues.

use std::sync::Arc;

use super::leases::keep_leases;
use super::measure::keep_measuring;
use super::ticks::every;
use crate::engine::Engine;
use crate::observe;
use crate::receive::error_chain;

/// Runs until everything has ended. The parts run side by side: a slow one delays no renewal.
pub(crate) async fn maintain(engine: Arc<Engine>) {
    tokio::select! {
        () = keep_leases(&engine) => {}
        () = keep_sweeping(&engine) => {}
        () = keep_measuring(&engine) => {}
        () = keep_looking_again(&engine) => {}
        () = engine.drained() => {}
    }
    // Also when the last inbox was dropped without `shutdown`.
    engine.closing.cancel();
}

async fn keep_sweeping(engine: &Engine) {
    let mut ticks = every(engine.limits.lease_check_interval);
    loop {
        ticks.tick().await;
        engine.sweep().await;
        engine.trim().await;
    }
}

async fn keep_looking_again(engine: &Arc<Engine>) {
    let mut ticks = every(engine.limits.lease_check_interval);
    loop {
        ticks.tick().await;
        engine.look_again().await;
    }
}

impl Engine {
    /// Waits until nothing new is claimed and all handlers have ended.
    async fn drained(&self) {
        self.stopping.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Reclaims expired leases. The own leases are renewed first: after a pause or a clock step
    /// they may look expired, too.
    async fn sweep(&self) {
        if !self.renew_expiring_within(self.limits.lease * 2).await {
            return;
        }
        match self.store.reclaim_expired().await {
            Ok(0) => {}
            Ok(swept) => {
                tracing::warn!(callbacks = swept, "taken back from handlers that ended without a word");
                observe::swept(swept);
                self.wake.notify_one();
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot sweep expired leases"),
        }
    }

    /// Trims the quarantine, oldest first.
    async fn trim(&self) {
        if !self.quarantine.has_grown() {
            return;
        }
        let limits = self.quarantine.limits;
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
                self.quarantine.grew();
                tracing::warn!(cause = error_chain(&error), "cannot trim the quarantine");
            }
        }
    }
}
