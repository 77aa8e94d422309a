//! Group commit: concurrent deliveries share one commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::RecordError;
use super::expectations::{Expecting, Pending};
use crate::error_chain::error_chain;
use crate::store::{CallbackId, Delivery, Disposition, Recorded, Store, StoreError, Verdict};
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
        let unseen = expecting.as_ref().map(|expecting| expecting.look_again.later_callbacks());
        let recording = record_expecting(&*store, expecting.as_ref(), batch);
        let answers = timeout(longest, recording).await.unwrap_or_else(|_| {
            if let (Some(expecting), Some(unseen)) = (&expecting, unseen) {
                expecting.look_again.add(unseen);
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
    let recorded = match expecting.filter(|_| batch.iter().any(|delivery| delivery.kind.can_be_expected())) {
        None => record_batch(store, &mut batch).await,
        Some(expecting) => match record_judged(store, expecting, &mut batch).await {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::error!(callbacks = batch.len(), cause = error_chain(&error), "cannot look up expectations");
                return batch.iter().map(|_| Err(RecordError::Away)).collect();
            }
        },
    };
    batch.into_iter().zip(recorded).map(|(delivery, recorded)| Ok((delivery, recorded?))).collect()
}

/// Compares a batch before it is recorded and after. An error came before.
async fn record_judged(
    store: &dyn Store,
    expecting: &Expecting,
    batch: &mut [Delivery],
) -> Result<Vec<Result<Recorded, RecordError>>, StoreError> {
    let judged = expecting.judge(store, batch).await?;
    let unseen = expecting.look_again.later_callbacks();
    let recorded = record_batch(store, batch).await;
    // A repeated delivery has the id of an old callback.
    let is_new = |recorded: &&Recorded| recorded.verdict.is_news() || recorded.verdict == Verdict::Conflict;
    let news = recorded.iter().flatten().filter(is_new);
    let ids: Vec<CallbackId> = news.map(|recorded| recorded.id).collect();
    if recorded.contains(&Err(RecordError::Away)) {
        // Whether they were recorded is unknown.
        expecting.look_again.add(unseen);
    }
    if let Err(error) = expecting.judge_again(store, batch, &judged, &recorded).await {
        tracing::warn!(
            cause = error_chain(&error),
            "cannot compare callbacks with expectations after recording; maintenance repeats it"
        );
        expecting.look_again.add(Pending { from: ids.iter().min().copied(), ..Pending::default() });
    }
    expecting.look_again.recorded(ids);
    Ok(recorded)
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
