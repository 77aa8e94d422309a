//! Step 4: durable; have we heard it before?

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Refusal;
use super::decide::Decided;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::observe;
use crate::process::Notice;
use crate::routes::Route;
use crate::store::caught;
use crate::store::{CallbackId, Disposition, Received, Recorded, Spooled, Store, StoreError, Verdict};

/// A delivery that is on disk, in the store or in the spool; or a validation that must be answered, on disk or not.
pub(super) struct Stored {
    pub(super) route: Arc<Route>,
    /// What it is, which need not be what its URL is for.
    pub(super) kind: Kind,
    /// The decision that stands, of a validation.
    pub(super) decision: Option<String>,
}

/// How many deliveries may wait to be recorded, and how many are recorded in one commit.
const QUEUE: usize = 1024;
const BATCH: usize = 256;

/// The way to the task that records: concurrent deliveries share one commit.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    received: Received,
    reply: oneshot::Sender<Result<Recorded, RecordError>>,
}

/// Why a delivery was not recorded. One store error may have to be told to a whole batch, so it is logged where it
/// happens and only its nature is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// The store is away, or hangs.
    Away,
    /// It will never take this one.
    Refused,
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
    async fn keep(self: Arc<Self>, came_to: Kind, received: Received) -> Result<Option<String>, Refusal> {
        let spooling = self.spooling.as_ref();
        let spooled = spooling.map(|spooling| (spooling, Spooled::of(&came_to, &received)));
        if !spooling.is_some_and(|spooling| spooling.breaker.is_open()) {
            match self.offer(received).await {
                Ok(recorded) => return Ok(recorded.decision),
                Err(RecordError::Away) => self.store_failed(),
                Err(RecordError::Refused) => {}
            }
        }
        let (spooling, spooled) = spooled.ok_or(Refusal::Unavailable)?;
        let decision = spooled.decision.clone();
        spooling.put(spooled).await?;
        Ok(decision)
    }

    /// Into the store, if it takes it in time.
    async fn offer(self: &Arc<Self>, received: Received) -> Result<Recorded, RecordError> {
        let engine = self.clone();
        let mut recording = Box::pin(async move {
            let recorded = engine.recorder.record(received.clone()).await?;
            engine.store_worked();
            engine.notice(&received, &recorded);
            Ok(recorded)
        });
        match timeout(self.limits.recording, &mut recording).await {
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
    pub(crate) fn notice(&self, received: &Received, recorded: &Recorded) {
        let Recorded { id, verdict, payment, .. } = *recorded;
        if received.decision.is_some() {
            self.pending.leave(&received.key, &received.meaning);
        }
        self.notice_one(received, id, verdict);
        if let (Some((id, verdict)), Some(payment)) = (payment, &received.payment) {
            self.notice_one(payment, id, verdict);
        }
    }

    fn notice_one(&self, received: &Received, id: CallbackId, verdict: Verdict) {
        let kind = &received.kind;
        observe::recorded(kind, verdict);
        tracing::debug!(callback = %id, %kind, verdict = verdict.name(), "recorded");
        let reason = received.reason().unwrap_or_default();
        match (verdict, &received.disposition) {
            (Verdict::First, Disposition::Hold(_)) => {
                tracing::warn!(callback = %id, %kind, reason, "a callback is held");
            }
            (Verdict::First, _) => self.wake.notify_one(),
            (Verdict::Quarantined, _) => {
                tracing::warn!(callback = %id, %kind, reason, "cannot read a callback; it is kept as it came");
            }
            (Verdict::Conflict, _) => {
                tracing::warn!(callback = %id, %kind, "a callback contradicts an earlier one; it is held");
                self.tell(Notice::Conflict, Delivery::of_received(received, id, verdict));
            }
            // A payment that its sibling told of before is no news.
            (Verdict::Duplicate, _) if *kind != Kind::Payment => {
                self.tell(Notice::Duplicate, Delivery::of_received(received, id, verdict));
            }
            (Verdict::Duplicate | Verdict::Variant, _) => {}
        }
    }
}

impl Recorder {
    /// Starts the task that records. It ends when `stop` is cancelled and everything it was given is recorded.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        longest: Duration,
        stop: CancellationToken,
    ) -> (Recorder, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Recorder { sender }, record_all(store, receiver, longest, stop))
    }

    /// Hands a delivery over, and waits until it is on disk. While the queue is full it waits for room: whoever stops
    /// waiting takes the delivery back, and it must not be acknowledged.
    pub(crate) async fn record(&self, received: Received) -> Result<Recorded, RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Job { received, reply }).await.map_err(|_| RecordError::Away)?;
        answer.await.unwrap_or(Err(RecordError::Away))
    }
}

async fn record_all(
    store: Arc<dyn Store>,
    mut receiver: mpsc::Receiver<Job>,
    longest: Duration,
    stop: CancellationToken,
) {
    let mut jobs = Vec::with_capacity(BATCH);
    let mut closing = false;
    loop {
        tokio::select! {
            count = receiver.recv_many(&mut jobs, BATCH) => if count == 0 { return },
            () = stop.cancelled(), if !closing => {
                closing = true;
                receiver.close();
                continue;
            }
        }
        let (batch, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.received, job.reply)).unzip();
        // A store that hangs must not hold up those that come after. Nobody waits for these any more, then.
        let answers = timeout(longest, record_batch(&*store, &batch)).await.unwrap_or_else(|_| {
            tracing::error!(callbacks = batch.len(), "the store hangs; gave up recording callbacks");
            batch.iter().map(|_| Err(RecordError::Away)).collect()
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever waited may have gone.
            let _ = reply.send(answer);
        }
    }
}

/// One commit for all; one by one when one of them can never be recorded, so that it fails alone.
pub(crate) async fn record_batch(store: &dyn Store, batch: &[Received]) -> Vec<Result<Recorded, RecordError>> {
    let all = |error: RecordError| batch.iter().map(|_| Err(error)).collect();
    match caught(store.record(batch)).await {
        Ok(recorded) if recorded.len() == batch.len() => recorded.into_iter().map(Ok).collect(),
        Ok(_) => {
            tracing::error!("the store answered for more or fewer callbacks than it was given");
            all(RecordError::Away)
        }
        Err(StoreError::Refused(_)) if batch.len() > 1 => {
            let mut answers = Vec::with_capacity(batch.len());
            for received in batch {
                answers.extend(Box::pin(record_batch(store, std::slice::from_ref(received))).await);
            }
            answers
        }
        Err(error) => {
            tracing::error!(callbacks = batch.len(), cause = error_chain(&error), "cannot record callbacks");
            all(if matches!(error, StoreError::Refused(_)) { RecordError::Refused } else { RecordError::Away })
        }
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
