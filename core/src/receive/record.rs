//! Step 4: durable; have we heard it before?

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Refusal;
use super::decide::Decided;
use super::recorder::RecordError;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::observe;
use crate::process::Notice;
use crate::routes::Route;
use crate::store::{CallbackId, Disposition, Received, Recorded, Spooled, Verdict};

/// A delivery that is on disk, in the store or in the spool; or a validation that must be answered, on disk or not.
pub(super) struct Stored {
    pub(super) route: Arc<Route>,
    /// What it is, which need not be what its URL is for.
    pub(super) kind: Kind,
    /// The decision that stands, of a validation.
    pub(super) decision: Option<String>,
}

impl Engine {
    /// Once it is handed over, the delivery is the recording task's, however long that takes.
    pub(super) async fn record(self: &Arc<Self>, decided: Decided) -> Result<Stored, Refusal> {
        let Decided { route, mut received, until } = decided;
        let kind = received.kind.clone();
        if matches!(received.disposition, Disposition::Quarantine(_)) && !self.quarantine.admits(&received) {
            // M-Pesa waits for an answer to a validation, read or not.
            return received.decision.map(|_| Stored { route, kind, decision: None }).ok_or(Refusal::Flooded);
        }
        if let Some(reference) = &received.reference
            && !self.budgets.admits(&route.kind, reference.as_str(), received.body().len())
        {
            tracing::error!(%kind, "too much comes by the URL of one payment; has it leaked?");
            return Err(Refusal::Flooded);
        }
        if let Some(decision) = &received.decision {
            received.decision = Some(self.pending.enter(&received.key, &received.meaning, decision));
        }
        let decision = received.decision.clone();
        let keeping = self.clone().keep(route.kind.clone(), received);
        let Some(until) = until else {
            keeping.await?;
            return Ok(Stored { route, kind, decision: None });
        };
        // M-Pesa must have its answer in time, whatever the store does; recording goes on in the background.
        match timeout_at(until.into(), tokio::spawn(keeping)).await {
            Ok(Ok(Ok(kept))) => Ok(Stored { route, kind, decision: kept.or(decision) }),
            _ => {
                observe::validation_fell_back("unrecorded");
                Ok(Stored { route, kind, decision })
            }
        }
    }

    /// Into the store, or into the spool while the store is away. Returns the decision that stands, of a validation.
    async fn keep(self: Arc<Self>, came_to: Kind, received: Box<Received>) -> Result<Option<String>, Refusal> {
        let spooling = self.spooling.as_ref();
        let spooled = spooling.map(|spooling| (spooling, Spooled::of(&came_to, &received)));
        if !spooling.is_some_and(|spooling| spooling.breaker.is_open()) {
            match self.offer(&came_to, received).await {
                Ok(recorded) => return Ok(recorded.decision),
                Err(RecordError::Away) => self.store_failed(),
                // Nor would it be taken out of the spool.
                Err(RecordError::Refused) => return Err(Refusal::Unavailable),
            }
        }
        let (spooling, spooled) = spooled.ok_or(Refusal::Unavailable)?;
        let decision = spooled.decision.clone();
        let brought = spooled.reference.clone().map(|reference| (reference, spooled.body.0.len()));
        // Apart, so that what goes straight into the store need not make room for it.
        Box::pin(spooling.put(spooled)).await?;
        if let Some((reference, bytes)) = brought {
            self.budgets.charge(&came_to, reference.as_str(), bytes);
        }
        Ok(decision)
    }

    /// Into the store, if it takes it in time.
    async fn offer(self: &Arc<Self>, came_to: &Kind, received: Box<Received>) -> Result<Recorded, RecordError> {
        let until = Instant::now() + self.limits.recording;
        let brought = received.reference.clone().map(|reference| (came_to.clone(), reference, received.body().len()));
        let answering = timeout_at(until, self.recorder.enter(received)).await.map_err(|_| RecordError::Away)??;
        let engine = self.clone();
        let mut recording = Box::pin(async move {
            let (received, recorded) = answering.await?;
            engine.store_worked();
            if let Some((kind, reference, bytes)) = brought.filter(|_| recorded.verdict != Verdict::Duplicate) {
                engine.budgets.charge(&kind, reference.as_str(), bytes);
            }
            engine.notice(&received, &recorded);
            Ok(recorded)
        });
        match timeout_at(until, &mut recording).await {
            Ok(recorded) => recorded,
            Err(_) => {
                tracing::error!("recording a callback took too long");
                // It may get there yet, and then a worker and the hooks must hear of it.
                tokio::spawn(recording);
                Err(RecordError::Away)
            }
        }
    }

    pub(crate) fn store_failed(&self) {
        // A recorder that stops is no store that is away.
        if let Some(spooling) = self.spooling.as_ref().filter(|_| !self.closing.is_cancelled()) {
            spooling.breaker.failed();
        }
    }

    pub(crate) fn store_worked(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.breaker.worked();
        }
    }

    /// Counts the verdict, wakes a worker, and tells the application's hooks.
    pub(crate) fn notice(self: &Arc<Self>, received: &Received, recorded: &Recorded) {
        let Recorded { id, verdict, payment, .. } = *recorded;
        if received.decision.is_some() {
            self.pending.leave(&received.key, &received.meaning);
        }
        self.notice_one(received, id, verdict);
        if let (Some((id, verdict)), Some(payment)) = (payment, &received.payment) {
            self.notice_one(payment, id, verdict);
        }
    }

    pub(crate) fn notice_one(self: &Arc<Self>, received: &Received, id: CallbackId, verdict: Verdict) {
        let kind = &received.kind;
        observe::recorded(kind, verdict);
        tracing::debug!(callback = %id, %kind, verdict = verdict.name(), "recorded");
        let reason = received.reason().unwrap_or_default();
        match (verdict, &received.disposition) {
            (Verdict::First | Verdict::Update, Disposition::Hold(_)) => {
                tracing::error!(callback = %id, %kind, reason, "a callback that tells of money is held");
                let delivery = Delivery::of_received(self, received, id, verdict);
                self.tell(Notice::Conflict, delivery.with_error(&reason.into()));
            }
            (Verdict::First | Verdict::Update, _) => {
                self.wake.notify_one();
                // Others may have room.
                if self.room.is_full() || self.stopping.is_cancelled() {
                    self.store.announce();
                }
            }
            (Verdict::Quarantined, _) => {
                self.quarantine.grew();
                tracing::warn!(callback = %id, %kind, reason, "cannot read a callback; it is kept as it came");
                let delivery = Delivery::of_received(self, received, id, verdict);
                self.tell(Notice::Quarantine, delivery.with_error(&reason.into()));
            }
            (Verdict::Conflict, _) => self.notice_conflict(received, id),
            // A payment that its sibling told of before is no news.
            (Verdict::Duplicate, _) if *kind != Kind::Payment => {
                self.tell(Notice::Duplicate, Delivery::of_received(self, received, id, verdict));
            }
            // The first payment of its receipt may have waited for this one.
            (Verdict::Duplicate | Verdict::Variant, _) if *kind == Kind::Payment => self.wake.notify_one(),
            (Verdict::Duplicate | Verdict::Variant, _) => {}
        }
    }

    /// A contradiction that shows money is louder than others: somebody paid, or somebody pretends to have.
    pub(crate) fn notice_conflict(self: &Arc<Self>, received: &Received, id: CallbackId) {
        let kind = &received.kind;
        let reason = received.reason().unwrap_or("it contradicts an earlier one");
        match &received.receipt {
            Some(_) => tracing::error!(callback = %id, %kind, reason, "a callback that shows money is held"),
            None => tracing::warn!(callback = %id, %kind, reason, "a callback contradicts an earlier one; it is held"),
        }
        let delivery = Delivery::of_received(self, received, id, Verdict::Conflict);
        self.tell(Notice::Conflict, delivery.with_error(&reason.into()));
    }
}

/// An error and its causes, in one line. A store's errors hold no payload.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
