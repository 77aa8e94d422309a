//! A store that forgets everything when the process ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{
    CallbackId, Claimed, Depth, Ending, Entry, Filter, Known, Lease, Received, Recorded, Settled, Settlement, Sibling,
    State, Store, StoreError, Verdict,
};
use crate::clock::{Clock, SystemClock};
use crate::kind::Kind;
use crate::payload::{Digest, Private};

/// A store that forgets everything when the process ends: for tests. It loses what was acknowledged; never take money
/// with it.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Rows {
    /// In boxes, because a tree moves what is in it whenever it grows.
    rows: BTreeMap<CallbackId, Box<Row>>,
    /// When callbacks that are ready are due. Those that are no longer ready go when their time has come.
    due: BTreeSet<(SystemTime, CallbackId)>,
    by_key: HashMap<(Kind, Name), Vec<CallbackId>>,
    by_receipt: HashMap<String, Vec<CallbackId>>,
    has_purged: bool,
    closed: bool,
}

/// A key, or the fingerprint of one whose callback was purged. (A database would make it a keyed HMAC, because it can be
/// stolen; what is gone with the process needs none.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Key(Private),
    Purged(Digest),
}

impl Name {
    fn purged(key: &str) -> Name {
        Name::Purged(Digest::of(key.as_bytes()))
    }
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    digest: Digest,
    meaning: Digest,
    fence: i64,
    interruptions: u32,
    lease_until: Option<SystemTime>,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(Arc::new(SystemClock))
    }

    /// An empty store that reads this clock.
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
    async fn record(&self, batch: &[Received]) -> Result<Vec<Recorded>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        Ok(batch.iter().map(|received| rows.record(received, now)).collect())
    }

    async fn decision(&self, kind: &Kind, key: &str, meaning: &Digest) -> Result<Option<String>, StoreError> {
        let rows = self.rows()?;
        let same = rows.known(kind, key).into_iter().find(|known| known.meaning == *meaning);
        Ok(same.and_then(|known| rows.rows.get(&known.id)).and_then(|row| row.entry.decision.clone()))
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let mut claimed = Vec::new();
        while claimed.len() < limit
            && let Some((at, id)) = rows.due.pop_first()
        {
            if at > now {
                rows.due.insert((at, id));
                break;
            }
            claimed.extend(rows.claim(id, at, now + lease));
        }
        Ok(claimed)
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let mut rows = self.rows()?;
        let until = self.clock.now() + lease;
        let renew = |lease: &Lease| rows.held(*lease).map(|row| row.lease_until = Some(until)).is_some();
        Ok(leases.iter().map(renew).collect())
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let settle = |settlement: &Settlement| {
            if rows.was_settled(settlement) {
                return Settled::Written;
            }
            let Some(row) = rows.held(settlement.lease) else { return Settled::LeaseLost };
            row.settle(&settlement.ending, now);
            let (id, run_at) = (row.entry.id, row.entry.run_at);
            rows.due.extend(run_at.map(|at| (at, id)));
            Settled::Written
        };
        Ok(batch.iter().map(settle).collect())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let expired =
            |row: &&mut Box<Row>| row.entry.state == State::Running && row.lease_until.is_some_and(|until| until < now);
        let mut swept = Vec::new();
        for row in rows.rows.values_mut().filter(expired) {
            row.entry.state = State::Ready;
            row.entry.run_at = Some(now);
            row.interruptions += 1;
            row.lease_until = None;
            swept.push((now, row.entry.id));
        }
        let count = swept.len() as u64;
        rows.due.extend(swept);
        Ok(count)
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        Ok(self.rows()?.rows.get(&id).map(|row| row.entry.clone()))
    }

    async fn find(&self, names: &[(Kind, Private)]) -> Result<Vec<Entry>, StoreError> {
        let rows = self.rows()?;
        let ids = names.iter().filter_map(|(kind, key)| rows.by_key.get(&(kind.clone(), Name::Key(key.clone()))));
        Ok(ids.flatten().filter_map(|id| rows.rows.get(id)).map(|row| row.entry.clone()).collect())
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

    async fn reopen(&self, id: CallbackId, from: State, payment: Option<&Received>) -> Result<bool, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let Some(row) = rows.rows.get_mut(&id).filter(|row| row.entry.state == from) else { return Ok(false) };
        row.entry.state = State::Ready;
        row.entry.run_at = Some(now);
        row.entry.attempts = 0;
        row.entry.settled_at = None;
        row.interruptions = 0;
        rows.due.insert((now, id));
        if let Some(payment) = payment {
            rows.record(payment, now);
        }
        Ok(true)
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let mut rows = self.rows()?;
        let open = |row: &&mut Box<Row>| matches!(row.entry.state, State::Held | State::Dead | State::Quarantined);
        let Some(row) = rows.rows.get_mut(&id).filter(open) else { return Ok(false) };
        row.entry.state = State::Done;
        row.entry.settled_at = Some(self.clock.now());
        Ok(true)
    }

    async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        let mut rows = self.rows()?;
        let now = self.clock.now();
        let old = |row: &Row| {
            row.entry.received_at.checked_add(age).is_some_and(|at| at < now)
                && row.entry.state == State::Done
                && row.entry.body.is_some()
        };
        let old: Vec<_> = rows.rows.values().filter(|row| old(row)).map(|row| row.entry.id).collect();
        for id in &old {
            rows.purge(*id);
        }
        Ok(old.len() as u64)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        let mut all = self.rows()?;
        let mut quarantined: Vec<_> =
            all.rows.values().rev().map(|row| &row.entry).filter(|entry| entry.state == State::Quarantined).collect();
        let newest = quarantined.first().map(|entry| entry.id);
        quarantined.sort_by_key(|entry| entry.reference.is_some());
        let (mut kept, mut size) = (0, 0);
        let excess = quarantined.into_iter().filter_map(|entry| {
            kept += 1;
            size += entry.body.as_ref().map_or(0, |body| body.as_bytes().len() as u64);
            ((kept > rows || size > bytes) && Some(entry.id) != newest).then_some(entry.id)
        });
        let excess: Vec<_> = excess.collect();
        for id in &excess {
            all.remove(*id);
        }
        Ok(excess.len() as u64)
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        let mut depth = Depth::default();
        self.rows()?.rows.values().for_each(|row| depth.add(row.entry.state, 1));
        Ok(depth)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.rows()?.closed = true;
        Ok(())
    }
}

impl Rows {
    fn known(&self, kind: &Kind, key: &str) -> Vec<Known> {
        let purged = self.has_purged.then(|| Name::purged(key));
        let names = [Some(Name::Key(key.into())), purged].into_iter().flatten();
        let ids = names.filter_map(|name| self.by_key.get(&(kind.clone(), name))).flatten();
        let rows = ids.filter_map(|id| self.rows.get(id));
        rows.map(|row| Known { id: row.entry.id, digest: row.digest, meaning: row.meaning }).collect()
    }

    fn record(&mut self, received: &Received, now: SystemTime) -> Recorded {
        let known = self.known(&received.kind, received.key.as_str());
        let (verdict, same) = received.verdict(&known, self.is_receipt_taken(received));
        let same = same.and_then(|id| self.rows.get_mut(&id));
        let decision = match &same {
            Some(row) => row.entry.decision.clone(),
            None => received.decision.clone(),
        };
        if let (Verdict::Duplicate, Some(row)) = (verdict, same) {
            row.entry.seen += 1;
            row.entry.last_seen_at = received.received_at;
            return Recorded::new(row.entry.id, verdict, decision, None);
        }

        let id = CallbackId(self.rows.last_key_value().map_or(0, |(id, _)| id.0) + 1);
        let state = received.state(verdict);
        let entry = Entry {
            id,
            kind: received.kind.clone(),
            key: received.key.clone(),
            verdict,
            state,
            received_at: received.received_at,
            seen: 1,
            last_seen_at: received.received_at,
            peer: received.peer,
            meaning: Some(received.meaning),
            reference: received.reference.clone(),
            receipt: received.receipt.clone(),
            attempts: 0,
            run_at: (state == State::Ready).then_some(now + received.due_after),
            settled_at: (state == State::Done).then_some(now),
            error: received.reason().map(Private::from),
            decision: decision.clone(),
            body: Some(received.body.clone()),
        };
        self.by_key.entry((received.kind.clone(), Name::Key(received.key.clone()))).or_default().push(id);
        let row = Row {
            entry,
            digest: received.digest,
            meaning: received.meaning,
            fence: 0,
            interruptions: 0,
            lease_until: None,
        };
        if let Some(receipt) = &received.receipt {
            self.by_receipt.entry(receipt.clone()).or_default().push(id);
        }
        self.due.extend(row.entry.run_at.map(|at| (at, id)));
        self.rows.insert(id, Box::new(row));
        let payment = received.payment.as_deref().filter(|_| verdict == Verdict::First);
        let payment = payment.map(|payment| self.record(payment, now));
        let payment = payment.map(|payment| (payment.id, payment.verdict));
        Recorded::new(id, verdict, decision, payment)
    }

    fn is_receipt_taken(&self, received: &Received) -> bool {
        let Some(ids) = received.receipt.as_ref().and_then(|receipt| self.by_receipt.get(receipt)) else {
            return false;
        };
        let names = [received.key.clone(), purged_key(received.key.as_str())];
        ids.iter().filter_map(|id| self.rows.get(id)).any(|row| {
            let entry = &row.entry;
            entry.kind == received.kind && entry.verdict == Verdict::First && !names.contains(&entry.key)
        })
    }

    /// What was due then, if it still is.
    fn claim(&mut self, id: CallbackId, due: SystemTime, until: SystemTime) -> Option<Claimed> {
        let is_due = |row: &&mut Box<Row>| row.entry.state == State::Ready && row.entry.run_at == Some(due);
        let row = self.rows.get_mut(&id).filter(is_due)?;
        row.entry.state = State::Running;
        row.entry.attempts += 1;
        row.entry.run_at = None;
        row.fence += 1;
        row.lease_until = Some(until);
        let row = self.rows.get(&id)?;
        let entry = &row.entry;
        Some(Claimed {
            lease: Lease { id, fence: row.fence },
            kind: entry.kind.clone(),
            key: entry.key.clone(),
            body: entry.body.clone()?,
            verdict: entry.verdict,
            received_at: entry.received_at,
            peer: entry.peer,
            meaning: Some(row.meaning),
            reference: entry.reference.clone(),
            attempt: entry.attempts,
            interruptions: row.interruptions,
            sibling: self.sibling(entry),
            last_error: entry.error.clone(),
        })
    }

    fn sibling(&self, entry: &Entry) -> Option<Sibling> {
        let receipt = entry.receipt.as_ref()?;
        let is_sibling =
            |other: &&Entry| other.kind != entry.kind && other.kind != Kind::Payment && other.verdict == Verdict::First;
        let told = self.by_receipt.get(receipt)?.iter().filter_map(|id| self.rows.get(id));
        let sibling = told.map(|row| &row.entry).find(is_sibling)?;
        Some(Sibling { id: sibling.id, kind: sibling.kind.clone(), key: sibling.key.clone() })
    }

    /// The row that runs under this lease.
    fn held(&mut self, lease: Lease) -> Option<&mut Row> {
        let row = self.rows.get_mut(&lease.id)?;
        (row.entry.state == State::Running && row.fence == lease.fence).then_some(row)
    }

    /// Whether this settlement was written before.
    fn was_settled(&self, settlement: &Settlement) -> bool {
        let end = settlement.ending.state();
        let row = self.rows.get(&settlement.lease.id).filter(|row| row.fence == settlement.lease.fence);
        end != State::Ready && row.is_some_and(|row| row.entry.state == end)
    }

    fn remove(&mut self, id: CallbackId) {
        self.rows.remove(&id);
        self.by_key.retain(|_, ids| {
            ids.retain(|other| *other != id);
            !ids.is_empty()
        });
    }

    fn purge(&mut self, id: CallbackId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        self.has_purged = true;
        let purged = Name::purged(row.entry.key.as_str());
        row.entry.body = None;
        (row.entry.reference, row.entry.peer, row.entry.error) = (None, None, None);
        row.entry.key = purged_key(row.entry.key.as_str());
        let kind = row.entry.kind.clone();
        for ids in self.by_key.values_mut() {
            ids.retain(|other| *other != id);
        }
        self.by_key.entry((kind, purged)).or_default().push(id);
    }
}

/// What stands in a purged key's place.
fn purged_key(key: &str) -> Private {
    Digest::of(key.as_bytes()).to_hex().into()
}

impl Row {
    fn settle(&mut self, ending: &Ending, now: SystemTime) {
        let entry = &mut self.entry;
        self.lease_until = None;
        match ending {
            Ending::Done => {
                entry.state = State::Done;
                entry.error = None;
                entry.settled_at = Some(now);
            }
            Ending::Retry { after, error } => {
                entry.state = State::Ready;
                entry.run_at = Some(now + *after);
                entry.error = Some(error.clone());
            }
            Ending::Dead { error } => {
                entry.state = State::Dead;
                entry.error = Some(error.clone());
                entry.settled_at = Some(now);
            }
            Ending::Held { error } => {
                entry.state = State::Held;
                entry.error = Some(error.clone());
            }
            Ending::Released { after } => {
                entry.state = State::Ready;
                entry.run_at = Some(now + *after);
                entry.attempts = entry.attempts.saturating_sub(1);
            }
        }
    }
}
