//! The task that records: concurrent deliveries share one commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::record::error_chain;
use crate::batch::drain_ready;
use crate::expect::Expecting;
use crate::store::{Delivery, Disposition, Recorded, Store, StoreError, catch_panic};

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
    delivery: Box<Delivery>,
    reply: oneshot::Sender<Answer>,
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

/// A delivery as it was recorded, held against what was expected, and what recording found.
pub(crate) type Answer = Result<(Delivery, Recorded), RecordError>;

impl Recorder {
    /// Starts the task that records. It ends when `stop` is cancelled and everything it was given is recorded.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        expecting: Option<Expecting>,
        longest: Duration,
        stop: CancellationToken,
    ) -> (Recorder, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Recorder { sender }, record_all(store, expecting, receiver, longest, stop))
    }

    /// Hands a delivery over, and waits until it is on disk.
    pub(crate) async fn record(&self, delivery: Delivery) -> Answer {
        self.enter(Box::new(delivery)).await?.await
    }

    /// Hands a delivery over. While the queue is full it waits for room: whoever stops waiting takes the delivery back. From
    /// then on it is the recording task's, however long that takes; what is returned waits for its answer.
    pub(crate) async fn enter(
        &self,
        delivery: Box<Delivery>,
    ) -> Result<impl Future<Output = Answer> + use<>, RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Job { delivery, reply }).await.map_err(|_| RecordError::Away)?;
        Ok(async { answer.await.unwrap_or(Err(RecordError::Away)) })
    }
}

/// One commit after the other: while one is under way, those that come gather for the next. (Two at a time were tried: the batches
/// are half as large then, and the server of a database does more for each callback, and fewer of them a second.)
async fn record_all(
    store: Arc<dyn Store>,
    expecting: Option<Expecting>,
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
        drain_ready(&mut receiver, &mut jobs, BATCH).await;
        let (batch, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (*job.delivery, job.reply)).unzip();
        // A store that hangs must not hold up those that come after. Nobody waits for these any more, then.
        let recording = record_expecting(&*store, expecting.as_ref(), batch);
        let answers = timeout(longest, recording).await.unwrap_or_else(|_| {
            tracing::error!(callbacks = replies.len(), "the store hangs; gave up recording callbacks");
            replies.iter().map(|_| Err(RecordError::Away)).collect()
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever waited may have gone.
            let _ = reply.send(answer);
        }
    }
}

/// Records a batch, held against what was expected.
pub(crate) async fn record_expecting(
    store: &dyn Store,
    expecting: Option<&Expecting>,
    mut batch: Vec<Delivery>,
) -> Vec<Answer> {
    let payments = || batch.iter().map(|delivery| delivery.payment.clone()).collect::<Vec<_>>();
    let judging = expecting.map(|expecting| (expecting, payments()));
    if let Some((expecting, _)) = &judging
        && let Err(error) = expecting.judge(store, &mut batch).await
    {
        tracing::error!(callbacks = batch.len(), cause = error_chain(&error), "cannot look up what was expected");
        return batch.iter().map(|_| Err(RecordError::Away)).collect();
    }
    let recorded = record_batch(store, &mut batch).await;
    if let Some((expecting, payments)) = &judging
        && let Err(error) = expecting.judge_again(store, &batch, payments, &recorded).await
    {
        tracing::warn!(cause = error_chain(&error), "cannot look up again what was expected; what is held stays held");
    }
    batch.into_iter().zip(recorded).map(|(delivery, recorded)| Ok((delivery, recorded?))).collect()
}

/// One commit for all; by halves when one of them can never be recorded, so that it alone is kept as what cannot be read.
async fn record_batch(store: &dyn Store, batch: &mut [Delivery]) -> Vec<Result<Recorded, RecordError>> {
    let all = |error: RecordError, count: usize| (0..count).map(|_| Err(error)).collect();
    match catch_panic(store.record(batch)).await {
        Ok(recorded) if recorded.len() == batch.len() => recorded.into_iter().map(Ok).collect(),
        Ok(_) => {
            tracing::error!("the store answered for more or fewer callbacks than it was given");
            all(RecordError::Away, batch.len())
        }
        Err(StoreError::Refused(_)) if batch.len() > 1 => {
            let (one, other) = batch.split_at_mut(batch.len() / 2);
            let mut answers = Box::pin(record_batch(store, one)).await;
            answers.extend(Box::pin(record_batch(store, other)).await);
            answers
        }
        Err(StoreError::Refused(cause)) if !matches!(batch[0].disposition, Disposition::Quarantine(_)) => {
            tracing::error!(
                cause = error_chain(&*cause),
                "the store refuses a callback; it is kept as what cannot be read"
            );
            batch[0].quarantine("the store refuses it");
            Box::pin(record_batch(store, batch)).await
        }
        Err(error) => {
            tracing::error!(callbacks = batch.len(), cause = error_chain(&error), "cannot record callbacks");
            let nature = if matches!(error, StoreError::Refused(_)) { RecordError::Refused } else { RecordError::Away };
            all(nature, batch.len())
        }
    }
}
