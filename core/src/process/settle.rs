//! Step 7: done, retry with back-off, or dead.

use std::time::Duration;

use tokio::time::sleep;

use super::exit::HandlerExit;
use super::processor::Processor;
use crate::handler::Hook;
use crate::store::{Completion, Lease, SettleResult, Settlement};

/// A retry that is due later than this is found by polling.
const MAX_WAKE: Duration = Duration::from_secs(10);

impl Processor {
    pub(super) async fn settle(&self, lease: Lease, payment: Option<Lease>, exit: HandlerExit) {
        let (mut due_after, mut dead) = (None, None);
        let completion = match exit {
            HandlerExit::Done => Completion::Done,
            HandlerExit::Retry { after, error } => {
                due_after = Some(after);
                Completion::Retry { after, error }
            }
            HandlerExit::Snoozed { after } => {
                due_after = Some(after);
                Completion::Snoozed { after }
            }
            HandlerExit::Dead { error, ctx } => {
                dead = Some(ctx);
                Completion::Dead { error }
            }
            HandlerExit::LeaseLost => {
                tracing::warn!(callback = %lease.id, "the lease was lost while the handler ran; its new holder settles the callback");
                return;
            }
        };
        match self.settler.settle(Settlement::new(lease, completion).with_payment(payment)).await {
            Some(SettleResult::Written) => {
                if let Some(after) = due_after {
                    self.wake_after(after);
                }
                if let Some(ctx) = dead {
                    self.hooks.call(Hook::Dead, *ctx);
                }
            }
            Some(SettleResult::LeaseLost) => {
                tracing::warn!(callback = %lease.id, "the lease was lost while the handler ran; nothing was settled");
            }
            None => {
                tracing::error!(callback = %lease.id, "cannot settle a callback; it is handled again when its lease expires");
            }
        }
    }

    /// Wakes the poller when a retry is due, unless polling finds it soon enough.
    fn wake_after(&self, after: Duration) {
        if after > MAX_WAKE {
            return;
        }
        let (ready, stopping) = (self.ready.clone(), self.lifecycle.stopping.clone());
        self.lifecycle.keepers.spawn(async move {
            tokio::select! {
                () = sleep(after) => ready.wake(),
                () = stopping.cancelled() => {}
            }
        });
    }
}
