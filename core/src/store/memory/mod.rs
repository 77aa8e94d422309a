//! The memory store, for tests.

mod record;

mod rows;

mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::rows::Rows;
use super::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue, Requeued,
    SettleResult, Settlement, State, StateCounts, Store, StoreError, Waiting,
};
use crate::Kind;
use crate::clock::{Clock, SystemClock};
use crate::payload::Digest;

/// A store in memory, for tests. It loses acknowledged callbacks when the process ends: never take
/// money with it.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(Arc::new(SystemClock))
    }

    /// Makes an empty store with this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore { rows: Arc::default(), clock }
    }

    fn rows(&self) -> Result<MutexGuard<'_, Rows>, StoreError> {
        // Nothing below panics between two writes that belong together.
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.closed { Err(StoreError::Closed) } else { Ok(rows) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        let mut rows = self.rows()?;
        match &rows.owner {
            Some(found) if found != owner => Err(StoreError::OtherOwner {
                place: "this memory store".to_owned(),
                found: found.to_text(),
                wanted: owner.to_text(),
            }),
            _ => {
                rows.owner = Some(owner.clone());
                Ok(())
            }
        }
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(batch.iter().map(|delivery| rows.record(delivery, now)).collect())
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        Ok(self.rows()?.find_decision(kind, key, content_digest))
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(rows.claim(claim, now))
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(leases.iter().map(|one| rows.renew(*one, lease, now)).collect())
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(batch.iter().map(|settlement| rows.settle(settlement, now)).collect())
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(rows.sweep(now))
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        Ok(self.rows()?.rows.get(&id).map(|row| row.entry.clone()))
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        Ok(self.rows()?.find(lookups))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let rows = self.rows()?;
        let wanted = |entry: &&Entry| {
            filter.kind.as_ref().is_none_or(|kind| entry.kind == *kind)
                && filter.state.is_none_or(|state| entry.state == state)
                && filter.verdict.is_none_or(|verdict| entry.verdict == verdict)
                && filter.reference.as_ref().is_none_or(|reference| entry.reference.as_ref() == Some(reference))
                && filter.since.is_none_or(|since| entry.received_at >= since)
                && filter.until.is_none_or(|until| entry.received_at < until)
                && filter.before.is_none_or(|before| entry.id < before)
        };
        let entries = rows.rows.values().rev().map(|row| &row.entry).filter(wanted).take(filter.limit);
        Ok(entries.map(|entry| Entry { body: None, ..entry.clone() }).collect())
    }

    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(rows.requeue(id, reopening, now))
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let Some(row) = rows.rows.get_mut(&id) else { return Ok(false) };
        let is_open_payment = row.entry.state == State::Ready && row.entry.kind == Kind::Payment;
        if !matches!(row.entry.state, State::Held | State::Dead | State::Quarantined) && !is_open_payment {
            return Ok(false);
        }
        row.entry.state = State::Done;
        row.entry.run_at = None;
        row.entry.error.get_or_insert_with(|| "dismissed".into());
        row.entry.settled_at = Some(now);
        Ok(true)
    }

    async fn purge(&self, age: Duration, _: Extent) -> Result<u64, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(rows.purge(age, now))
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        Ok(self.rows()?.trim_quarantine(rows, bytes))
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        let mut depth = StateCounts::default();
        self.rows()?.rows.values().for_each(|row| depth.add(row.entry.state, 1));
        Ok(depth)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        Ok(self.rows()?.waiting())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.rows()?.closed = true;
        Ok(())
    }
}
