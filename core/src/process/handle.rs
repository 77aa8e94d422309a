//! Step 6: the user's method, in a transaction of the user's database if it asks for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dispatch::Failure;
use crate::context::CallbackContext;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::observe;
use crate::payload::{self, Callback, Expectation, Payment, Sensitive};
use crate::receive::error_chain;
use crate::store::{Claimed, Completion, StoreError, catch_panic};
use crate::transactor::{IdempotencyKey, IdempotencyKeys, PaymentKeys, TransactorError};
use crate::urls::Environment;

/// How long what nobody here handles is left to others.
const UNHANDLED: Duration = Duration::from_secs(5);

/// The longest wait for a transactor that is away: what waits for it is money.
const TRANSACTOR_AWAY_MAX_DELAY: Duration = Duration::from_secs(60);

/// How handling one callback ended, for `settle` to write down.
#[allow(clippy::large_enum_variant, reason = "made once for each callback, and moved twice")]
pub(crate) enum HandlerExit {
    /// Write this.
    With(Completion, Option<CallbackContext>),
    /// The lease is gone: whoever has it now will write.
    LeaseLost,
}

impl Engine {
    pub(super) async fn handle(self: &Arc<Self>, claimed: Claimed, cancelled: &CancellationToken) -> HandlerExit {
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
    ) -> (HandlerExit, &'static str) {
        let ctx = CallbackContext::of_claimed(self, &claimed);
        if cancelled.is_cancelled() || self.stopping.is_cancelled() {
            return self.given_up(claimed.attempt);
        }
        let Some(route) = self.routes.of(&claimed.kind) else {
            // Nothing was asked for that is not handled: another process can.
            return (HandlerExit::With(Completion::Snoozed { after: UNHANDLED }, None), "released");
        };
        if route.implied {
            if claimed.kind == Kind::PaymentCompleted {
                tracing::warn!(
                    "it is known now which order a payment was for, and there is no `#[payment_completed]` to tell"
                );
            }
            // Its payment was recorded with it.
            return (HandlerExit::With(Completion::Done, None), "done");
        }
        let attempts = route.max_retries.unwrap_or(self.limits.max_retries).saturating_add(1);
        if claimed.attempt > attempts {
            let alone = claimed.interruptions_alone;
            return dead(
                ctx,
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
            Err(error) => return dead(ctx, error.to_string()),
        };
        let ctx = match &mut parsed.callback {
            Callback::Payment(payment) => match self.complete(payment, &claimed).await {
                Ok(()) => ctx.with_reference(payment.reference.clone()),
                Err(error) => return self.cannot_look(claimed.attempt, &error),
            },
            _ => ctx,
        };
        let Claimed { kind, key, attempt, content_digest, reference, repetition, payment: shown, .. } = claimed;

        let mut asked_after = None;
        if let Callback::Expectation(expected) = &mut parsed.callback {
            match self.ask_after(expected).await {
                Ok(true) => return (HandlerExit::With(Completion::Done, None), "done"),
                Ok(false) => asked_after = Some(expected.clone()),
                Err(error) => return self.cannot_look(attempt, &error),
            }
        }

        // A payment is marked by its receipt: its reference is that of whichever callback told of it first.
        let reference = reference.filter(|_| kind != Kind::Payment);
        let is_transactional = route.transactional && asked_after.is_none();
        let marks = is_transactional.then(|| {
            let content_digest = content_digest.unwrap_or_else(|| parsed.content_digest().under(reference.as_ref()));
            let payment = shown.and_then(|_| parsed.payment());
            IdempotencyKeys {
                callback: IdempotencyKey::new(&kind, &key, &content_digest, repetition),
                payment: payment
                    .map(|payment| PaymentKeys::new(&payment.receipt.as_str().into(), &payment.content_digest())),
            }
        });
        let limit = route.timeout.unwrap_or(self.limits.handler_timeout);
        let handling = self.handling.clone();
        let theirs = ctx.clone();
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
                self.transactor_failures.store(0, Ordering::Relaxed);
                return match asked_after {
                    None => (HandlerExit::With(Completion::Done, None), "done"),
                    Some(expected) => self.asked(&expected, ctx, attempt == attempts).await,
                };
            }
            Ok(Err(Failure::Transactor(error @ TransactorError::Unavailable(_)))) => {
                return self.transactor_away(&error);
            }
            // It will not pass by itself; so the attempt counts, and somebody hears of it in the end.
            Ok(Err(Failure::Transactor(error))) => {
                observe::transactor_failed("broken");
                tracing::error!(
                    cause = error_chain(&error),
                    "the transactor refuses what it needs; an attempt is used up"
                );
                error_chain(&error)
            }
            Ok(Err(Failure::Handler(error))) => error.chain(),
            Err(error) if error.is_panic() => "the handler panicked".to_owned(),
            Err(_) if overran => format!("the handler took longer than {limit:?}"),
            Err(_) => return self.given_up(attempt),
        };
        if attempt == attempts {
            return dead(ctx, error);
        }
        let after = self.limits.backoff.after(attempt);
        let (callback, kind) = (ctx.id(), ctx.kind());
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
        (HandlerExit::With(Completion::Retry { after, error: error.into() }, None), "retry")
    }

    /// Asking is not an answer: unless there is one by now, it is asked again, after as long as the callback was given or longer.
    async fn asked(&self, expected: &Expectation, ctx: CallbackContext, is_last: bool) -> (HandlerExit, &'static str) {
        match self.is_answered(expected).await {
            Ok(true) => (HandlerExit::With(Completion::Done, None), "done"),
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot look whether a callback came");
                (HandlerExit::With(Completion::Snoozed { after: expected.timeout }, None), "released")
            }
            Ok(false) if is_last => dead(ctx, "no callback came, and nothing was found out".to_owned()),
            Ok(false) => {
                let after = self.limits.backoff.after(ctx.attempt()).max(expected.timeout);
                let error = "no callback came, and nothing is found out yet".into();
                (HandlerExit::With(Completion::Retry { after, error }, None), "retry")
            }
        }
    }

    /// A payment takes over what the other callbacks of its receipt tell: the reference of a push's own URL, the names that a
    /// confirmation has. Only where there are others: most payments have one.
    async fn complete(&self, payment: &mut Payment, claimed: &Claimed) -> Result<(), StoreError> {
        payment.reference = payment.reference.take().or_else(|| claimed.reference.clone());
        if claimed.related.len() < 2 {
            return Ok(());
        }
        for related in &claimed.related {
            let Some(entry) = catch_panic(self.store.get(related.id)).await? else { continue };
            let told = self.parsed(&entry).and_then(|parsed| parsed.payment());
            // Another amount under the same receipt is a conflict, and tells nothing of this payment.
            if let Some(mut told) = told.filter(|told| told.amount == payment.amount) {
                told.reference.clone_from(&related.reference);
                payment.take_over(told);
            }
        }
        Ok(())
    }

    fn cannot_look(&self, attempt: u32, error: &StoreError) -> (HandlerExit, &'static str) {
        tracing::warn!(cause = error_chain(error), "cannot look up what belongs to a callback; it is handled later");
        let after = self.limits.backoff.after(attempt);
        (HandlerExit::With(Completion::Snoozed { after }, None), "released")
    }

    /// The transactor cannot be reached. That passes, and costs no attempt.
    fn transactor_away(&self, error: &TransactorError) -> (HandlerExit, &'static str) {
        let failures = self.transactor_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        observe::transactor_failed("away");
        tracing::error!(
            cause = error_chain(error),
            failures,
            "the transactor is away; nothing is handled in transactions"
        );
        let after = self.limits.backoff.after(failures).min(TRANSACTOR_AWAY_MAX_DELAY);
        (HandlerExit::With(Completion::Snoozed { after }, None), "released")
    }

    /// The lease was lost, or the inbox stops.
    fn given_up(&self, attempt: u32) -> (HandlerExit, &'static str) {
        if !self.stopping.is_cancelled() {
            return (HandlerExit::LeaseLost, "lease_lost");
        }
        tracing::info!(attempt, "not handled to its end; the next process does it");
        (HandlerExit::With(Completion::Snoozed { after: Duration::ZERO }, None), "released")
    }
}

/// Stops a handler and waits until it has stopped: one that is between two `await`s cannot be stopped there, and nobody
/// else may begin while it runs.
async fn stop<T>(running: JoinHandle<T>) -> Result<T, JoinError> {
    running.abort();
    running.await
}

fn dead(ctx: CallbackContext, error: String) -> (HandlerExit, &'static str) {
    let (callback, kind) = (ctx.id(), ctx.kind());
    tracing::error!(%callback, %kind, attempt = ctx.attempt(), "a callback is dead; `inbox.get` shows why");
    let error = Sensitive::from(error);
    let ctx = ctx.with_error(&error);
    (HandlerExit::With(Completion::Dead { error }, Some(ctx)), "dead")
}
