//! Looking into an inbox, and deciding what the engine may not decide.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::kind::Kind;
use crate::payload::{self, Parsed, Sensitive, strike_credentials};
use crate::receive::delivery_of;
use crate::store::{
    CallbackId, Delivery, Disposition, Entry, Extent, Filter, Lookup, Recorded, Requeue, Requeued, SpoolDepth, State,
    StateCounts, StoreError, Verdict, Waiting, catch_panic,
};
use crate::urls::is_reference;

impl Inbox {
    /// One callback, with its body when that was not purged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.engine().store.get(id).await
    }

    /// Callbacks, newest first, without their bodies.
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

    /// What is known under a key, a reference or a receipt: all that came for one payment, oldest first, with its bodies.
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

    /// How many callbacks wait, run, are held, dead and quarantined.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(&self) -> Result<StateCounts, StoreError> {
        self.engine().store.counts().await
    }

    /// What waits to be handled, kind by kind. Kinds that [this process does not handle](Inbox::routes) wait for one that
    /// does: an older or newer release.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.engine().store.waiting().await
    }

    /// How many deliveries wait in the spool for the store to be back, and since when; `None` without a spool. An instance with
    /// something in its spool must not be taken away with its disk.
    ///
    /// # Errors
    /// When the spool fails.
    pub async fn spool_depth(&self) -> Result<Option<SpoolDepth>, StoreError> {
        match &self.engine().spooling {
            Some(spooling) => spooling.spool.depth().await.map(Some),
            None => Ok(None),
        }
    }

    /// Which callback a held one contradicts, and in what; `None` when it contradicts none, or one of the two was purged.
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

    /// Lets a held callback be handled, and its payment with it; `None` when it is not held.
    ///
    /// What is returned says what became of the payment. When that contradicts another payment of the same receipt, it is
    /// held in its turn, `#[on_conflict]` is told, and the verdict is [`Verdict::Conflict`]: release it by its own id, and
    /// `#[payment]` runs for it in place of the other one, whose effects are yours to undo. [`CallbackContext::earlier`](crate::CallbackContext::earlier) names that one.
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

    /// Lets a dead callback be handled again, with all its attempts before it. `false` when it is not dead.
    ///
    /// Dead is not undone: a process that died between its transactor's commit and the settlement, at the last attempt, leaves a dead
    /// callback whose effects are made. Requeue it, and the transactor finds its mark; do not make the effects by hand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn requeue(&self, id: CallbackId) -> Result<bool, StoreError> {
        let requeued = self.engine().store.requeue(id, &Requeue::from(State::Dead)).await?;
        self.engine().wake.notify_one();
        Ok(requeued.is_some())
    }

    /// Lets all dead callbacks be handled again that the filter lets through, whatever its state and limit; how many there were.
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
    /// When the store fails. Those before are requeued.
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

    /// Handles a callback again that is done, deliberately: after a handler's mistake was mended, or the application's own
    /// database was restored from a backup. `false` when it is not done, or its body was purged.
    ///
    /// The handler runs as if the callback had just come, in a transaction under another mark, so that a transactor which
    /// knows the first time does not keep it from running. [`CallbackContext::repetition`](crate::CallbackContext::repetition) tells it.
    /// The reason is kept with the callback until it is done, for whoever looks at it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn handle_again(&self, id: CallbackId, reason: &str) -> Result<bool, StoreError> {
        let reopening = Requeue { reason: Some(reason), ..Requeue::from(State::Done) };
        let reopened = self.engine().store.requeue(id, &reopening).await?;
        self.engine().wake.notify_one();
        Ok(reopened.is_some())
    }

    /// Closes a held, dead or quarantined callback without handling it. `false` when it is in another state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        self.engine().store.dismiss(id).await
    }

    /// Deletes the bodies of callbacks that are done and were received longer than `age` ago, and makes their keys,
    /// receipts and fingerprints unreadable. Their repetitions are still recognised. Returns how many went.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        self.engine().store.purge(age, Extent::All).await
    }

    /// Feeds a body in without a request, as if it had just come to the URL of this kind: for replay, and for answers of
    /// Daraja's query APIs that have a callback's shape. Returns what recording found.
    ///
    /// # Errors
    /// [`ReplayError`]: the kind is not handled, the body cannot be read, or the store fails.
    pub async fn replay(&self, kind: &Kind, body: &[u8]) -> Result<Recorded, ReplayError> {
        self.replay_to(kind, None, body).await
    }

    /// Feeds a body in as if it had just come to the URL of this kind and reference: see [`replay`](Inbox::replay). What
    /// came to a per-payment URL says something else to the plain one.
    ///
    /// # Errors
    /// As [`replay`](Inbox::replay).
    pub async fn replay_for(&self, kind: &Kind, reference: &str, body: &[u8]) -> Result<Recorded, ReplayError> {
        if !is_reference(reference) || kind.is_registered_once() {
            return Err(ReplayError::NoSuchUrl { kind: kind.clone() });
        }
        self.replay_to(kind, Some(reference.into()), body).await
    }

    /// Feeds a quarantined body in as the kind that it [looks like](Inbox::looks_like), or as any other, and closes the
    /// quarantined entry. What came to the URL of one payment keeps its reference.
    ///
    /// # Errors
    /// [`ReplayError::NotQuarantined`]; else as [`replay`](Inbox::replay).
    pub async fn replay_as(&self, id: CallbackId, kind: &Kind) -> Result<Recorded, ReplayError> {
        let entry = self.get(id).await.map_err(ReplayError::Store)?;
        let entry = entry.filter(|entry| entry.state == State::Quarantined).ok_or(ReplayError::NotQuarantined)?;
        let body = entry.body.ok_or(ReplayError::NotQuarantined)?;
        let recorded = self.replay_to(kind, entry.reference, body.as_bytes()).await?;
        self.dismiss(id).await.map_err(ReplayError::Store)?;
        Ok(recorded)
    }

    /// Which kind a quarantined body looks like: one URL may have been given for two things.
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
    /// Lets a held callback be handled; its payment, for the request with this reference.
    pub(crate) async fn release(
        self: &Arc<Self>,
        id: CallbackId,
        reference: Option<&Sensitive>,
    ) -> Result<Option<Requeued>, StoreError> {
        let Some(entry) = catch_panic(self.store.get(id)).await?.filter(|entry| entry.state == State::Held) else {
            return Ok(None);
        };
        let payment = self.payment_of(&entry, reference);
        let reopening = Requeue { payment: payment.as_deref(), ..Requeue::from(State::Held) };
        let reopened = catch_panic(self.store.requeue(id, &reopening)).await?;
        if let (Some(Requeued { payment: Some((id, verdict)) }), Some(payment)) = (&reopened, &payment) {
            self.notice_one(payment, *id, *verdict);
        }
        self.wake.notify_one();
        Ok(reopened)
    }

    /// The payment that a callback shows, as it would have been recorded with it.
    pub(crate) fn payment_of(&self, entry: &Entry, reference: Option<&Sensitive>) -> Option<Box<Delivery>> {
        let parsed = self.parsed(entry).filter(|_| !entry.kind.is_payment())?;
        let delivery = delivery_of(&parsed, entry.body.clone()?.0, entry.received_at, &self.routes);
        delivery.sent_by(entry.client_ip).under(reference.cloned().or(entry.reference.clone())).payment
    }
}

/// What a held callback contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contradiction {
    /// The callback that was there before.
    pub earlier: CallbackId,
    /// In what the two differ: `outcome`, `amount`, `receipt`, `account`, `short code`.
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
    /// Nothing handles the kind.
    #[error("nothing handles `{kind}`")]
    NotHandled {
        /// Which.
        kind: Kind,
    },
    /// No URL of this kind carries such a reference.
    #[error("no URL of `{kind}` carries this reference: it is empty or too long, or the kind's URL is registered once")]
    NoSuchUrl {
        /// Which kind.
        kind: Kind,
    },
    /// The callback is not quarantined, or is not there.
    #[error("there is no quarantined callback with this id")]
    NotQuarantined,
    /// The body cannot be read.
    #[error("the body cannot be read")]
    ParseError(#[from] payload::ParseError),
    /// The store did not take it; its own words are in the log.
    #[error("the store did not take it")]
    NotRecorded,
    /// The store fails.
    #[error("the store fails")]
    Store(#[source] StoreError),
}
