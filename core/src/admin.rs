//! Reading an inbox, and the operations that need a person's decision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Kind;
use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::payload::{self, Parsed, Sensitive, strike_credentials};
use crate::receive::delivery_of;
use crate::store::{
    CallbackId, Delivery, Disposition, Entry, Extent, Filter, Lookup, Recorded, Requeue, Requeued, SpoolDepth, State,
    StateCounts, StoreError, Verdict, Waiting,
};
use crate::urls::is_reference;

impl Inbox {
    /// Returns one callback, with its body unless that was purged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.engine().store.get(id).await
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
        self.engine().store.list(filter).await
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
        let mut found = self.engine().store.find(lookups).await?;
        found.sort_by_key(|entry| entry.id);
        Ok(found)
    }

    /// Returns the number of callbacks per state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(&self) -> Result<StateCounts, StoreError> {
        self.engine().store.counts().await
    }

    /// Returns the queue per kind. Kinds that [this process does not handle](Inbox::routes) wait
    /// for a process that handles them: an older or newer release.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.engine().store.waiting().await
    }

    /// Returns how many deliveries wait in the spool, and since when; `None` without a spool. Do
    /// not remove an instance and its disk while its spool is not empty.
    ///
    /// # Errors
    /// When the spool fails.
    pub async fn spool_depth(&self) -> Result<Option<SpoolDepth>, StoreError> {
        match &self.engine().spooling {
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
        let engine = self.engine();
        let Some(entry) = engine.store.get(id).await? else { return Ok(None) };
        let Some(earlier) = entry.earlier.filter(|_| entry.verdict == Verdict::Conflict) else { return Ok(None) };
        let Some(other) = engine.store.get(earlier).await? else { return Ok(None) };
        let (one, other) = (engine.parsed(&entry), engine.parsed(&other));
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
        self.engine().release(id, None).await
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
        let requeued = self.engine().store.requeue(id, &Requeue::from(State::Dead)).await?;
        self.engine().wake.notify_one();
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
        let reopened = self.engine().store.requeue(id, &reopening).await?;
        self.engine().wake.notify_one();
        Ok(reopened.is_some())
    }

    /// Closes a held, dead or quarantined callback without handling it; `false` when it is in
    /// another state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        self.engine().store.dismiss(id).await
    }

    /// Deletes the bodies of callbacks that are done and were received longer than `age` ago, and
    /// replaces their keys, receipts and digests by keyed HMACs. Late duplicates are still
    /// recognised. Returns the number of deleted bodies.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        self.engine().store.purge(age, Extent::All).await
    }

    /// Records a body as if it had just arrived at the URL of this kind: to replay deliveries, and
    /// for responses of Daraja's query APIs that look like a callback. Returns the verdict.
    ///
    /// # Errors
    /// [`ReplayError`]: the kind is not handled, the body cannot be parsed, or the store failed.
    pub async fn replay(&self, kind: &Kind, body: &[u8]) -> Result<Recorded, ReplayError> {
        self.replay_to(kind, None, body).await
    }

    /// Like [`replay`](Inbox::replay), for the per-payment URL of this reference. The same bytes at
    /// the plain URL are another callback.
    ///
    /// # Errors
    /// As [`replay`](Inbox::replay).
    pub async fn replay_for(&self, kind: &Kind, reference: &str, body: &[u8]) -> Result<Recorded, ReplayError> {
        if !is_reference(reference) || kind.is_registered_once() {
            return Err(ReplayError::NoSuchUrl { kind: kind.clone() });
        }
        self.replay_to(kind, Some(reference.into()), body).await
    }

    /// Replays a quarantined body as the kind that it [looks like](Inbox::looks_like), or as any
    /// other kind, and closes the quarantined entry. Its reference is kept.
    ///
    /// # Errors
    /// [`ReplayError::NotQuarantined`], else as [`replay`](Inbox::replay).
    pub async fn replay_as(&self, id: CallbackId, kind: &Kind) -> Result<Recorded, ReplayError> {
        let entry = self.get(id).await.map_err(ReplayError::Store)?;
        let entry = entry.filter(|entry| entry.state == State::Quarantined).ok_or(ReplayError::NotQuarantined)?;
        let body = entry.body.ok_or(ReplayError::NotQuarantined)?;
        let recorded = self.replay_to(kind, entry.reference, body.as_bytes()).await?;
        self.dismiss(id).await.map_err(ReplayError::Store)?;
        Ok(recorded)
    }

    /// Returns the kind that a quarantined body looks like. The usual cause is one URL that was
    /// given to Daraja for two products.
    pub fn looks_like(&self, entry: &Entry) -> Option<Kind> {
        payload::looks_like(&entry.kind, &entry.body.as_ref()?.0)
    }

    async fn replay_to(&self, kind: &Kind, reference: Option<Sensitive>, body: &[u8]) -> Result<Recorded, ReplayError> {
        let engine = self.engine();
        let route = engine.routes.of(kind).ok_or_else(|| ReplayError::NotHandled { kind: kind.clone() })?;
        let mut body = bytes::Bytes::copy_from_slice(body);
        if kind.is_timeout() {
            body = bytes::Bytes::copy_from_slice(&strike_credentials(&body));
        }
        let parsed = payload::parse_bytes(kind, &body, route.key.as_deref(), reference.as_ref())?;
        let mut delivery = delivery_of(&parsed, body, engine.clock.now(), &engine.routes);
        engine.await_counterpart(&mut delivery, reference.as_ref());
        let mut delivery = delivery.under(reference);
        if parsed.kind == Kind::C2bValidation {
            delivery.disposition =
                Disposition::Hold("a validation that was replayed: M-Pesa waits for no answer".into());
        }
        let (delivery, recorded) = engine.recorder.record(delivery).await.map_err(|_| ReplayError::NotRecorded)?;
        engine.notice(&delivery, &recorded);
        Ok(recorded)
    }
}

impl Engine {
    /// Makes a held callback ready, and records its payment under this reference.
    pub(crate) async fn release(
        self: &Arc<Self>,
        id: CallbackId,
        reference: Option<&Sensitive>,
    ) -> Result<Option<Requeued>, StoreError> {
        let Some(entry) = self.store.get(id).await?.filter(|entry| entry.state == State::Held) else {
            return Ok(None);
        };
        let payment = self.payment_of(&entry, reference);
        let reopening = Requeue { payment: payment.as_deref(), reference, ..Requeue::from(State::Held) };
        let reopened = self.store.requeue(id, &reopening).await?;
        if let (Some(Requeued { payment: Some((id, verdict)) }), Some(payment)) = (&reopened, &payment) {
            self.notice_one(payment, *id, *verdict);
        }
        self.wake.notify_one();
        Ok(reopened)
    }

    /// Returns the payment of a callback as recording would have written it.
    pub(crate) fn payment_of(&self, entry: &Entry, reference: Option<&Sensitive>) -> Option<Box<Delivery>> {
        let parsed = self.parsed(entry).filter(|_| !entry.kind.is_payment())?;
        let delivery = delivery_of(&parsed, entry.body.clone()?.0, entry.received_at, &self.routes);
        delivery.sent_by(entry.client_ip).under(reference.cloned().or(entry.reference.clone())).payment
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

/// Why a body cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// No handler of this inbox takes the kind.
    #[error("there is no handler for `{kind}`")]
    NotHandled {
        /// The kind that was asked for.
        kind: Kind,
    },
    /// The reference is empty or too long, or URLs of this kind cannot carry one.
    #[error(
        "`{kind}` has no URL for this reference: the reference is empty or too long, or the URL of the kind is registered once"
    )]
    NoSuchUrl {
        /// The kind that was asked for.
        kind: Kind,
    },
    /// There is no quarantined callback with this id.
    #[error("there is no quarantined callback with this id")]
    NotQuarantined,
    /// The body cannot be parsed.
    #[error("the body cannot be parsed")]
    ParseError(#[from] payload::ParseError),
    /// The store did not record it. The log contains the store's error.
    #[error("the store did not record it; the log contains its error")]
    NotRecorded,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
}
