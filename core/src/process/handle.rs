//! Step 6: run the user's method, in a transaction of the user's database if it takes one.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::call::Call;
use super::elsewhere::{HANDLED_ELSEWHERE, UNHANDLED_DELAY};
use super::exit::{HandlerExit, dead};
use super::payment::{Before, completed_keys};
use super::processor::Processor;
use crate::Kind;
use crate::environment::Environment;
use crate::error_chain::error_chain;
use crate::handler::{CallbackContext, Failure, InboxHandle};
use crate::observe;
use crate::payload::{self, Callback, Parsed};
use crate::store::{Claimed, StoreError};
use crate::transactor::{IdempotencyKeys, TransactorError};

/// Longest delay while the transactor is unavailable.
const TRANSACTOR_AWAY_MAX_DELAY: Duration = Duration::from_secs(60);

/// How the user's method ended.
enum Attempt {
    Succeeded,
    /// With the cause, which may contain personal data.
    Failed(String),
    /// The transactor is unavailable.
    TransactorAway(TransactorError),
    /// The payment is left to a release with `#[payment]`, for this reason.
    Elsewhere(&'static str),
    /// The lease was lost, or the inbox is shutting down.
    Cancelled,
}

impl Processor {
    pub(super) async fn handle(
        &self,
        claimed: Claimed,
        cancelled: &CancellationToken,
        inbox: &InboxHandle,
    ) -> HandlerExit {
        let began = Instant::now();
        let kind = claimed.kind.clone();
        let exit = self.handle_claimed(claimed, cancelled, inbox).await;
        observe::handled(&kind, exit.label(), began.elapsed());
        exit
    }

    async fn handle_claimed(
        &self,
        claimed: Claimed,
        cancelled: &CancellationToken,
        inbox: &InboxHandle,
    ) -> HandlerExit {
        if cancelled.is_cancelled() || self.lifecycle.stopping.is_cancelled() {
            return self.given_up(claimed.attempt);
        }
        let Some(route) = self.routes.of(&claimed.kind) else {
            // Claims ask only for handled kinds, so another process can handle it.
            return HandlerExit::Snoozed { after: UNHANDLED_DELAY };
        };
        if route.implied {
            return noted(&claimed.kind);
        }
        let ctx = CallbackContext::of_claimed(inbox, &claimed);
        let attempts = route.max_retries.unwrap_or(self.limits.max_retries).saturating_add(1);
        if claimed.attempt > attempts {
            let error = match claimed.interruptions_alone {
                // A release with more retries has begun.
                0 => format!("all of its {attempts} attempts had been used"),
                alone => format!("the process ended {alone} times while only this suspect ran"),
            };
            return dead(ctx, error);
        }
        let pointer = route.key.as_deref();
        let parsed = payload::parse_bytes(&claimed.kind, &claimed.body.0, pointer, claimed.reference.as_ref());
        let call = match parsed {
            Ok(parsed) => self.prepare_call(parsed, ctx, &claimed, inbox).await,
            // Recorded by a version of the library that could parse it.
            Err(error) => return dead(ctx, error.to_string()),
        };
        let call = match call {
            Ok(call) => call,
            Err(exit) => return exit,
        };
        let is_last = claimed.attempt == attempts;
        match self.was_handled_elsewhere(route, &call, &claimed).await {
            Ok(false) => {}
            Ok(true) => return self.left_elsewhere(call.ctx, HANDLED_ELSEWHERE, is_last),
            Err(error) => return self.cannot_look(claimed.attempt, &error),
        }
        let keys = self.idempotency_keys(route, &call, &claimed);
        let limit = route.timeout.unwrap_or(self.limits.handler_timeout);
        let Call { parsed, ctx, overdue, .. } = call;
        match self.run(parsed.callback, &ctx, keys, limit, cancelled).await {
            Attempt::Succeeded => match overdue {
                None => HandlerExit::Done,
                Some(expected) => self.after_asking(&expected, ctx, is_last).await,
            },
            Attempt::Failed(error) if is_last => dead(ctx, error),
            Attempt::Failed(error) => self.retry(&ctx, error),
            Attempt::TransactorAway(error) => self.transactor_away(&error),
            Attempt::Elsewhere(reason) => self.left_elsewhere(ctx, reason, is_last),
            Attempt::Cancelled => self.given_up(claimed.attempt),
        }
    }

    /// Adds the facts of related callbacks; an exit if the method need not or cannot run now.
    async fn prepare_call(
        &self,
        mut parsed: Parsed,
        ctx: CallbackContext,
        claimed: &Claimed,
        inbox: &InboxHandle,
    ) -> Result<Call, HandlerExit> {
        let cannot_look = |error: StoreError| self.cannot_look(claimed.attempt, &error);
        if claimed.kind == Kind::PaymentCompleted {
            match self.payment_before(claimed).await.map_err(cannot_look)? {
                Before::Handled => {}
                Before::Open => return Err(self.after_its_payment(claimed)),
                Before::Dismissed => return Err(HandlerExit::Done),
            }
        }
        let (mut completed, mut overdue, mut reference) = (Vec::new(), None, claimed.reference.clone());
        match &mut parsed.callback {
            Callback::Payment(payment) => {
                self.complete(payment, claimed).await.map_err(cannot_look)?;
                if let Some(content_digest) = claimed.content_digest
                    && claimed.kind == Kind::Payment
                    && claimed.was_told
                {
                    completed = completed_keys(payment, &content_digest);
                }
                reference.clone_from(&payment.reference);
            }
            Callback::Expectation(expected) => {
                if self.is_over_by_now(expected, &claimed.key, inbox).await.map_err(cannot_look)? {
                    return Err(HandlerExit::Done);
                }
                overdue = Some(expected.clone());
            }
            _ => {}
        }
        Ok(Call { parsed, ctx: ctx.with_reference(reference), completed, overdue })
    }

    /// Runs the user's method in its own task, so that a panic does not spread.
    async fn run(
        &self,
        callback: Callback,
        ctx: &CallbackContext,
        keys: Option<IdempotencyKeys>,
        limit: Duration,
        cancelled: &CancellationToken,
    ) -> Attempt {
        let (handling, theirs) = (self.handling.clone(), ctx.clone());
        let call = async move { handling.handle(callback, &theirs, keys).await };
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
        match result {
            Ok(Ok(())) => {
                self.transactor_failures.store(0, Ordering::Relaxed);
                Attempt::Succeeded
            }
            Ok(Err(Failure::Transactor(error @ TransactorError::Unavailable(_)))) => Attempt::TransactorAway(error),
            // Not transient: the attempt counts, so that the callback is dead in the end and
            // somebody is told.
            Ok(Err(Failure::Transactor(error))) => {
                observe::transactor_failed("broken");
                let cause = error_chain(&error);
                tracing::error!(cause, "the transactor's own statements are refused; the attempt counts");
                Attempt::Failed(cause)
            }
            Ok(Err(Failure::Elsewhere(reason))) => Attempt::Elsewhere(reason),
            Ok(Err(Failure::Handler(error))) => Attempt::Failed(error.chain()),
            Err(error) if error.is_panic() => Attempt::Failed("the handler panicked".to_owned()),
            Err(_) if overran => Attempt::Failed(format!("the handler took longer than {limit:?}")),
            Err(_) => Attempt::Cancelled,
        }
    }

    pub(super) fn retry(&self, ctx: &CallbackContext, error: String) -> HandlerExit {
        let (callback, kind, attempt) = (ctx.id(), ctx.kind(), ctx.attempt());
        let after = self.limits.backoff.after(attempt);
        match self.owner.environment {
            // No real money and no real names: show the developer the cause.
            Environment::Sandbox => {
                tracing::warn!(%callback, %kind, attempt, ?after, cause = error, "a handler failed; it is retried");
            }
            // The error may contain personal data, so it is stored and not logged.
            Environment::Production => {
                tracing::warn!(%callback, %kind, attempt, ?after, "a handler failed; it is retried, and `inbox.get` shows why");
            }
        }
        HandlerExit::Retry { after, error: error.into() }
    }

    fn cannot_look(&self, attempt: u32, error: &StoreError) -> HandlerExit {
        tracing::warn!(
            cause = error_chain(error),
            "cannot look up the other callbacks of this one; it is handled later"
        );
        HandlerExit::Snoozed { after: self.limits.backoff.after(attempt) }
    }

    /// The transactor is unavailable. This is transient, and the attempt does not count.
    fn transactor_away(&self, error: &TransactorError) -> HandlerExit {
        let failures = self.transactor_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        observe::transactor_failed("unavailable");
        let cause = error_chain(error);
        tracing::error!(cause, failures, "the transactor is unavailable; nothing is handled in transactions");
        HandlerExit::Snoozed { after: self.limits.backoff.after(failures).min(TRANSACTOR_AWAY_MAX_DELAY) }
    }

    /// The lease was lost, or the inbox is shutting down.
    fn given_up(&self, attempt: u32) -> HandlerExit {
        if !self.lifecycle.stopping.is_cancelled() {
            return HandlerExit::LeaseLost;
        }
        tracing::info!(attempt, "a handler was stopped by the shutdown; the next process runs it again");
        HandlerExit::Snoozed { after: Duration::ZERO }
    }
}

/// A kind without a handler. Its payment was recorded with it.
fn noted(kind: &Kind) -> HandlerExit {
    if *kind == Kind::PaymentCompleted {
        tracing::warn!(
            "a payment got its order id after it was handled, and there is no `#[payment_completed]` handler"
        );
    }
    HandlerExit::Done
}

/// Aborts a handler and waits until it has stopped. It stops at its next `await`, and no other may
/// start before.
async fn stop<T>(running: JoinHandle<T>) -> Result<T, JoinError> {
    running.abort();
    running.await
}
