//! Deletes old bodies periodically, because they contain names and phone numbers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::processor::Processor;
use crate::error_chain::error_chain;
use crate::store::Extent;

/// Interval between two purges.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Longest delay before the first purge, so that not all processes purge at once.
const FIRST: Duration = Duration::from_secs(5 * 60);

/// Every 24th purge looks at all bodies.
const ROUNDS: u32 = 24;

/// Purges periodically until the inbox closes.
pub(crate) async fn retain(processor: Arc<Processor>) {
    let Some(age) = processor.limits.retention else { return };
    let mut wait = FIRST.mul_f64(0.5 + fastrand::f64());
    for round in 0_u32.. {
        // A row with a wrong time can end a purge of the oldest early.
        let extent = if round.is_multiple_of(ROUNDS) { Extent::All } else { Extent::WhileOld };
        tokio::select! {
            () = sleep(wait) => {}
            () = processor.lifecycle.closing.cancelled() => return,
        }
        let purged = tokio::select! {
            purged = processor.store.purge(age, extent) => purged,
            () = processor.lifecycle.closing.cancelled() => return,
        };
        match purged {
            Ok(0) => {}
            Ok(purged) => tracing::info!(callbacks = purged, "purged bodies of callbacks past their retention"),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot delete the bodies of old callbacks"),
        }
        wait = PERIOD.mul_f64(0.75 + fastrand::f64() / 2.0);
    }
}
