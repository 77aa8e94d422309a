//! Adopting a store that was unavailable at start.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::processor::Processor;
use crate::error_chain::error_chain;

/// Delay before the next attempt.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Processor {
    /// Waits until the store has been adopted; `false` when the inbox stops first.
    pub(super) async fn adopted(&self) -> bool {
        while !self.is_adopted.load(Ordering::Relaxed) {
            match self.store.adopt(&self.owner).await {
                Ok(()) => self.is_adopted.store(true, Ordering::Relaxed),
                Err(error) => {
                    let cause = error_chain(&error);
                    tracing::error!(cause, "the store cannot be adopted; nothing is handled until it is");
                    tokio::select! {
                        () = sleep(RETRY_DELAY) => {}
                        () = self.lifecycle.stopping.cancelled() => return false,
                    }
                }
            }
        }
        true
    }
}
