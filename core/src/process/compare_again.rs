//! Compares again the callbacks and expectations that were recorded at the same moment.

use std::time::{Duration, SystemTime};

use crate::error_chain::error_chain;
use crate::handler::InboxHandle;
use crate::record::{Asked, Pending, Recorder, UNEXPECTED, names};
use crate::store::{CallbackId, Delivery, Entry, Filter, Lookup, State, StoreError};

/// How far back to begin at start, before the newest callback: recording takes less.
const START_MARGIN: Duration = Duration::from_secs(2 * 60);

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
        if pending.at_start {
            self.compare_held(inbox).await?;
            self.compare_newest(inbox).await?;
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

    /// The newest callbacks, which were handled before their order was known. All kinds, newest first,
    /// until they are too old: a list by kind or time would read the rest of the table for the end of its
    /// last page.
    async fn compare_newest(&self, inbox: &InboxHandle) -> Result<(), StoreError> {
        let mut filter = Filter::default().limit(PAGE);
        let mut since: Option<SystemTime> = None;
        for _ in 0..START_PAGES {
            let page = self.store.list(&filter).await?;
            let (Some(newest), Some(last)) = (page.iter().map(|entry| entry.received_at).max(), page.last()) else {
                return Ok(());
            };
            let since = *since.get_or_insert(newest.checked_sub(START_MARGIN).unwrap_or(SystemTime::UNIX_EPOCH));
            if newest < since {
                return Ok(());
            }
            self.compare(&page, inbox).await?;
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
            let is_unexpected = || entry.error.as_ref().is_some_and(|error| error.as_str() == UNEXPECTED);
            let is_open = if entry.state == State::Held { is_unexpected() } else { entry.reference.is_none() };
            entry.kind.can_be_expected() && entry.verdict.is_news() && is_open
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
        for (entry, delivery) in open.into_iter().zip(&deliveries) {
            if let Some(expected) = names(delivery).iter().find_map(|name| known.expected.get(name)) {
                self.release_expected(entry, expected, inbox).await?;
            }
        }
        Ok(())
    }
}
