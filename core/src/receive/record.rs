//! Step 4: durable; have we heard it before?

use std::sync::Arc;
use std::time::Instant;

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
use crate::store::{Received, Recorded, Store, StoreError, Verdict};

/// A delivery that is on disk; or a validation that must be answered, on disk or not.
pub(super) struct Stored<'e> {
    pub(super) route: &'e Route,
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
    /// From here on the delivery is the recording task's, whether or not anybody still waits at the other end.
    pub(super) async fn record<'e>(&self, decided: Decided<'e>) -> Result<Stored<'e>, Refusal> {
        let Decided { route, received, until } = decided;
        let kind = received.kind.clone();
        let own_decision = received.decision().map(str::to_owned);
        let notice = received.clone();
        let recording = self.recorder.record(received);

        let recorded = match until {
            None => timeout(self.limits.recording, recording).await,
            Some(until) => timeout_at(Instant::into(until), recording).await,
        };
        match recorded {
            Ok(Ok(recorded)) => {
                self.notice(&notice, &recorded);
                let decision = recorded.decision.or(own_decision);
                Ok(Stored { route, kind, decision })
            }
            // M-Pesa must have its answer in time, whatever the store does. Recording goes on in the background.
            Ok(Err(RecordError)) | Err(_) if until.is_some() => {
                observe::validation_fell_back("unrecorded");
                Ok(Stored { route, kind, decision: own_decision })
            }
            Ok(Err(RecordError)) => Err(Refusal::Unavailable),
            Err(_) => {
                tracing::error!(%kind, "recording a callback took too long; it is not acknowledged");
                Err(Refusal::Unavailable)
            }
        }
    }

    /// Counts the verdict, wakes a worker, and tells the application's hooks.
    fn notice(&self, received: &Received, recorded: &Recorded) {
        let Recorded { id, verdict, payment, .. } = *recorded;
        observe::recorded(&received.kind, verdict);
        tracing::debug!(callback = %id, kind = %received.kind, verdict = verdict.name(), "recorded");
        if let Some(verdict) = payment {
            observe::recorded(&Kind::Payment, verdict);
        }
        if verdict == Verdict::Quarantined {
            let reason = received.reason().unwrap_or_default();
            tracing::warn!(callback = %id, kind = %received.kind, reason, "cannot read a callback; it is kept as it came");
        }
        for (verdict, received) in [(Some(verdict), Some(received)), (payment, received.payment.as_deref())] {
            let (Some(verdict), Some(received)) = (verdict, received) else { continue };
            let notice = match verdict {
                Verdict::First => {
                    self.wake.notify_one();
                    continue;
                }
                Verdict::Duplicate => Notice::Duplicate,
                Verdict::Conflict => {
                    tracing::warn!(callback = %id, kind = %received.kind, "a callback contradicts an earlier one; it is held");
                    Notice::Conflict
                }
                Verdict::Variant | Verdict::Quarantined => continue,
            };
            // A payment that its sibling told of before is no news.
            if received.kind == Kind::Payment && matches!(notice, Notice::Duplicate) {
                continue;
            }
            self.tell(notice, Delivery::of_received(received, id, verdict));
        }
    }
}

impl Recorder {
    /// Starts the task that records. It ends when `stop` is cancelled and everything it was given is recorded.
    pub(crate) fn start(store: Arc<dyn Store>, stop: CancellationToken) -> (Recorder, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Recorder { sender }, record_all(store, receiver, stop))
    }

    /// Hands a delivery over at once, also when the returned future is dropped unfinished.
    pub(crate) fn record(&self, received: Received) -> impl Future<Output = Result<Recorded, RecordError>> + use<> {
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(Job { received, reply }) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(job)) => {
                let sender = self.sender.clone();
                tokio::spawn(async move { sender.send(job).await });
            }
        }
        async { answer.await.unwrap_or(Err(RecordError)) }
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
    match store.record(batch).await {
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
