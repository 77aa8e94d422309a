//! Step 6: the user's method, in a transaction of the user's database if it asks for one.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Notice;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::handler::{Call, Deciding, HandlerError, Handling, MpesaCallbacks, Noticing};
use crate::kind::Kind;
use crate::ledger::{Begun, Ledger, LedgerError, Mark};
use crate::observe;
use crate::payload::{self, C2bValidation, Callback, Private};
use crate::receive::error_chain;
use crate::store::{Claimed, Ending};
use crate::validation::Validation;

/// How handling one callback ended, for `settle` to write down.
#[allow(clippy::large_enum_variant, reason = "made once for each callback, and moved twice")]
pub(crate) enum Ended {
    /// Write this.
    With(Ending, Option<Delivery>),
    /// The lease is gone: whoever has it now will write.
    LeaseLost,
}

impl Engine {
    pub(super) async fn handle(&self, claimed: Claimed, cancelled: &CancellationToken) -> Ended {
        let began = Instant::now();
        let kind = claimed.kind.clone();
        let (ended, name) = self.handle_claimed(claimed, cancelled).await;
        observe::handled(&kind, name, began.elapsed());
        ended
    }

    async fn handle_claimed(&self, claimed: Claimed, cancelled: &CancellationToken) -> (Ended, &'static str) {
        let delivery = Delivery::of_claimed(&claimed);
        let Claimed { kind, key, body, attempt, interruptions, .. } = claimed;
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
        let parsed = match payload::parse_bytes(&kind, &body.0, route.key.as_deref()) {
            Ok(parsed) => parsed,
            // An older version of the library recorded what this one cannot read.
            Err(error) => return dead(delivery, error.to_string()),
        };

        let mark = route.transactional.then(|| Mark::new(&kind, &key, &parsed.meaning()));
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
                return (Ended::With(Ending::Done, None), "done");
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

/// A handler set and its ledger, seen as one thing of no particular type.
#[async_trait]
pub(crate) trait Handle: Send + Sync + 'static {
    async fn handle(&self, callback: Callback, delivery: &Delivery, mark: Option<Mark>) -> Result<(), Failure>;
    async fn decide(&self, request: C2bValidation, delivery: &Delivery) -> Result<Validation, HandlerError>;
    async fn notice(&self, notice: Notice, delivery: &Delivery);
}

pub(crate) enum Failure {
    Handler(HandlerError),
    Ledger(LedgerError),
}

pub(crate) struct WithLedger<H, L> {
    pub(crate) handler: H,
    pub(crate) ledger: L,
}

#[async_trait]
impl<H, L> Handle for WithLedger<H, L>
where
    H: MpesaCallbacks<L::Tx> + 'static,
    L: Ledger,
{
    async fn handle(&self, callback: Callback, delivery: &Delivery, mark: Option<Mark>) -> Result<(), Failure> {
        let Some(mark) = mark else {
            return dispatch(&self.handler, callback, Call::new(delivery, None)).await.map_err(Failure::Handler);
        };
        let mut tx = match self.ledger.begin(&mark).await.map_err(Failure::Ledger)? {
            Begun::New(tx) => tx,
            Begun::AlreadyApplied => {
                tracing::info!(callback = %delivery.id(), "applied before; nothing to do but to settle");
                return Ok(());
            }
        };
        match dispatch(&self.handler, callback, Call::new(delivery, Some(&mut tx))).await {
            Ok(()) => match self.ledger.commit(tx).await {
                Ok(()) => Ok(()),
                Err(LedgerError::Refused(cause)) => Err(Failure::Handler(HandlerError::new(cause))),
                Err(error) => Err(Failure::Ledger(error)),
            },
            Err(error) => {
                if let Err(error) = self.ledger.rollback(tx).await {
                    tracing::warn!(cause = error_chain(&error), "cannot roll back; the database will");
                }
                Err(Failure::Handler(error))
            }
        }
    }

    async fn decide(&self, request: C2bValidation, delivery: &Delivery) -> Result<Validation, HandlerError> {
        let deciding: Deciding<'_> = self.handler.c2b_validation(request, delivery);
        deciding.await
    }

    async fn notice(&self, notice: Notice, delivery: &Delivery) {
        let noticing: Noticing<'_> = match notice {
            Notice::Duplicate => self.handler.on_duplicate(delivery),
            Notice::Conflict => self.handler.on_conflict(delivery),
            Notice::Dead => self.handler.on_dead(delivery),
        };
        noticing.await;
    }
}

fn dispatch<'a, H, Tx>(handler: &'a H, callback: Callback, call: Call<'a, Tx>) -> Handling<'a>
where
    H: MpesaCallbacks<Tx>,
    Tx: Send,
{
    match callback {
        Callback::Stk(callback) => handler.stk(callback, call),
        Callback::C2bConfirmation(callback) => handler.c2b_confirmation(callback, call),
        Callback::B2cResult(result) => handler.b2c_result(result, call),
        Callback::B2bResult(result) => handler.b2b_result(result, call),
        Callback::TaxResult(result) => handler.tax_result(result, call),
        Callback::StatusResult(result) => handler.status_result(result, call),
        Callback::BalanceResult(result) => handler.balance_result(result, call),
        Callback::ReversalResult(result) => handler.reversal_result(result, call),
        Callback::QueueTimeout(timeout) => match call.delivery.kind() {
            Kind::B2bTimeout => handler.b2b_timeout(timeout, call),
            Kind::TaxTimeout => handler.tax_timeout(timeout, call),
            Kind::StatusTimeout => handler.status_timeout(timeout, call),
            Kind::BalanceTimeout => handler.balance_timeout(timeout, call),
            Kind::ReversalTimeout => handler.reversal_timeout(timeout, call),
            _ => handler.b2c_timeout(timeout, call),
        },
        Callback::B2bExpress(callback) => handler.b2b_express(callback, call),
        Callback::Ratiba(callback) => handler.ratiba(callback, call),
        Callback::BillManager(payment) => handler.bill_manager(payment, call),
        Callback::Payment(payment) => handler.payment(payment, call),
        Callback::Lipia(callback) => handler.lipia(callback, call),
        Callback::Custom(callback) => handler.callback(callback, call),
        // Validations are decided while M-Pesa waits, and recorded as done.
        Callback::C2bValidation(_) => Box::pin(async { Ok(()) }),
    }
}
