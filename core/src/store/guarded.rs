//! The store as the engine calls it. A store is foreign code over a network: it may panic, and it
//! may never answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue, Requeued,
    SettleResult, Settlement, StateCounts, Store, StoreError, Waiting, catch_panic,
};
use crate::Kind;
use crate::payload::Digest;

/// Limit of calls that read or write a few rows. Without one, a server that loses its power between
/// a query and the answer would block the caller forever: no packet is outstanding, so TCP waits.
const QUICK_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of calls that may read many rows, or create tables.
const SLOW_TIMEOUT: Duration = Duration::from_secs(60);

/// Limit of a purge, which works in small steps; the next one continues.
const PURGE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A store whose every call ends: an error replaces a panic and a missing answer. Repeating a call
/// whose result is unknown is safe by the contract of [`Store`].
#[derive(Debug)]
pub(crate) struct GuardedStore {
    store: Arc<dyn Store>,
    recording_timeout: Duration,
}

impl GuardedStore {
    /// Guards a store. Recording may take as long as this.
    pub(crate) fn new(store: Arc<dyn Store>, recording_timeout: Duration) -> GuardedStore {
        GuardedStore { store, recording_timeout }
    }
}

async fn within<T>(limit: Duration, asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(limit, catch_panic(asking)).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable(format!("the store did not answer within {limit:?}").into())),
    }
}

#[async_trait]
impl Store for GuardedStore {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        within(SLOW_TIMEOUT, self.store.adopt(owner)).await
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        within(self.recording_timeout.max(QUICK_TIMEOUT), self.store.record(batch)).await
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        within(QUICK_TIMEOUT, self.store.find_decision(kind, key, content_digest)).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        within(QUICK_TIMEOUT, self.store.claim(claim)).await
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        within(QUICK_TIMEOUT, self.store.renew(leases, lease)).await
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        within(QUICK_TIMEOUT, self.store.settle(batch)).await
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        within(SLOW_TIMEOUT, self.store.reclaim_expired()).await
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        within(QUICK_TIMEOUT, self.store.get(id)).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        within(QUICK_TIMEOUT, self.store.find(lookups)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        within(SLOW_TIMEOUT, self.store.list(filter)).await
    }

    async fn requeue(&self, id: CallbackId, requeue: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        within(QUICK_TIMEOUT, self.store.requeue(id, requeue)).await
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        within(QUICK_TIMEOUT, self.store.dismiss(id)).await
    }

    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError> {
        within(PURGE_TIMEOUT, self.store.purge(age, extent)).await
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        within(SLOW_TIMEOUT, self.store.trim_quarantine(rows, bytes)).await
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        within(SLOW_TIMEOUT, self.store.counts()).await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        within(SLOW_TIMEOUT, self.store.waiting()).await
    }

    async fn check_write(&self) -> Result<(), StoreError> {
        within(QUICK_TIMEOUT, self.store.check_write()).await
    }

    fn notify_peers(&self) {
        // A hint: it was reported where it panicked, and polling finds the callbacks.
        let _ = catch_unwind(AssertUnwindSafe(|| self.store.notify_peers()));
    }

    async fn notified(&self) {
        let notified = async {
            self.store.notified().await;
            Ok(())
        };
        if catch_panic(notified).await.is_err() {
            // Polling finds the callbacks. At once it would panic again, and again.
            std::future::pending::<()>().await;
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        within(SLOW_TIMEOUT, self.store.close()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_an_error() {
        let silent = within(QUICK_TIMEOUT, std::future::pending::<Result<(), StoreError>>()).await;
        assert!(matches!(silent, Err(StoreError::Unavailable(_))));
        let store = GuardedStore::new(Arc::new(MemoryStore::new()), QUICK_TIMEOUT);
        assert!(store.counts().await.is_ok());
    }
}
