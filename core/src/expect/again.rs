//! Looking again for callbacks and expectations that were recorded at the same moment.
//!
//! Each is compared with the other right after it was recorded. If that comparison fails, or the
//! process ends before it, neither has seen the other. The maintenance then compares what arrived
//! since.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::judge::{Asked, names};
use crate::engine::Engine;
use crate::receive::{delivery_of, error_chain};
use crate::store::{Delivery, Entry, Filter, Lookup, State, StoreError};

/// How long before the last callback of the previous process to begin: recording takes less.
const START_MARGIN: Duration = Duration::from_secs(2 * 60);

/// Callbacks per step.
const PAGE: usize = 200;

/// From when on callbacks must be compared again.
#[derive(Debug)]
pub(crate) struct LookAgain(Mutex<Since>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Nothing is to be done.
    Never,
    /// Since the last callback that the previous process recorded.
    Start,
    /// Since this time of receipt.
    Time(SystemTime),
}

impl LookAgain {
    /// At the start: nobody knows how the previous process ended.
    pub(crate) fn new() -> LookAgain {
        LookAgain(Mutex::new(Since::Start))
    }

    /// The comparison of a batch failed, or nobody knows whether it was recorded.
    pub(crate) fn since(&self, oldest: Option<SystemTime>) {
        if let Some(oldest) = oldest {
            self.put_back(Since::Time(oldest));
        }
    }

    fn take(&self) -> Since {
        std::mem::replace(&mut *self.lock(), Since::Never)
    }

    fn put_back(&self, since: Since) {
        let mut known = self.lock();
        *known = match (*known, since) {
            (Since::Start, _) | (_, Since::Start) => Since::Start,
            (Since::Time(known), Since::Time(since)) => Since::Time(known.min(since)),
            (Since::Never, since) | (since, Since::Never) => since,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the oldest delivery arrived that may answer an expectation.
pub(crate) fn oldest_expectable(batch: &[Delivery]) -> Option<SystemTime> {
    let expectable = batch.iter().filter(|delivery| delivery.kind.can_be_expected());
    expectable.map(|delivery| delivery.received_at).min()
}

impl Engine {
    /// Compares again what must be, if anything. What fails is done next time.
    pub(crate) async fn look_again(self: &Arc<Self>) {
        let Some(expecting) = self.expecting.as_ref().filter(|_| self.is_adopted.load(Ordering::Relaxed)) else {
            return;
        };
        let since = expecting.look_again.take();
        if since == Since::Never {
            return;
        }
        if let Err(error) = self.compare_since(since).await {
            expecting.look_again.put_back(since);
            tracing::warn!(cause = error_chain(&error), "cannot look up again what was expected; it is done later");
        }
    }

    async fn compare_since(self: &Arc<Self>, since: Since) -> Result<(), StoreError> {
        let newest = self.store.list(&Filter::default().limit(1)).await?;
        let since = match since {
            Since::Time(time) => time,
            _ => match newest.first() {
                Some(newest) => newest.received_at.checked_sub(START_MARGIN).unwrap_or(SystemTime::UNIX_EPOCH),
                None => return Ok(()),
            },
        };
        // All kinds, newest first, until they are too old: a list by kind or time would read the rest of
        // the table for the end of its last page.
        let mut filter = Filter::default().limit(PAGE);
        loop {
            let page = self.store.list(&filter).await?;
            self.compare(&page).await?;
            match page.last() {
                Some(last) if page.iter().any(|entry| entry.received_at >= since) => filter = filter.before(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn compare(self: &Arc<Self>, page: &[Entry]) -> Result<(), StoreError> {
        let is_open = |entry: &&Entry| {
            let is_nobodys = entry.reference.is_none() || entry.state == State::Held;
            entry.kind.can_be_expected() && entry.verdict.is_news() && is_nobodys
        };
        let lookups = page.iter().filter(is_open).map(|entry| Lookup::Key(entry.kind.clone(), entry.key.clone()));
        let lookups: Vec<Lookup> = lookups.collect();
        if lookups.is_empty() {
            return Ok(());
        }
        let entries = self.store.find(&lookups).await?;
        let open = entries.iter().filter(|entry| is_open(entry)).filter_map(|entry| {
            let body = entry.body.clone()?.0;
            let delivery = delivery_of(&self.parsed(entry)?, body, entry.received_at, &self.routes);
            Some((entry, delivery.under(entry.reference.clone())))
        });
        let (open, deliveries): (Vec<&Entry>, Vec<Delivery>) = open.unzip();
        let known = Asked::look(&*self.store, &deliveries).await?;
        for (entry, delivery) in open.into_iter().zip(&deliveries) {
            let expected = names(delivery).iter().find_map(|name| known.expected.get(name));
            if let Some(expected) = expected.filter(|expected| !known.is_another_id(delivery, expected)) {
                self.release_expected(entry, expected).await?;
            }
        }
        Ok(())
    }
}
