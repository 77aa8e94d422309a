//! Step 4 while the store is away: on this machine's disk, until it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::breaker::Breaker;
use crate::Kind;
use crate::access::Refusal;
use crate::error_chain::error_chain;
use crate::observe;
use crate::store::{Spool, Spooled, StoreError, catch_panic};

/// The spool, and whether the store is used at all.
#[derive(Debug)]
pub(crate) struct Spooling {
    pub(crate) spool: Arc<dyn Spool>,
    pub(crate) breaker: Breaker,
    /// Rung when something was put.
    pub(crate) wake: Notify,
}

/// Timeout of the spool; then the response is 503.
const SPOOL_PUT_TIMEOUT: Duration = Duration::from_secs(2);

impl Spooling {
    pub(crate) fn new(spool: Arc<dyn Spool>) -> Spooling {
        Spooling { spool, breaker: Breaker::default(), wake: Notify::new() }
    }

    pub(super) async fn put(&self, spooled: Spooled) -> Result<(), Refusal> {
        let kind: Kind = spooled.came_to.clone();
        let batch = [spooled];
        let put = timeout(SPOOL_PUT_TIMEOUT, catch_panic(self.spool.put(&batch))).await;
        match put.unwrap_or(Err(StoreError::Unavailable("no answer".into()))) {
            Ok(()) => {
                observe::spooled(&kind);
                self.wake.notify_one();
                Ok(())
            }
            Err(error) => {
                tracing::error!(cause = error_chain(&error), "the spool failed, too; a callback is not acknowledged");
                Err(Refusal::Unavailable)
            }
        }
    }
}
