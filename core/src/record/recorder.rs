//! Step 4: commit to the store, or to the spool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::budget::Budgets;
use super::decisions::PendingDecisions;
use super::error::RecordError;
use super::expectations::Expecting;
use super::group_commit::CommitQueue;
use super::quarantine::Quarantine;
use super::ready::Ready;
use super::spool::Spooling;
use crate::Kind;
use crate::access::Refusal;
use crate::clock::Clock;
use crate::handler::{Hooks, InboxHandle, Route, Routes};
use crate::lifecycle::Lifecycle;
use crate::observe;
use crate::store::{Delivery, Disposition, Recorded, Spooled, Store, Verdict};

/// A recorded delivery, in the store or the spool. A validation that must be answered may not be
/// stored yet.
pub(crate) struct RecordedDelivery {
    pub(crate) route: Arc<Route>,
    /// The kind of the callback, which may differ from that of its URL.
    pub(crate) kind: Kind,
    /// The decision to answer a validation with.
    pub(crate) decision: Option<String>,
}

/// A delivery that is ready to be recorded; a validation with its decision.
pub(crate) struct Decided {
    pub(crate) route: Arc<Route>,
    pub(crate) delivery: Box<Delivery>,
    /// When the response to a validation must have been sent.
    pub(crate) until: Option<Instant>,
}

/// Makes deliveries durable: in the store, or in the spool while the store is away.
pub(crate) struct Recorder {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) routes: Routes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: CommitQueue,
    pub(crate) quarantine: Quarantine,
    /// Remaining budget per per-payment URL.
    pub(crate) budgets: Budgets,
    /// Validation decisions that may not be stored yet.
    pub(crate) decisions: PendingDecisions,
    /// Present if the application uses expectations.
    pub(crate) expecting: Option<Expecting>,
    /// Present if there is a spool.
    pub(crate) spooling: Option<Spooling>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) recording_timeout: Duration,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Recorder {
    /// From here on the recording task owns the delivery, however long it takes.
    pub(crate) async fn record(
        self: &Arc<Self>,
        decided: Decided,
        inbox: &InboxHandle,
    ) -> Result<RecordedDelivery, Refusal> {
        let Decided { route, mut delivery, until } = decided;
        let kind = delivery.kind.clone();
        if let Err(refusal) = self.admit(&route, &delivery) {
            // M-Pesa waits for an answer to a validation, even to one that cannot be parsed.
            let is_validation = delivery.decision.is_some();
            return if is_validation { Ok(RecordedDelivery { route, kind, decision: None }) } else { Err(refusal) };
        }
        if let Some(decision) = &delivery.decision {
            delivery.decision = Some(self.decisions.enter(&delivery.key, &delivery.content_digest, decision));
        }
        let decision = delivery.decision.clone();
        let keeping = self.clone().keep(route.kind.clone(), delivery, inbox.clone());
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

    /// Refuses deliveries that would fill the disk: too many bodies that cannot be parsed, too much by one
    /// per-payment URL.
    fn admit(&self, route: &Route, delivery: &Delivery) -> Result<(), Refusal> {
        if matches!(delivery.disposition, Disposition::Quarantine(_)) && !self.quarantine.admits(delivery) {
            return Err(Refusal::Flooded);
        }
        if let Some(reference) = &delivery.reference
            && !self.budgets.admits(&route.kind, reference.as_str(), delivery.body().len())
        {
            tracing::error!(kind = %delivery.kind, "the URL of one payment exceeds its limit: has it leaked?");
            return Err(Refusal::Flooded);
        }
        Ok(())
    }

    /// Commits to the store, or to the spool while the store is unavailable. Returns the decision
    /// to answer a validation with.
    async fn keep(
        self: Arc<Self>,
        came_to: Kind,
        delivery: Box<Delivery>,
        inbox: InboxHandle,
    ) -> Result<Option<String>, Refusal> {
        let spooling = self.spooling.as_ref();
        let spooled = spooling.map(|spooling| (spooling, Spooled::of(&came_to, &delivery)));
        if !self.is_store_unavailable() {
            match self.offer(&came_to, delivery, inbox).await {
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
    async fn offer(
        self: &Arc<Self>,
        came_to: &Kind,
        delivery: Box<Delivery>,
        inbox: InboxHandle,
    ) -> Result<Recorded, RecordError> {
        let until = tokio::time::Instant::now() + self.recording_timeout;
        let brought = delivery.reference.clone().map(|reference| (came_to.clone(), reference, delivery.body().len()));
        let answering = timeout_at(until, self.queue.enter(delivery)).await.map_err(|_| RecordError::Away)??;
        let recorder = self.clone();
        let mut recording = Box::pin(async move {
            let (delivery, recorded) = answering.await?;
            recorder.store_worked();
            if let Some((kind, reference, bytes)) = brought.filter(|_| recorded.verdict != Verdict::Duplicate) {
                recorder.budgets.charge(&kind, reference.as_str(), bytes);
            }
            recorder.after_record(&delivery, &recorded, &inbox);
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

    /// Returns whether the store failed a few times in a row, and is left alone now.
    pub(crate) fn is_store_unavailable(&self) -> bool {
        self.spooling.as_ref().is_some_and(|spooling| spooling.breaker.is_open())
    }

    pub(crate) fn store_failed(&self) {
        // A recorder that shuts down does not mean that the store is unavailable.
        if let Some(spooling) = self.spooling.as_ref().filter(|_| !self.lifecycle.closing.is_cancelled()) {
            spooling.breaker.failed();
        }
    }

    pub(crate) fn store_worked(&self) {
        if let Some(spooling) = &self.spooling {
            spooling.breaker.worked();
        }
    }
}
