//! Reading an inbox, and the operations that need a person's decision.

use std::fmt;
use std::time::Duration;

use super::engine::Inbox;
use crate::Kind;
use crate::handler::NOT_BOOKED_YET;
use crate::payload::Parsed;
use crate::store::{
    CallbackId, Entry, Extent, Filter, Lookup, Requeue, Requeued, SpoolDepth, State, StateCounts, StoreError, Verdict,
    Waiting,
};

impl Inbox {
    /// Returns one callback, with its body unless that was purged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.engine().recorder.store.get(id).await
    }

    /// Returns callbacks, newest first, without bodies.
    ///
    /// ```no_run
    /// # async fn example(inbox: mpesa_callbacks_core::Inbox) -> Result<(), mpesa_callbacks_core::store::StoreError> {
    /// use mpesa_callbacks_core::store::{Filter, State};
    ///
    /// for dead in inbox.list(&Filter::default().state(State::Dead)).await? {
    ///     println!("{} {}: {}", dead.id, dead.kind, dead.error.map(|error| error.into_string()).unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        self.engine().recorder.store.list(filter).await
    }

    /// Returns the callbacks with a key, reference or receipt, with bodies, oldest first.
    ///
    /// ```no_run
    /// # async fn example(inbox: mpesa_callbacks_core::Inbox) -> Result<(), mpesa_callbacks_core::store::StoreError> {
    /// use mpesa_callbacks_core::store::Lookup;
    ///
    /// // "I have paid, and the receipt is RKTQDM7W6S."
    /// for entry in inbox.find(&[Lookup::Receipt("RKTQDM7W6S".into())]).await? {
    ///     println!("{} {} is {}", entry.id, entry.kind, entry.state.name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        let mut found = self.engine().recorder.store.find(lookups).await?;
        found.sort_by_key(|entry| entry.id);
        Ok(found)
    }

    /// Returns the number of callbacks per state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(&self) -> Result<StateCounts, StoreError> {
        self.engine().recorder.store.counts().await
    }

    /// Returns the queue per kind. Kinds that [this process does not handle](Inbox::routes) wait
    /// for a process that handles them: an older or newer release.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.engine().recorder.store.waiting().await
    }

    /// Returns how many deliveries wait in the spool, and since when; `None` without a spool. Do
    /// not remove an instance and its disk while its spool is not empty.
    ///
    /// # Errors
    /// When the spool fails.
    pub async fn spool_depth(&self) -> Result<Option<SpoolDepth>, StoreError> {
        match &self.engine().recorder.spooling {
            Some(spooling) => spooling.spool.depth().await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns which callback a held one contradicts, and in which fields; `None` when it
    /// contradicts none, or one of the two was purged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn contradiction(&self, id: CallbackId) -> Result<Option<Contradiction>, StoreError> {
        let recorder = &self.engine().recorder;
        let Some(entry) = recorder.store.get(id).await? else { return Ok(None) };
        let Some(earlier) = entry.earlier.filter(|_| entry.verdict == Verdict::Conflict) else { return Ok(None) };
        let Some(other) = recorder.store.get(earlier).await? else { return Ok(None) };
        let (one, other) = (recorder.parsed(&entry), recorder.parsed(&other));
        Ok(one.zip(other).map(|(one, other)| Contradiction { earlier, differs_in: differences(&one, &other) }))
    }

    /// Makes a held callback and its payment ready to be handled; `None` when it is not held.
    ///
    /// The result contains the verdict on the payment. [`Verdict::Conflict`] means that it
    /// contradicts another payment of the same receipt: it is held, and `#[on_conflict]` is called.
    /// Release it by its own id to run `#[payment]` for it, too. The effects of the other payment
    /// are yours to undo; [`CallbackContext::earlier`](crate::CallbackContext::earlier) returns its
    /// id.
    ///
    /// ```no_run
    /// # use mpesa_callbacks_core::store::{CallbackId, StoreError, Verdict};
    /// # async fn example(inbox: mpesa_callbacks_core::Inbox, id: CallbackId) -> Result<(), StoreError> {
    /// // Somebody has looked at it, and it is the true one:
    /// if let Some(released) = inbox.release(id).await?
    ///     && let Some((payment, Verdict::Conflict)) = released.payment
    /// {
    ///     inbox.release(payment).await?; // in place of the payment that was booked
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, id: CallbackId) -> Result<Option<Requeued>, StoreError> {
        self.engine().recorder.release(id, None, &self.handle()).await
    }

    /// Makes a dead callback ready again, with all its attempts; `false` when it is not dead.
    ///
    /// A dead callback may already have been applied: the process may have died after the
    /// transactor's commit and before the settlement, at the last attempt. Requeue it, and the
    /// idempotency key prevents a second effect. Do not make the effect by hand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn requeue(&self, id: CallbackId) -> Result<bool, StoreError> {
        let requeued = self.engine().recorder.store.requeue(id, &Requeue::from(State::Dead)).await?;
        self.engine().recorder.ready.wake();
        Ok(requeued.is_some())
    }

    /// Makes all dead callbacks ready again that match the filter, and returns how many. The
    /// filter's state and limit are ignored.
    ///
    /// ```no_run
    /// # async fn example(inbox: mpesa_callbacks_core::Inbox) -> Result<(), mpesa_callbacks_core::store::StoreError> {
    /// use mpesa_callbacks_core::Kind;
    /// use mpesa_callbacks_core::store::Filter;
    ///
    /// let requeued = inbox.requeue_all(&Filter::default().kind(Kind::Payment)).await?;
    /// # let _ = requeued;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store fails. Callbacks before the failure are requeued.
    pub async fn requeue_all(&self, filter: &Filter) -> Result<u64, StoreError> {
        const PAGE: usize = 500;
        let mut filter = filter.clone().state(State::Dead).limit(PAGE);
        let mut requeued = 0;
        loop {
            let page = self.list(&filter).await?;
            let Some(last) = page.last() else { return Ok(requeued) };
            filter = filter.before(last.id);
            for entry in page {
                requeued += u64::from(self.requeue(entry.id).await?);
            }
        }
    }

    /// Handles a callback again that is done: after a bug in a handler was fixed, or after the
    /// application's own database was restored from a backup. `false` when it is not done, or its
    /// body was purged.
    ///
    /// The handler runs as for a new callback. Its transaction gets another idempotency key, so the
    /// transactor does not skip it.
    /// [`CallbackContext::repetition`](crate::CallbackContext::repetition) counts the repetitions.
    /// The reason is stored with the callback until it is done.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn handle_again(&self, id: CallbackId, reason: &str) -> Result<bool, StoreError> {
        let reopening = Requeue { reason: Some(reason), ..Requeue::from(State::Done) };
        let reopened = self.engine().recorder.store.requeue(id, &reopening).await?;
        self.engine().recorder.ready.wake();
        Ok(reopened.is_some())
    }

    /// Closes a held, dead or quarantined callback without handling it; `false` when it is in
    /// another state. If the inbox has no `#[payment]` handler, the payment that a dead callback reports is closed with
    /// it, so that a later release with one does not book it; not if a process with `#[payment]` is at work on it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let engine = self.engine();
        let store = &engine.recorder.store;
        let Some(entry) = store.get(id).await? else { return Ok(false) };
        if !matches!(entry.state, State::Held | State::Dead | State::Quarantined) {
            return Ok(false);
        }
        if let (State::Dead, Some(receipt), None) =
            (entry.state, &entry.receipt, engine.receiver.routes.of(&Kind::Payment))
        {
            let payment = store.find(&[Lookup::Key(Kind::Payment, receipt.as_str().into())]).await?;
            // One that another process has attempted is that process's, unless the callback died waiting for it.
            let is_left = entry.error.as_ref().is_some_and(|error| error.as_str() == NOT_BOOKED_YET);
            let is_ours = |payment: &&Entry| payment.state == State::Ready && (payment.attempts == 0 || is_left);
            for payment in payment.iter().filter(is_ours) {
                store.dismiss(payment.id).await?;
            }
        }
        store.dismiss(id).await
    }

    /// Deletes the bodies of callbacks that are done and were received longer than `age` ago, and
    /// replaces their keys, receipts and digests by keyed HMACs. Late duplicates are still
    /// recognised. Returns the number of deleted bodies.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        self.engine().recorder.store.purge(age, Extent::All).await
    }
}

/// A contradiction between a held callback and an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contradiction {
    /// The id of the earlier callback.
    pub earlier: CallbackId,
    /// The fields that differ: `outcome`, `amount`, `receipt`, `account`, `short code`.
    pub differs_in: Vec<&'static str>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another {} than callback {}", self.differs_in.join(" and "), self.earlier)
    }
}

fn differences(one: &Parsed, other: &Parsed) -> Vec<&'static str> {
    let (one_said, other_said) = (one.facts(), other.facts());
    let differs = [
        ("outcome", one.callback.outcome() != other.callback.outcome()),
        ("amount", one_said.amount != other_said.amount),
        ("receipt", one.receipt() != other.receipt()),
        ("account", one_said.account != other_said.account),
        ("short code", one_said.business_short_code != other_said.business_short_code),
    ];
    differs.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
}
