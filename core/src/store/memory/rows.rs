//! The rows and their indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use crate::Kind;
use crate::payload::{Digest, Sensitive};
use crate::store::{CallbackId, Entry, Lane, Lookup, Owner, RelatedCallback, State, Waiting};

#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Boxed, because a tree moves its values when it grows.
    pub(super) rows: BTreeMap<CallbackId, Box<Row>>,
    /// Due times of ready callbacks, per lane and kind. Entries of other callbacks are removed when
    /// their time comes.
    pub(super) due: HashMap<(Lane, Kind), BTreeSet<(SystemTime, CallbackId)>>,
    /// A purged callback is found by the replacement of its key.
    pub(super) by_key: HashMap<(Kind, Sensitive), Vec<CallbackId>>,
    /// The same for receipts.
    pub(super) by_receipt: HashMap<String, Vec<CallbackId>>,
    pub(super) owner: Option<Owner>,
    pub(super) has_purged: bool,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) body_digest: Digest,
    pub(super) content_digest: Digest,
    pub(super) detail: Option<Digest>,
    pub(super) fence: i64,
    /// The lane in which it runs, or ran last.
    pub(super) lane: Lane,
    pub(super) interruptions: u32,
    pub(super) interruptions_alone: u32,
    pub(super) repetition: u32,
    /// Fence of its first claim on its own; 0 if there was none.
    pub(super) told: i64,
    /// Its reference was known when it was purged.
    pub(super) had_reference: bool,
    /// Its last delay, or the length of its last lease.
    pub(super) wait: Duration,
    pub(super) lease_until: Option<SystemTime>,
}

/// Returns the replacement of a purged key, receipt or digest. A database uses a keyed HMAC,
/// because it can be stolen; memory needs no key.
pub(super) fn hidden(text: &[u8]) -> Digest {
    Digest::of(&[b"purged:", text].concat())
}

/// Returns a later time; at most a year 9999, because databases know none later.
pub(super) fn later(now: SystemTime, by: Duration) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let last = SystemTime::UNIX_EPOCH + LAST;
    now.checked_add(by).map_or(last, |later| later.min(last))
}

impl Rows {
    pub(super) fn ids_of(&self, kind: &Kind, key: &Sensitive) -> Vec<CallbackId> {
        let purged = self.has_purged.then(|| hidden(key.as_str().as_bytes()).to_hex().into());
        let names = [Some(key.clone()), purged].into_iter().flatten();
        let mut ids: Vec<_> =
            names.filter_map(|name| self.by_key.get(&(kind.clone(), name))).flatten().copied().collect();
        ids.sort();
        ids
    }

    pub(super) fn of_receipt(&self, receipt: &str) -> Vec<&Row> {
        let purged = self.has_purged.then(|| hidden(receipt.as_bytes()).to_hex());
        let names = [Some(receipt.to_owned()), purged].into_iter().flatten();
        let mut ids: Vec<_> = names.filter_map(|name| self.by_receipt.get(&name)).flatten().copied().collect();
        ids.sort();
        ids.iter().filter_map(|id| self.rows.get(id)).map(|row| &**row).collect()
    }

    /// Returns the other callbacks with the same receipt.
    pub(super) fn related(&self, entry: &Entry) -> Vec<RelatedCallback> {
        let Some(receipt) = &entry.receipt else { return Vec::new() };
        let is_related =
            |other: &&Entry| other.kind != entry.kind && !other.kind.is_payment() && other.verdict.is_news();
        let related = self.of_receipt(receipt).into_iter().map(|row| &row.entry).filter(is_related);
        related
            .map(|one| RelatedCallback::new(one.id, one.kind.clone(), one.key.clone(), one.reference.clone()))
            .collect()
    }

    pub(super) fn find(&self, lookups: &[Lookup]) -> Vec<Entry> {
        let mut ids = BTreeSet::new();
        for lookup in lookups {
            match lookup {
                Lookup::Key(kind, key) => {
                    ids.extend(self.by_key.get(&(kind.clone(), key.clone())).into_iter().flatten());
                }
                Lookup::Receipt(receipt) => ids.extend(self.of_receipt(receipt).iter().map(|row| row.entry.id)),
                Lookup::Reference(kind, reference) => ids.extend(
                    self.rows
                        .values()
                        .map(|row| &row.entry)
                        .filter(|entry| entry.kind == *kind && entry.reference.as_ref() == Some(reference))
                        .map(|entry| entry.id),
                ),
            }
        }
        ids.iter().filter_map(|id| self.rows.get(id)).map(|row| row.entry.clone()).collect()
    }

    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let mut waiting: BTreeMap<Kind, Waiting> = BTreeMap::new();
        for entry in self.rows.values().map(|row| &row.entry).filter(|entry| entry.state == State::Ready) {
            let due = entry.run_at.unwrap_or(entry.received_at);
            let one = waiting.entry(entry.kind.clone()).or_insert_with(|| Waiting::new(entry.kind.clone(), 0, due));
            one.count += 1;
            one.due_since = one.due_since.min(due);
        }
        waiting.into_values().collect()
    }

    pub(super) fn purge(&mut self, age: Duration, now: SystemTime) -> u64 {
        let old = |row: &Row| {
            row.entry.received_at.checked_add(age).is_some_and(|at| at < now)
                && row.entry.state == State::Done
                && row.entry.body.is_some()
        };
        let old: Vec<_> = self.rows.values().filter(|row| old(row)).map(|row| row.entry.id).collect();
        for id in &old {
            self.hide(*id);
        }
        old.len() as u64
    }

    fn hide(&mut self, id: CallbackId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        self.has_purged = true;
        let entry = &mut row.entry;
        let key = (entry.kind.clone(), entry.key.clone());
        row.had_reference |= entry.reference.is_some();
        entry.body = None;
        (entry.reference, entry.client_ip, entry.error, entry.content_digest) = (None, None, None, None);
        entry.key = hidden(key.1.as_str().as_bytes()).to_hex().into();
        row.body_digest = hidden(row.body_digest.as_bytes());
        row.content_digest = hidden(row.content_digest.as_bytes());
        row.detail = row.detail.map(|detail| hidden(detail.as_bytes()));
        let receipt = entry.receipt.take();
        entry.receipt = receipt.as_ref().map(|receipt| hidden(receipt.as_bytes()).to_hex());
        if let (Some(plain), Some(hidden)) = (receipt, entry.receipt.clone()) {
            take(&mut self.by_receipt, &plain, id);
            self.by_receipt.entry(hidden).or_default().push(id);
        }
        let hidden = (entry.kind.clone(), entry.key.clone());
        take(&mut self.by_key, &key, id);
        self.by_key.entry(hidden).or_default().push(id);
    }

    pub(super) fn trim_quarantine(&mut self, rows: u64, bytes: u64) -> u64 {
        let quarantined = self.rows.values().rev().map(|row| &row.entry);
        let mut quarantined: Vec<_> = quarantined.filter(|entry| entry.state == State::Quarantined).collect();
        let newest = quarantined.first().map(|entry| entry.id);
        quarantined.sort_by_key(|entry| entry.reference.is_some());
        let (mut kept, mut size) = (0, 0);
        let excess = quarantined.into_iter().filter_map(|entry| {
            kept += 1;
            size += entry.body.as_ref().map_or(0, |body| body.as_bytes().len() as u64);
            let is_newest = Some(entry.id) == newest;
            ((kept > rows || size > bytes) && !is_newest).then(|| (entry.id, entry.kind.clone(), entry.key.clone()))
        });
        let excess: Vec<_> = excess.collect();
        let count = excess.len() as u64;
        for (id, kind, key) in excess {
            self.rows.remove(&id);
            take(&mut self.by_key, &(kind, key), id);
        }
        count
    }
}

/// Removes one id from an index, and the entry with the last one.
fn take<N: std::hash::Hash + Eq>(ids: &mut HashMap<N, Vec<CallbackId>>, name: &N, id: CallbackId) {
    if let Some(under) = ids.get_mut(name) {
        under.retain(|other| *other != id);
        if under.is_empty() {
            ids.remove(name);
        }
    }
}
