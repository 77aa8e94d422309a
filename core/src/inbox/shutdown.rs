//! Graceful shutdown: requests first, then handlers, then the store.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::engine::Inbox;
use crate::store::StoreError;

/// Timeout for the last writes to store and spool.
const KEEPERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout for an aborted handler.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

impl Inbox {
    /// Shuts down gracefully, in this order:
    ///
    /// 1. Nothing new is claimed.
    /// 2. Requests in flight are acknowledged.
    /// 3. Running handlers may finish within `grace`.
    /// 4. The rest is aborted at its next `await` and becomes ready again; the attempt does not
    ///    count.
    /// 5. The store is closed.
    ///
    /// Stop the web server first: later requests are answered with 503.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), StoreError> {
        let lifecycle = &self.engine().lifecycle;
        let began = Instant::now();
        lifecycle.stopping.cancel();
        // Rocket runs shutdown fairings while it still serves requests in flight.
        lifecycle.requests.close();
        let _ = timeout(grace, lifecycle.requests.wait()).await;
        lifecycle.closing.cancel();
        lifecycle.tasks.close();
        if timeout(grace.saturating_sub(began.elapsed()), lifecycle.tasks.wait()).await.is_err() {
            tracing::warn!("handlers did not finish in time; they are run again");
            lifecycle.giving_up.cancel();
            // A handler that blocks its thread cannot be aborted; its lease expires when the
            // process has ended.
            if timeout(ABORT_TIMEOUT, lifecycle.tasks.wait()).await.is_err() {
                tracing::error!("a handler does not stop: it blocks its thread");
                lifecycle.closing.cancel();
                return self.close().await;
            }
        }
        lifecycle.keepers.close();
        if timeout(KEEPERS_TIMEOUT, lifecycle.keepers.wait()).await.is_err() {
            tracing::error!("the store or the spool does not answer; stopped without waiting");
        }
        self.close().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let recorder = &self.engine().recorder;
        let closed = recorder.store.close().await;
        match &recorder.spooling {
            Some(spooling) => closed.and(spooling.spool.close().await),
            None => closed,
        }
    }
}
