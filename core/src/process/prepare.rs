//! Prepares a transactor that was unavailable at start.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::processor::Processor;
use crate::error_chain::error_chain;

/// Delay before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Prepares the transactor as soon as it is available. Until then its transactions fail, and their
/// attempts do not count.
pub(crate) async fn prepare(processor: Arc<Processor>) {
    loop {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = processor.lifecycle.closing.cancelled() => return,
        }
        let prepared = tokio::select! {
            prepared = processor.handling.prepare() => prepared,
            () = processor.lifecycle.closing.cancelled() => return,
        };
        match prepared {
            Ok(()) => {
                tracing::info!("the transactor is available");
                return;
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "the transactor is not available yet"),
        }
    }
}
