//! Group commit: concurrent deliveries share one commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::RecordError;
use super::expectations::{Expecting, oldest_expectable};
use crate::error_chain::error_chain;
use crate::store::{Delivery, Disposition, Recorded, Store, StoreError};
use crate::task::drain_ready;

/// Capacity of the queue, and maximum number of deliveries per commit.
const QUEUE_CAPACITY: usize = 1024;
const MAX_BATCH: usize = 256;

/// Sends deliveries to the recording task; concurrent deliveries share one commit.
#[derive(Clone, Debug)]
pub(crate) struct CommitQueue {
    sender: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    delivery: Box<Delivery>,
    reply: oneshot::Sender<CommitResult>,
}

/// The delivery as it was recorded, and the verdict.
pub(crate) type CommitResult = Result<(Delivery, Recorded), RecordError>;

impl CommitQueue {
    /// Starts the recording task. It ends when `stop` is cancelled and its queue is empty.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        expecting: Option<Expecting>,
        longest: Duration,
        stop: CancellationToken,
    ) -> (CommitQueue, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
        (CommitQueue { sender }, record_all(store, expecting, receiver, longest, stop))
    }

    /// Sends a delivery, and waits until it is committed.
    pub(crate) async fn record(&self, delivery: Delivery) -> CommitResult {
        self.enter(Box::new(delivery)).await?.await
    }

    /// Sends a delivery. Cancelling this call while the queue is full takes the delivery back.
    /// Later the recording task owns it; the returned future waits for the result.
    pub(crate) async fn enter(
        &self,
        delivery: Box<Delivery>,
    ) -> Result<impl Future<Output = CommitResult> + use<>, RecordError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Job { delivery, reply }).await.map_err(|_| RecordError::Away)?;
        Ok(async { answer.await.unwrap_or(Err(RecordError::Away)) })
    }
}

/// One commit at a time: deliveries that arrive during a commit form the next batch. Two concurrent
/// commits were tried: batches are half as large then, the database does more work per callback,
/// and throughput falls.
async fn record_all(
    store: Arc<dyn Store>,
    expecting: Option<Expecting>,
    mut receiver: mpsc::Receiver<Job>,
    longest: Duration,
    stop: CancellationToken,
) {
    let mut jobs = Vec::with_capacity(MAX_BATCH);
    let mut closing = false;
    loop {
        tokio::select! {
            count = receiver.recv_many(&mut jobs, MAX_BATCH) => if count == 0 { return },
            () = stop.cancelled(), if !closing => {
                closing = true;
                receiver.close();
                continue;
            }
        }
        drain_ready(&mut receiver, &mut jobs, MAX_BATCH).await;
        let (batch, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (*job.delivery, job.reply)).unzip();
        // A store that hangs must not block later deliveries. The callers of these have given up by
        // then.
        let oldest = oldest_expectable(&batch);
        let recording = record_expecting(&*store, expecting.as_ref(), batch);
        let answers = timeout(longest, recording).await.unwrap_or_else(|_| {
            if let Some(expecting) = &expecting {
                expecting.look_again.since(oldest);
            }
            tracing::error!(callbacks = replies.len(), "the store does not answer; gave up recording callbacks");
            replies.iter().map(|_| Err(RecordError::Away)).collect()
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // The caller may be gone.
            let _ = reply.send(answer);
        }
    }
}

/// Records a batch after comparing it with the expectations.
pub(crate) async fn record_expecting(
    store: &dyn Store,
    expecting: Option<&Expecting>,
    mut batch: Vec<Delivery>,
) -> Vec<CommitResult> {
    let payments = || batch.iter().map(|delivery| delivery.payment.clone()).collect::<Vec<_>>();
    let judging = expecting.map(|expecting| (expecting, payments()));
    if let Some((expecting, _)) = &judging
        && let Err(error) = expecting.judge(store, &mut batch).await
    {
        tracing::error!(callbacks = batch.len(), cause = error_chain(&error), "cannot look up expectations");
        return batch.iter().map(|_| Err(RecordError::Away)).collect();
    }
    let recorded = record_batch(store, &mut batch).await;
    if let Some((expecting, _)) = &judging
        && recorded.contains(&Err(RecordError::Away))
    {
        // Nobody knows whether they were recorded.
        expecting.look_again.since(oldest_expectable(&batch));
    }
    if let Some((expecting, payments)) = &judging
        && let Err(error) = expecting.judge_again(store, &batch, payments, &recorded).await
    {
        tracing::warn!(
            cause = error_chain(&error),
            "cannot compare callbacks with expectations after recording; maintenance repeats it"
        );
        expecting.look_again.since(oldest_expectable(&batch));
    }
    batch.into_iter().zip(recorded).map(|(delivery, recorded)| Ok((delivery, recorded?))).collect()
}

/// Records a batch in one commit. If the store refuses one delivery, halves the batch until that
/// one is alone, and quarantines it.
async fn record_batch(store: &dyn Store, batch: &mut [Delivery]) -> Vec<Result<Recorded, RecordError>> {
    let all = |error: RecordError, count: usize| (0..count).map(|_| Err(error)).collect();
    match store.record(batch).await {
        Ok(recorded) if recorded.len() == batch.len() => recorded.into_iter().map(Ok).collect(),
        Ok(_) => {
            tracing::error!("the store returned more or fewer results than callbacks");
            all(RecordError::Away, batch.len())
        }
        Err(StoreError::Refused(_)) if batch.len() > 1 => {
            let (one, other) = batch.split_at_mut(batch.len() / 2);
            let mut answers = Box::pin(record_batch(store, one)).await;
            answers.extend(Box::pin(record_batch(store, other)).await);
            answers
        }
        Err(StoreError::Refused(cause)) if !matches!(batch[0].disposition, Disposition::Quarantine(_)) => {
            tracing::error!(cause = error_chain(&*cause), "the store refuses a callback; it is quarantined");
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
