//! Step 4: commit to the store, or to the spool.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::Refusal;
use super::decide::Decided;
use super::recorder::RecordError;
use crate::Kind;
use crate::context::CallbackContext;
use crate::engine::Engine;
use crate::observe;
use crate::process::Notice;
use crate::routes::Route;
use crate::store::{CallbackId, Delivery, Disposition, Recorded, Spooled, State, Verdict};

/// A recorded delivery, in the store or the spool. A validation that must be answered may not be
/// stored yet.
pub(super) struct RecordedDelivery {
    pub(super) route: Arc<Route>,
    /// The kind of the callback, which may differ from that of its URL.
    pub(super) kind: Kind,
    /// The decision to answer a validation with.
    pub(super) decision: Option<String>,
}

impl Engine {
    /// From here on the recording task owns the delivery, however long it takes.
    pub(super) async fn record(self: &Arc<Self>, decided: Decided) -> Result<RecordedDelivery, Refusal> {
        let Decided { route, mut delivery, until } = decided;
        let kind = delivery.kind.clone();
        if matches!(delivery.disposition, Disposition::Quarantine(_)) && !self.quarantine.admits(&delivery) {
            // M-Pesa waits for an answer to a validation, even to one that cannot be parsed.
            return delivery.decision.map(|_| RecordedDelivery { route, kind, decision: None }).ok_or(Refusal::Flooded);
        }
        if let Some(reference) = &delivery.reference
            && !self.budgets.admits(&route.kind, reference.as_str(), delivery.body().len())
        {
            tracing::error!(%kind, "too much comes by the URL of one payment; has it leaked?");
            return Err(Refusal::Flooded);
        }
        if let Some(decision) = &delivery.decision {
            delivery.decision = Some(self.pending.enter(&delivery.key, &delivery.content_digest, decision));
        }
        let decision = delivery.decision.clone();
        let keeping = self.clone().keep(route.kind.clone(), delivery);
        let Some(until) = until else {
            keeping.await?;
            return Ok(RecordedDelivery { route, kind, decision: None });
        };
        // M-Pesa must get its answer in time; recording continues in the background.
        match timeout_at(until.into(), tokio::spawn(keeping)).await {
            Ok(Ok(Ok(kept))) => Ok(RecordedDelivery { route, kind, decision: kept.or(decision) }),
            _ => {
                observe::validation_fell_back("unrecorded");
                Ok(RecordedDelivery { route, kind, decision })
            }
        }
    }

    /// Commits to the store, or to the spool while the store is unavailable. Returns the decision
    /// to answer a validation with.
    async fn keep(self: Arc<Self>, came_to: Kind, delivery: Box<Delivery>) -> Result<Option<String>, Refusal> {
        let spooling = self.spooling.as_ref();
        let spooled = spooling.map(|spooling| (spooling, Spooled::of(&came_to, &delivery)));
        if !spooling.is_some_and(|spooling| spooling.breaker.is_open()) {
            match self.offer(&came_to, delivery).await {
                Ok(recorded) => return Ok(recorded.decision),
                Err(RecordError::Away) => self.store_failed(),
                // The store would refuse it from the spool, too.
                Err(RecordError::Refused) => return Err(Refusal::Unavailable),
            }
        }
        let (spooling, spooled) = spooled.ok_or(Refusal::Unavailable)?;
        let decision = spooled.decision.clone();
        let brought = spooled.reference.clone().map(|reference| (reference, spooled.body.0.len()));
        // Boxed to keep the usual future small.
        Box::pin(spooling.put(spooled)).await?;
        if let Some((reference, bytes)) = brought {
            self.budgets.charge(&came_to, reference.as_str(), bytes);
        }
        Ok(decision)
    }

    /// Commits to the store, within the recording timeout.
    async fn offer(self: &Arc<Self>, came_to: &Kind, delivery: Box<Delivery>) -> Result<Recorded, RecordError> {
        let until = Instant::now() + self.limits.recording_timeout;
        let brought = delivery.reference.clone().map(|reference| (came_to.clone(), reference, delivery.body().len()));
        let answering = timeout_at(until, self.recorder.enter(delivery)).await.map_err(|_| RecordError::Away)??;
        let engine = self.clone();
        let mut recording = Box::pin(async move {
            let (delivery, recorded) = answering.await?;
            engine.store_worked();
            if let Some((kind, reference, bytes)) = brought.filter(|_| recorded.verdict != Verdict::Duplicate) {
                engine.budgets.charge(&kind, reference.as_str(), bytes);
            }
            engine.notice(&delivery, &recorded);
            Ok(recorded)
        });
        match timeout_at(until, &mut recording).await {
            Ok(recorded) => recorded,
            Err(_) => {
                tracing::error!("recording a callback took too long");
                // It may still be recorded, and then the poller and the hooks must be told.
                tokio::spawn(recording);
                Err(RecordError::Away)
            }
        }
    }

    pub(crate) fn store_failed(&self) {
        // A recorder that shuts down does not mean that the store is unavailable.
        if let Some(spooling) = self.spooling.as_ref().filter(|_| !self.closing.is_cancelled()) {
            spooling.breaker.failed();
        }
    }

    pub(crate) fn store_worked(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.breaker.worked();
        }
    }

    /// Counts the verdict, wakes the poller, and calls hooks.
    pub(crate) fn notice(self: &Arc<Self>, delivery: &Delivery, recorded: &Recorded) {
        let Recorded { id, verdict, payment, .. } = *recorded;
        if delivery.decision.is_some() {
            self.pending.leave(&delivery.key, &delivery.content_digest);
        }
        self.notice_one(delivery, id, verdict);
        if let (Some((id, verdict)), Some(payment)) = (payment, &delivery.payment) {
            self.notice_one(payment, id, verdict);
        }
    }

    pub(crate) fn notice_one(self: &Arc<Self>, delivery: &Delivery, id: CallbackId, verdict: Verdict) {
        let kind = &delivery.kind;
        observe::recorded(kind, verdict);
        tracing::debug!(callback = %id, %kind, verdict = verdict.name(), "recorded");
        let reason = delivery.reason().unwrap_or_default();
        match (verdict, &delivery.disposition) {
            (Verdict::First | Verdict::Update, Disposition::Hold(_)) => {
                tracing::error!(callback = %id, %kind, reason, "a callback that tells of money is held");
                let ctx = CallbackContext::of_delivery(self, delivery, id, verdict);
                self.tell(Notice::Conflict, ctx.with_error(&reason.into()));
            }
            (Verdict::First | Verdict::Update, _) => {
                // A callback that waits for its counterpart, or needs no handler, cannot be claimed
                // now.
                let is_due = delivery.state(verdict) == State::Ready && delivery.due_after.is_zero();
                match self.room.admits(kind) && !self.stopping.is_cancelled() {
                    _ if !is_due => {}
                    true => self.wake.notify_one(),
                    // Another process may have permits.
                    false => self.store.notify_peers(),
                }
            }
            (Verdict::Quarantined, _) => {
                self.quarantine.grew();
                tracing::warn!(callback = %id, %kind, reason, "cannot read a callback; it is kept as it came");
                let ctx = CallbackContext::of_delivery(self, delivery, id, verdict);
                self.tell(Notice::Quarantine, ctx.with_error(&reason.into()));
            }
            (Verdict::Conflict, _) => self.notice_conflict(delivery, id),
            // A payment that its counterpart reported before is not a duplicate for the
            // application.
            (Verdict::Duplicate, _) if *kind != Kind::Payment => {
                self.tell(Notice::Duplicate, CallbackContext::of_delivery(self, delivery, id, verdict));
            }
            // The first payment of this receipt may have waited for this one.
            (Verdict::Duplicate | Verdict::Variant, _) if *kind == Kind::Payment => self.wake.notify_one(),
            (Verdict::Duplicate | Verdict::Variant, _) => {}
        }
    }

    /// A contradiction that contains money is logged as an error: somebody paid, or pretends to
    /// have paid.
    pub(crate) fn notice_conflict(self: &Arc<Self>, delivery: &Delivery, id: CallbackId) {
        let kind = &delivery.kind;
        let reason = delivery.reason().unwrap_or("it contradicts an earlier one");
        match &delivery.receipt {
            Some(_) => tracing::error!(callback = %id, %kind, reason, "a callback that shows money is held"),
            None => tracing::warn!(callback = %id, %kind, reason, "a callback contradicts an earlier one; it is held"),
        }
        let ctx = CallbackContext::of_delivery(self, delivery, id, Verdict::Conflict);
        self.tell(Notice::Conflict, ctx.with_error(&reason.into()));
    }
}

/// An error and its sources on one line. The errors of stores contain no payload.
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
