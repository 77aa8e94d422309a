//! A store behind an `Arc` is a store, for applications and tests that keep a handle to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue, Requeued,
    SettleResult, Settlement, StateCounts, Store, StoreError, Waiting,
};
use crate::Kind;
use crate::payload::Digest;

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        (**self).adopt(owner).await
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        (**self).record(batch).await
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        (**self).find_decision(kind, key, content_digest).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        (**self).claim(claim).await
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        (**self).renew(leases, lease).await
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        (**self).settle(batch).await
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        (**self).reclaim_expired().await
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        (**self).get(id).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        (**self).find(lookups).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        (**self).list(filter).await
    }

    async fn requeue(&self, id: CallbackId, requeue: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        (**self).requeue(id, requeue).await
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        (**self).dismiss(id).await
    }

    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError> {
        (**self).purge(age, extent).await
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        (**self).trim_quarantine(rows, bytes).await
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        (**self).counts().await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        (**self).waiting().await
    }

    async fn check_write(&self) -> Result<(), StoreError> {
        (**self).check_write().await
    }

    fn notify_peers(&self) {
        (**self).notify_peers();
    }

    async fn notified(&self) {
        (**self).notified().await;
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}
