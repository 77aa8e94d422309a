//! Compares again the callbacks and expectations that were recorded at the same moment.

use std::time::{Duration, SystemTime};

use crate::error_chain::error_chain;
use crate::handler::InboxHandle;
use crate::record::{Asked, Pending, Recorder, names, waits_for_expectation};
use crate::store::{CallbackId, Delivery, Entry, Filter, Lookup, State, StoreError};

/// Recording takes less. So far back the comparison begins at start; and a callback and an expectation
/// that are further apart have not missed each other: the one was held although the other was known, and
/// waits for a person.
const MARGIN: Duration = Duration::from_secs(2 * 60);

/// How many pages are read at start at most, whatever the clocks say.
const START_PAGES: usize = 50;

/// Number of callbacks that are read per step.
const PAGE: usize = 200;

impl Recorder {
    /// Compares again the callbacks that need it, if any. After a failure it is repeated next time.
    pub(crate) async fn look_again(&self, inbox: &InboxHandle) {
        let Some(expecting) = &self.expecting else { return };
        let pending = expecting.look_again.take();
        if let Err(error) = self.compare_pending(pending, inbox).await {
            expecting.look_again.add(pending);
            tracing::warn!(
                cause = error_chain(&error),
                "cannot compare callbacks with expectations after recording; maintenance repeats it"
            );
        }
    }

    async fn compare_pending(&self, pending: Pending, inbox: &InboxHandle) -> Result<(), StoreError> {
        if let Some(started) = pending.at_start {
            self.compare_held(inbox).await?;
            self.compare_newest(started, inbox).await?;
        }
        match pending.from {
            Some(from) => self.compare_from(from, inbox).await,
            None => Ok(()),
        }
    }

    /// Everything that is held: money must not stay there because a process ended, however long ago.
    async fn compare_held(&self, inbox: &InboxHandle) -> Result<(), StoreError> {
        let mut filter = Filter::default().state(State::Held).limit(PAGE);
        loop {
            let page = self.store.list(&filter).await?;
            self.compare(&page, inbox).await?;
            match page.last() {
                Some(last) => filter = filter.before(last.id),
                None => return Ok(()),
            }
        }
    }

    /// The newest callbacks, which were handled before their order was known. All kinds, newest first, without
    /// those that are too old: a list by kind or time would read the rest of the table for the end of its last
    /// page.
    async fn compare_newest(&self, started: SystemTime, inbox: &InboxHandle) -> Result<(), StoreError> {
        let mut filter = Filter::default().limit(PAGE);
        let mut since: Option<SystemTime> = None;
        for _ in 0..START_PAGES {
            let page = self.store.list(&filter).await?;
            let (Some(newest), Some(last)) = (page.iter().map(|entry| entry.received_at).max(), page.last()) else {
                return Ok(());
            };
            let before = || newest.min(started).checked_sub(MARGIN).unwrap_or(SystemTime::UNIX_EPOCH);
            let since = *since.get_or_insert_with(before);
            // A spool that was replayed brings pages of old ones.
            if newest >= since {
                self.compare(&page, inbox).await?;
            }
            filter = filter.before(last.id);
        }
        Ok(())
    }

    async fn compare_from(&self, from: CallbackId, inbox: &InboxHandle) -> Result<(), StoreError> {
        let mut filter = Filter::default().limit(PAGE);
        loop {
            let page = self.store.list(&filter).await?;
            self.compare(&page, inbox).await?;
            match page.last() {
                Some(last) if last.id > from => filter = filter.before(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn compare(&self, page: &[Entry], inbox: &InboxHandle) -> Result<(), StoreError> {
        let is_open = |entry: &&Entry| {
            let is_nobodys = entry.state != State::Held && entry.verdict.is_news() && entry.reference.is_none();
            entry.kind.can_be_expected() && (waits_for_expectation(entry) || is_nobodys)
        };
        let lookups = page.iter().filter(is_open).map(|entry| Lookup::Key(entry.kind.clone(), entry.key.clone()));
        let lookups: Vec<Lookup> = lookups.collect();
        if lookups.is_empty() {
            return Ok(());
        }
        let entries = self.store.find(&lookups).await?;
        let open = entries.iter().filter(is_open).filter_map(|entry| Some((entry, self.delivery_of_entry(entry)?)));
        let (open, deliveries): (Vec<&Entry>, Vec<Delivery>) = open.unzip();
        let known = Asked::look(&*self.store, &deliveries).await?;
        let mut failed = None;
        for (entry, delivery) in open.into_iter().zip(&deliveries) {
            let names = names(delivery);
            let met = names.iter().find(|name| known.recorded_at.get(*name).is_some_and(|at| met(*at, entry)));
            if let Some(expected) = met.and_then(|name| known.expected.get(name)) {
                // One that fails must not keep the others waiting.
                failed = self.release_expected(entry, expected, inbox).await.err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Returns whether an expectation was recorded at about the same time as a callback.
fn met(expected_at: SystemTime, entry: &Entry) -> bool {
    let (earlier, later) = (expected_at.min(entry.received_at), expected_at.max(entry.received_at));
    later.duration_since(earlier).is_ok_and(|between| between <= MARGIN)
}
