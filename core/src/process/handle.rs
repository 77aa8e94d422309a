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
use crate::ledger::{LedgerError, Mark, Marks, PaymentMarks};
use crate::observe;
use crate::payload::{self, Callback, Expected, Payment, Private};
use crate::receive::error_chain;
use crate::store::{Claimed, Ending, StoreError, caught};
use crate::urls::Environment;

/// How long what nobody here handles is left to others.
const UNHANDLED: Duration = Duration::from_secs(5);

/// The longest wait for a ledger that is away: what waits for it is money.
const LEDGER_AWAY: Duration = Duration::from_secs(60);

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
        if cancelled.is_cancelled() || self.stopping.is_cancelled() {
            return self.given_up(claimed.attempt);
        }
        let Some(route) = self.routes.of(&claimed.kind) else {
            // Nothing was asked for that is not handled: another process can.
            return (Ended::With(Ending::Released { after: UNHANDLED }, None), "released");
        };
        if route.implied {
            if claimed.kind == Kind::PaymentCompleted {
                tracing::warn!(
                    "it is known now which order a payment was for, and there is no `#[payment_completed]` to tell"
                );
            }
            // Its payment was recorded with it.
            return (Ended::With(Ending::Done, None), "done");
        }
        let attempts = route.retries.unwrap_or(self.limits.retries).saturating_add(1);
        if claimed.attempt > attempts {
            let alone = claimed.interruptions_alone;
            return dead(
                delivery,
                format!("the process ended {alone} times while it ran alone among those that were interrupted"),
            );
        }
        let mut parsed = match payload::parse_bytes(
            &claimed.kind,
            &claimed.body.0,
            route.key.as_deref(),
            claimed.reference.as_ref(),
        ) {
            Ok(parsed) => parsed,
            // An older version of the library recorded what this one cannot read.
            Err(error) => return dead(delivery, error.to_string()),
        };
        let delivery = match &mut parsed.callback {
            Callback::Payment(payment) => match self.complete(payment, &claimed).await {
                Ok(()) => delivery.with_reference(payment.reference.clone()),
                Err(error) => return self.cannot_look(claimed.attempt, &error),
            },
            _ => delivery,
        };
        let Claimed { kind, key, attempt, meaning, reference, repetition, payment: shown, .. } = claimed;

        let mut asked_after = None;
        if let Callback::Expected(expected) = &mut parsed.callback {
            match self.ask_after(expected).await {
                Ok(true) => return (Ended::With(Ending::Done, None), "done"),
                Ok(false) => asked_after = Some(expected.clone()),
                Err(error) => return self.cannot_look(attempt, &error),
            }
        }

        // A payment is marked by its receipt: its reference is that of whichever callback told of it first.
        let reference = reference.filter(|_| kind != Kind::Payment);
        let is_transactional = route.transactional && asked_after.is_none();
        let marks = is_transactional.then(|| {
            let meaning = meaning.unwrap_or_else(|| parsed.meaning().under(reference.as_ref()));
            let payment = shown.and_then(|_| parsed.payment());
            Marks {
                callback: Mark::new(&kind, &key, &meaning, repetition),
                payment: payment.map(|payment| PaymentMarks::new(&payment.receipt.as_str().into(), &payment.says())),
            }
        });
        let limit = route.deadline.unwrap_or(self.limits.handling);
        let handling = self.handling.clone();
        let theirs = delivery.clone();
        let call = async move { handling.handle(parsed.callback, &theirs, marks).await };
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
            Ok(Err(Failure::Ledger(error @ LedgerError::Unavailable(_)))) => return self.ledger_away(&error),
            // It will not pass by itself; so the attempt counts, and somebody hears of it in the end.
            Ok(Err(Failure::Ledger(error))) => {
                observe::ledger_failed("broken");
                tracing::error!(cause = error_chain(&error), "the ledger refuses what it needs; an attempt is used up");
                error_chain(&error)
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
        let (callback, kind) = (delivery.id(), delivery.kind());
        match self.environment {
            // Nobody's money, and nobody's name: a developer wants to see what is wrong.
            Environment::Sandbox => {
                tracing::warn!(%callback, %kind, attempt, ?after, cause = error, "a handler failed; it is tried again");
            }
            // The error's own words may name people: they are kept in the store.
            Environment::Production => {
                tracing::warn!(%callback, %kind, attempt, ?after, "a handler failed; it is tried again, and `inbox.get` shows why");
            }
        }
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

    /// A payment takes over what the other callbacks of its receipt tell: the reference of a push's own URL, the names that a
    /// confirmation has. Only where there are others: most payments have one.
    async fn complete(&self, payment: &mut Payment, claimed: &Claimed) -> Result<(), StoreError> {
        payment.reference = payment.reference.take().or_else(|| claimed.reference.clone());
        if claimed.siblings.len() < 2 {
            return Ok(());
        }
        for sibling in &claimed.siblings {
            let Some(entry) = caught(self.store.get(sibling.id)).await? else { continue };
            let told = self.parsed(&entry).and_then(|parsed| parsed.payment());
            // Another amount under the same receipt is a conflict, and tells nothing of this payment.
            if let Some(mut told) = told.filter(|told| told.amount == payment.amount) {
                told.reference.clone_from(&sibling.reference);
                payment.take_over(told);
            }
        }
        Ok(())
    }

    fn cannot_look(&self, attempt: u32, error: &StoreError) -> (Ended, &'static str) {
        tracing::warn!(cause = error_chain(error), "cannot look up what belongs to a callback; it is handled later");
        let after = self.limits.backoff.after(attempt);
        (Ended::With(Ending::Released { after }, None), "released")
    }

    /// The ledger cannot be reached. That passes, and costs no attempt.
    fn ledger_away(&self, error: &LedgerError) -> (Ended, &'static str) {
        let failures = self.ledger_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        observe::ledger_failed("away");
        tracing::error!(cause = error_chain(error), failures, "the ledger is away; nothing is handled in transactions");
        let after = self.limits.backoff.after(failures).min(LEDGER_AWAY);
        (Ended::With(Ending::Released { after }, None), "released")
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
