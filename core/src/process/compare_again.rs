//! Compares again the callbacks and expectations that were recorded at the same moment.

use std::time::{Duration, SystemTime};

use crate::error_chain::error_chain;
use crate::handler::InboxHandle;
use crate::record::{Asked, Recorder, Since, delivery_of, names};
use crate::store::{Delivery, Entry, Filter, Lookup, State, StoreError};

/// How long before the last callback of the previous process to begin: recording takes less.
const START_MARGIN: Duration = Duration::from_secs(2 * 60);

/// Number of callbacks that are read per step.
const PAGE: usize = 200;

impl Recorder {
    /// Compares again the callbacks that need it, if any. After a failure it is repeated next time.
    pub(crate) async fn look_again(&self, inbox: &InboxHandle) {
        let Some(expecting) = &self.expecting else { return };
        let since = expecting.look_again.take();
        if since == Since::Never {
            return;
        }
        if let Err(error) = self.compare_since(since, inbox).await {
            expecting.look_again.put_back(since);
            tracing::warn!(
                cause = error_chain(&error),
                "cannot compare callbacks with expectations after recording; maintenance repeats it"
            );
        }
    }

    async fn compare_since(&self, since: Since, inbox: &InboxHandle) -> Result<(), StoreError> {
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
            self.compare(&page, inbox).await?;
            match page.last() {
                Some(last) if page.iter().any(|entry| entry.received_at >= since) => filter = filter.before(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn compare(&self, page: &[Entry], inbox: &InboxHandle) -> Result<(), StoreError> {
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
                self.release_expected(entry, expected, inbox).await?;
            }
        }
        Ok(())
    }
}
