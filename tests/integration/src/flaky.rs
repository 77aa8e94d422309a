//! A store that can be made to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::Digest;
use mpesa_callbacks::store::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, MemoryStore, Owner, Recorded, Requeue,
    Requeued, SettleResult, Settlement, StateCounts, Store, StoreError, Waiting,
};

/// A store that can be made to fail; in memory, unless it is made before another one.
#[derive(Clone, Debug)]
pub struct FlakyStore {
    inner: Arc<dyn Store>,
    switches: Arc<Switches>,
}

impl Default for FlakyStore {
    fn default() -> FlakyStore {
        FlakyStore::before(Arc::new(MemoryStore::new()))
    }
}

#[derive(Debug, Default)]
struct Switches {
    away: AtomicBool,
    slow: AtomicBool,
    deaf: AtomicU32,
    refuses: AtomicBool,
    stalls: AtomicBool,
    blind: AtomicBool,
    held_up: AtomicBool,
    waiting: AtomicU32,
    goes_blind: AtomicBool,
    hint_panics: AtomicBool,
    read: AtomicU64,
}

impl FlakyStore {
    /// Fails in place of this one.
    pub fn before(inner: Arc<dyn Store>) -> FlakyStore {
        FlakyStore { inner, switches: Arc::default() }
    }

    /// Nothing is recorded and nothing decided before is found.
    pub fn go_away(&self, away: bool) {
        self.switches.away.store(away, Ordering::SeqCst);
    }

    /// Recording takes for ever.
    pub fn hang(&self, slow: bool) {
        self.switches.slow.store(slow, Ordering::SeqCst);
    }

    /// The next settlements are written nowhere, as if the process had died before them.
    pub fn lose_settlements(&self, count: u32) {
        self.switches.deaf.store(count, Ordering::SeqCst);
    }

    /// Callbacks with `poison` in their key are refused.
    pub fn refuse_poison(&self) {
        self.switches.refuses.store(true, Ordering::SeqCst);
    }

    /// Reclaiming and counting get no answer.
    pub fn stall_maintenance(&self) {
        self.switches.stalls.store(true, Ordering::SeqCst);
    }

    /// Recording waits until this is taken back.
    pub fn hold_up_recording(&self, held_up: bool) {
        self.switches.held_up.store(held_up, Ordering::SeqCst);
    }

    /// Whether something waits to be recorded.
    pub fn holds_something_up(&self) -> bool {
        self.switches.waiting.load(Ordering::SeqCst) > 0
    }

    /// Nothing is found any more, from the next recording on.
    pub fn go_blind_after_recording(&self) {
        self.switches.goes_blind.store(true, Ordering::SeqCst);
    }

    /// Finds again.
    pub fn see(&self) {
        self.switches.blind.store(false, Ordering::SeqCst);
    }

    /// The next hint panics.
    pub fn panic_at_a_hint(&self) {
        self.switches.hint_panics.store(true, Ordering::SeqCst);
    }

    /// Number of entries that were found so far.
    pub fn read(&self) -> u64 {
        self.switches.read.load(Ordering::SeqCst)
    }

    /// Whether the next hint panics.
    pub fn panics_at_a_hint(&self) -> bool {
        self.switches.hint_panics.load(Ordering::SeqCst)
    }

    fn hinted(&self) {
        assert!(!self.switches.hint_panics.swap(false, Ordering::SeqCst), "a hint panics, as this test wants it");
    }

    async fn maintained(&self) {
        if self.switches.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    fn there(&self) -> Result<(), StoreError> {
        if self.switches.away.load(Ordering::SeqCst) { Err(StoreError::Unavailable("away".into())) } else { Ok(()) }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for FlakyStore {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        self.there()?;
        self.inner.adopt(owner).await
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        self.there()?;
        if self.switches.slow.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.switches.waiting.fetch_add(1, Ordering::SeqCst);
        while self.switches.held_up.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.switches.waiting.fetch_sub(1, Ordering::SeqCst);
        let is_poison = |delivery: &Delivery| delivery.key.as_str().contains("poison");
        if self.switches.refuses.load(Ordering::SeqCst) && batch.iter().any(is_poison) {
            return Err(StoreError::Refused("poison".into()));
        }
        let recorded = self.inner.record(batch).await;
        if self.switches.goes_blind.swap(false, Ordering::SeqCst) {
            self.switches.blind.store(true, Ordering::SeqCst);
        }
        recorded
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        self.there()?;
        self.inner.find_decision(kind, key, content_digest).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.there()?;
        self.inner.claim(claim).await
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        self.there()?;
        self.inner.renew(leases, lease).await
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        self.there()?;
        let lose = self.switches.deaf.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1));
        if lose.is_ok() {
            return Ok(batch.iter().map(|_| SettleResult::LeaseLost).collect());
        }
        self.inner.settle(batch).await
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        self.there()?;
        self.maintained().await;
        self.inner.reclaim_expired().await
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.inner.get(id).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        self.there()?;
        if self.switches.blind.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("blind".into()));
        }
        let found = self.inner.find(lookups).await?;
        self.switches.read.fetch_add(found.len() as u64, Ordering::SeqCst);
        Ok(found)
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        self.inner.list(filter).await
    }

    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        self.inner.requeue(id, reopening).await
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        self.inner.dismiss(id).await
    }

    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError> {
        self.inner.purge(age, extent).await
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        self.inner.trim_quarantine(rows, bytes).await
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        self.maintained().await;
        self.inner.counts().await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.maintained().await;
        self.inner.waiting().await
    }

    async fn check_write(&self) -> Result<(), StoreError> {
        self.there()?;
        self.inner.check_write().await
    }

    fn notify_peers(&self) {
        self.hinted();
        self.inner.notify_peers();
    }

    async fn notified(&self) {
        self.hinted();
        self.inner.notified().await;
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
