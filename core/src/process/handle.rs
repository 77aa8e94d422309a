//! Step 6: the user's method, in a transaction of the user's database if it asks for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dispatch::Failure;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::ledger::Mark;
use crate::observe;
use crate::payload::{self, Callback, Expected, Private};
use crate::receive::error_chain;
use crate::store::{Claimed, Ending};

/// How handling one callback ended, for `settle` to write down.
#[allow(clippy::large_enum_variant, reason = "made once for each callback, and moved twice")]
pub(crate) enum Ended {
    /// Write this.
    With(Ending, Option<Delivery>),
    /// The lease is gone: whoever has it now will write.
    LeaseLost,
}

impl Engine {
    pub(super) async fn handle(self: &Arc<Self>, claimed: Claimed, cancelled: &CancellationToken) -> Ended {
        let began = Instant::now();
        let kind = claimed.kind.clone();
        let (ended, name) = self.handle_claimed(claimed, cancelled).await;
        observe::handled(&kind, name, began.elapsed());
        ended
    }

    async fn handle_claimed(
        self: &Arc<Self>,
        claimed: Claimed,
        cancelled: &CancellationToken,
    ) -> (Ended, &'static str) {
        let delivery = Delivery::of_claimed(self, &claimed);
        let Claimed { kind, key, body, attempt, interruptions, meaning, reference, .. } = claimed;
        if cancelled.is_cancelled() || self.stopping.is_cancelled() {
            return self.given_up(attempt);
        }
        let Some(route) = self.routes.of(&kind) else {
            let error = "nothing handles this kind".into();
            return (Ended::With(Ending::Held { error }, None), "held");
        };
        if route.implied {
            // Released by somebody: its payment was recorded with the release.
            return (Ended::With(Ending::Done, None), "done");
        }
        let attempts = route.retries.unwrap_or(self.limits.retries).saturating_add(1);
        if attempt > attempts {
            return dead(delivery, format!("{interruptions} attempts ended with the process, or without its lease"));
        }
        let mut parsed = match payload::parse_bytes(&kind, &body.0, route.key.as_deref()) {
            Ok(parsed) => parsed,
            // An older version of the library recorded what this one cannot read.
            Err(error) => return dead(delivery, error.to_string()),
        };

        let mut asked_after = None;
        if let Callback::Expected(expected) = &mut parsed.callback {
            match self.ask_after(expected).await {
                Ok(true) => return (Ended::With(Ending::Done, None), "done"),
                Ok(false) => asked_after = Some(expected.clone()),
                Err(error) => {
                    tracing::warn!(cause = error_chain(&error), "cannot look whether a callback came");
                    let after = self.limits.backoff.after(attempt);
                    return (Ended::With(Ending::Released { after }, None), "released");
                }
            }
        }

        // A payment is marked by its receipt: its reference is that of whichever callback told of it first.
        let reference = reference.filter(|_| kind != Kind::Payment);
        let is_transactional = route.transactional && asked_after.is_none();
        let mark = is_transactional
            .then(|| Mark::new(&kind, &key, &meaning.unwrap_or_else(|| parsed.meaning().under(reference.as_ref()))));
        let limit = route.deadline.unwrap_or(self.limits.handling);
        let handling = self.handling.clone();
        let theirs = delivery.clone();
        let call = async move { handling.handle(parsed.callback, &theirs, mark).await };
        // A task of its own, so that a panic stays there.
        let mut running = tokio::spawn(call.in_current_span());
        let mut overran = false;
        let result = tokio::select! {
            result = &mut running => result,
            () = sleep(limit) => {
                overran = true;
                stop(running).await
            }
            () = cancelled.cancelled() => stop(running).await,
        };
        let error = match result {
            Ok(Ok(())) => {
                self.ledger_failures.store(0, Ordering::Relaxed);
                return match asked_after {
                    None => (Ended::With(Ending::Done, None), "done"),
                    Some(expected) => self.asked(&expected, delivery, attempt == attempts).await,
                };
            }
            Ok(Err(Failure::Ledger(error))) => {
                let failures = self.ledger_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                tracing::error!(
                    cause = error_chain(&error),
                    failures,
                    "the ledger is away; nothing is handled in transactions"
                );
                let after = self.limits.backoff.after(failures);
                return (Ended::With(Ending::Released { after }, None), "released");
            }
            Ok(Err(Failure::Handler(error))) => error.chain(),
            Err(error) if error.is_panic() => "the handler panicked".to_owned(),
            Err(_) if overran => format!("the handler took longer than {limit:?}"),
            Err(_) => return self.given_up(attempt),
        };
        if attempt == attempts {
            return dead(delivery, error);
        }
        let after = self.limits.backoff.after(attempt);
        // The error's own words may name people: they are kept in the store.
        tracing::warn!(attempt, ?after, "a handler failed; it is tried again");
        (Ended::With(Ending::Retry { after, error: error.into() }, None), "retry")
    }

    /// Asking is not an answer: unless there is one by now, it is asked again, after as long as the callback was given or longer.
    async fn asked(&self, expected: &Expected, delivery: Delivery, is_last: bool) -> (Ended, &'static str) {
        match self.is_answered(expected).await {
            Ok(true) => (Ended::With(Ending::Done, None), "done"),
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot look whether a callback came");
                (Ended::With(Ending::Released { after: expected.within }, None), "released")
            }
            Ok(false) if is_last => dead(delivery, "no callback came, and nothing was found out".to_owned()),
            Ok(false) => {
                let after = self.limits.backoff.after(delivery.attempt()).max(expected.within);
                let error = "no callback came, and nothing is found out yet".into();
                (Ended::With(Ending::Retry { after, error }, None), "retry")
            }
        }
    }

    /// The lease was lost, or the inbox stops.
    fn given_up(&self, attempt: u32) -> (Ended, &'static str) {
        if !self.stopping.is_cancelled() {
            return (Ended::LeaseLost, "lease_lost");
        }
        tracing::info!(attempt, "not handled to its end; the next process does it");
        (Ended::With(Ending::Released { after: Duration::ZERO }, None), "released")
    }
}

/// Stops a handler and waits until it has stopped: one that is between two `await`s cannot be stopped there, and nobody
/// else may begin while it runs.
async fn stop<T>(running: JoinHandle<T>) -> Result<T, JoinError> {
    running.abort();
    running.await
}

fn dead(delivery: Delivery, error: String) -> (Ended, &'static str) {
    let (callback, kind) = (delivery.id(), delivery.kind());
    tracing::error!(%callback, %kind, attempt = delivery.attempt(), "a callback is dead; `inbox.get` shows why");
    let error = Private::from(error);
    let delivery = delivery.with_error(&error);
    (Ended::With(Ending::Dead { error }, Some(delivery)), "dead")
}
