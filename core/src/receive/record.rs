//! Step 4: durable; have we heard it before?

use std::sync::Arc;

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
use crate::store::{CallbackId, Disposition, Received, Recorded, Store, StoreError, Verdict};

/// A delivery that is on disk; or a validation that must be answered, on disk or not.
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordError;

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
        let engine = self.clone();
        let recording = async move {
            let notice = received.clone();
            let recorded = engine.recorder.record(received).await?;
            engine.notice(&notice, &recorded);
            Ok(recorded.decision)
        };
        let Some(until) = until else {
            return match timeout(self.limits.recording, recording).await {
                Ok(Ok(_)) => Ok(Stored { route, kind, decision: None }),
                Ok(Err(RecordError)) => Err(Refusal::Unavailable),
                Err(_) => {
                    tracing::error!("recording a callback took too long; it is not acknowledged");
                    Err(Refusal::Unavailable)
                }
            };
        };
        // M-Pesa must have its answer in time, whatever the store does; recording goes on in the background.
        let recording = tokio::spawn(timeout(self.limits.recording, recording));
        match timeout_at(until.into(), recording).await {
            Ok(Ok(Ok(Ok(recorded)))) => Ok(Stored { route, kind, decision: recorded.or(decision) }),
            _ => {
                observe::validation_fell_back("unrecorded");
                Ok(Stored { route, kind, decision })
            }
        }
    }

    /// Counts the verdict, wakes a worker, and tells the application's hooks.
    fn notice(&self, received: &Received, recorded: &Recorded) {
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
    pub(crate) fn start(store: Arc<dyn Store>, stop: CancellationToken) -> (Recorder, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Recorder { sender }, record_all(store, receiver, stop))
    }

    /// Hands a delivery over, and waits until it is on disk. While the queue is full it waits for room: whoever stops
    /// waiting takes the delivery back, and it must not be acknowledged.
    pub(crate) async fn record(&self, received: Received) -> Result<Recorded, RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Job { received, reply }).await.map_err(|_| RecordError)?;
        answer.await.unwrap_or(Err(RecordError))
    }
}

async fn record_all(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Job>, stop: CancellationToken) {
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
        for (reply, answer) in replies.into_iter().zip(record_batch(&*store, &batch).await) {
            // Whoever waited may have gone.
            let _ = reply.send(answer);
        }
    }
}

/// One commit for all; one by one when one of them can never be recorded, so that it fails alone.
async fn record_batch(store: &dyn Store, batch: &[Received]) -> Vec<Result<Recorded, RecordError>> {
    match caught(store.record(batch)).await {
        Ok(recorded) if recorded.len() == batch.len() => recorded.into_iter().map(Ok).collect(),
        Ok(_) => {
            tracing::error!("the store answered for more or fewer callbacks than it was given");
            batch.iter().map(|_| Err(RecordError)).collect()
        }
        Err(StoreError::Refused(_)) if batch.len() > 1 => {
            let mut answers = Vec::with_capacity(batch.len());
            for received in batch {
                answers.extend(Box::pin(record_batch(store, std::slice::from_ref(received))).await);
            }
            answers
        }
        Err(error) => {
            let cause = error_chain(&error);
            tracing::error!(callbacks = batch.len(), cause, "cannot record callbacks; they are not acknowledged");
            batch.iter().map(|_| Err(RecordError)).collect()
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
