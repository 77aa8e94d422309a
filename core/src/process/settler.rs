//! Group commit of settlements.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::error_chain::error_chain;
use crate::store::{SettleResult, Settlement, Store, StoreError};
use crate::task::drain_ready;

/// Capacity of the queue of settlements, and maximum number per commit.
const QUEUE: usize = 1024;
const MAX_BATCH: usize = 256;

/// Delay before a settlement is offered to the store again.
const SETTLE_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Sends settlements to the task that writes them; concurrent settlements share one commit.
#[derive(Debug)]
pub(crate) struct Settler {
    sender: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    settlement: Settlement,
    reply: oneshot::Sender<SettleResult>,
}

impl Settler {
    /// Starts the task that settles. It ends when the last handle is dropped.
    pub(crate) fn start(store: Arc<dyn Store>, lease: Duration) -> (Settler, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Settler { sender }, settle_all(store, receiver, lease))
    }

    pub(super) async fn settle(&self, settlement: Settlement) -> Option<SettleResult> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Job { settlement, reply }).await.ok()?;
        answer.await.ok()
    }
}

async fn settle_all(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Job>, lease: Duration) {
    let mut jobs = Vec::with_capacity(MAX_BATCH);
    while receiver.recv_many(&mut jobs, MAX_BATCH).await > 0 {
        drain_ready(&mut receiver, &mut jobs, MAX_BATCH).await;
        let (batch, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.settlement, job.reply)).unzip();
        for (reply, settled) in replies.into_iter().zip(settle_batch(&*store, &batch, Instant::now() + lease).await) {
            // Without an answer the lease expires.
            if let Some(settled) = settled {
                let _ = reply.send(settled);
            }
        }
    }
}

/// Offers the batch until the store accepts it or its leases have expired. Settling again is safe.
/// If the store refuses one settlement, the others are written without it.
async fn settle_batch(store: &dyn Store, batch: &[Settlement], until: Instant) -> Vec<Option<SettleResult>> {
    loop {
        match store.settle(batch).await {
            Ok(settled) => return settled.into_iter().map(Some).collect(),
            Err(StoreError::Refused(_)) if batch.len() > 1 => {
                let mut settled = Vec::with_capacity(batch.len());
                for one in batch {
                    settled.extend(Box::pin(settle_batch(store, std::slice::from_ref(one), until)).await);
                }
                return settled;
            }
            Err(error) => {
                let is_final = matches!(error, StoreError::Closed | StoreError::Refused(_));
                tracing::warn!(cause = error_chain(&error), callbacks = batch.len(), "cannot settle callbacks");
                if is_final || Instant::now() + SETTLE_RETRY_DELAY > until {
                    return vec![None; batch.len()];
                }
                sleep(SETTLE_RETRY_DELAY).await;
            }
        }
    }
}
