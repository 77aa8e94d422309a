//! Step 6: run the user's method, in a transaction of the user's database if it takes one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dispatch::Failure;
use crate::Kind;
use crate::context::CallbackContext;
use crate::engine::Engine;
use crate::observe;
use crate::payload::{self, Callback, Expectation, Payment, Sensitive};
use crate::receive::error_chain;
use crate::store::{Claimed, Completion, State, StoreError};
use crate::transactor::{IdempotencyKey, IdempotencyKeys, PaymentKeys, TransactorError};
use crate::urls::Environment;

/// How long a kind without a handler in this process is left to other processes.
const UNHANDLED_DELAY: Duration = Duration::from_secs(5);

/// Longest delay while the transactor is unavailable.
const TRANSACTOR_AWAY_MAX_DELAY: Duration = Duration::from_secs(60);

/// Delays of a `payment_completed` whose payment is not handled yet.
const OVERTAKING_MIN_DELAY: Duration = Duration::from_secs(1);
const OVERTAKING_MAX_DELAY: Duration = Duration::from_secs(5 * 60);

/// The result of handling, for `settle`.
#[allow(clippy::large_enum_variant, reason = "made once for each callback, and moved twice")]
pub(crate) enum HandlerExit {
    /// Write this completion; the context is for `#[on_dead]`.
    With(Completion, Option<CallbackContext>),
    /// The lease expired; its new holder settles the callback.
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
            // Claims ask only for handled kinds, so another process can handle it.
            return (HandlerExit::With(Completion::Snoozed { after: UNHANDLED_DELAY }, None), "released");
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
            // Recorded by a version of the library that could parse it.
            Err(error) => return dead(ctx, error.to_string()),
        };
        if claimed.kind == Kind::PaymentCompleted {
            match self.is_overtaking(&claimed).await {
                Ok(false) => {}
                Ok(true) => return self.after_its_payment(&claimed),
                Err(error) => return self.cannot_look(claimed.attempt, &error),
            }
        }
        let mut completed = Vec::new();
        let ctx = match &mut parsed.callback {
            Callback::Payment(payment) => match self.complete(payment, &claimed).await {
                Ok(()) => {
                    if claimed.kind == Kind::Payment && claimed.was_told {
                        completed = completed_keys(payment, &claimed);
                    }
                    ctx.with_reference(payment.reference.clone())
                }
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

        // The idempotency key of a payment does not depend on its reference, which is that of the
        // callback that reported it first.
        let reference = reference.filter(|_| kind != Kind::Payment);
        let is_transactional = route.transactional && asked_after.is_none();
        let keys = is_transactional.then(|| {
            let content_digest = content_digest.unwrap_or_else(|| parsed.content_digest().under(reference.as_ref()));
            let payment = shown.and_then(|_| parsed.payment());
            IdempotencyKeys {
                callback: IdempotencyKey::new(&kind, &key, &content_digest, repetition),
                payment: payment
                    .map(|payment| PaymentKeys::new(&payment.receipt.as_str().into(), &payment.content_digest())),
                completed,
            }
        });
        let limit = route.timeout.unwrap_or(self.limits.handler_timeout);
        let handling = self.handling.clone();
        let theirs = ctx.clone();
        let call = async move { handling.handle(parsed.callback, &theirs, keys).await };
        // In its own task, so that a panic does not spread.
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
            // Not transient: the attempt counts, so that the callback is dead in the end and
            // somebody is told.
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
            // No real money and no real names: show the developer the cause.
            Environment::Sandbox => {
                tracing::warn!(%callback, %kind, attempt, ?after, cause = error, "a handler failed; it is tried again");
            }
            // The error may contain personal data, so it is stored and not logged.
            Environment::Production => {
                tracing::warn!(%callback, %kind, attempt, ?after, "a handler failed; it is tried again, and `inbox.get` shows why");
            }
        }
        (HandlerExit::With(Completion::Retry { after, error: error.into() }, None), "retry")
    }

    /// A query is not an answer. Without one, the handler runs again after at least the
    /// expectation's timeout.
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

    /// Adds the reference and the names that the other callbacks of the receipt contain. Most
    /// payments have one callback.
    async fn complete(&self, payment: &mut Payment, claimed: &Claimed) -> Result<(), StoreError> {
        payment.reference = payment.reference.take().or_else(|| claimed.reference.clone());
        if claimed.related.len() < 2 {
            return Ok(());
        }
        for related in &claimed.related {
            let Some(entry) = self.store.get(related.id).await? else { continue };
            let told = self.parsed(&entry).and_then(|parsed| parsed.payment());
            // Another amount under the same receipt is a conflict, and says nothing about this
            // payment.
            if let Some(mut told) = told.filter(|told| told.amount == payment.amount) {
                told.reference.clone_from(&related.reference);
                payment.take_over(told);
            }
        }
        Ok(())
    }

    /// Whether the payment that this completes is not handled yet. `#[payment]` runs first, and may
    /// be told all of it.
    async fn is_overtaking(&self, completed: &Claimed) -> Result<bool, StoreError> {
        let Some(payment) = completed.earlier else { return Ok(false) };
        Ok(self.store.get(payment).await?.is_some_and(|payment| payment.state != State::Done))
    }

    /// Waits as long again as it has waited so far.
    fn after_its_payment(&self, completed: &Claimed) -> (HandlerExit, &'static str) {
        let waited = self.clock.now().duration_since(completed.received_at).unwrap_or_default();
        let after = waited.clamp(OVERTAKING_MIN_DELAY, OVERTAKING_MAX_DELAY);
        (HandlerExit::With(Completion::Snoozed { after }, None), "released")
    }

    fn cannot_look(&self, attempt: u32, error: &StoreError) -> (HandlerExit, &'static str) {
        tracing::warn!(cause = error_chain(error), "cannot look up what belongs to a callback; it is handled later");
        let after = self.limits.backoff.after(attempt);
        (HandlerExit::With(Completion::Snoozed { after }, None), "released")
    }

    /// The transactor is unavailable. This is transient, and the attempt does not count.
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

    /// The lease was lost, or the inbox is shutting down.
    fn given_up(&self, attempt: u32) -> (HandlerExit, &'static str) {
        if !self.stopping.is_cancelled() {
            return (HandlerExit::LeaseLost, "lease_lost");
        }
        tracing::info!(attempt, "not handled to its end; the next process does it");
        (HandlerExit::With(Completion::Snoozed { after: Duration::ZERO }, None), "released")
    }
}

/// The keys of the `payment_completed` callbacks that tell what this attempt tells, too. An earlier
/// attempt was told without it, and may have taken effect: then this one is not applied, and they
/// are. They are recorded with the payment's own digest.
fn completed_keys(payment: &Payment, claimed: &Claimed) -> Vec<IdempotencyKey> {
    let Some(content_digest) = claimed.content_digest else { return Vec::new() };
    let receipt = claimed.key.as_str();
    let by_reference = payment.reference.as_ref().map(|_| Sensitive::from(receipt));
    let by_account = payment.account.as_ref().map(|_| Sensitive::from(format!("{receipt}/account")));
    let keys = by_reference.into_iter().chain(by_account);
    keys.map(|key| IdempotencyKey::new(&Kind::PaymentCompleted, &key, &content_digest, 0)).collect()
}

/// Aborts a handler and waits until it has stopped. It stops at its next `await`, and no other may
/// start before.
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
