//! Step 6: the user's method, in a transaction of the user's database if it asks for one.

use std::time::Instant;

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Notice;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::handler::{Call, Deciding, HandlerError, Handling, MpesaCallbacks, Noticing};
use crate::kind::Kind;
use crate::ledger::{Begun, Ledger, LedgerError, Mark};
use crate::observe;
use crate::payload::{self, C2bValidation, Callback};
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
        let delivery = Delivery::of_claimed(&claimed);
        let kind = claimed.kind.clone();
        let (ended, name) = self.handle_claimed(claimed, delivery, cancelled).await;
        observe::handled(&kind, name, began.elapsed());
        ended
    }

    async fn handle_claimed(
        &self,
        claimed: Claimed,
        delivery: Delivery,
        cancelled: &CancellationToken,
    ) -> (Ended, &'static str) {
        let Claimed { kind, attempt, .. } = &claimed;
        let Some(route) = self.routes.of(kind) else {
            let error = "nothing handles this kind".to_owned();
            return (Ended::With(Ending::Held { error }, None), "held");
        };
        if route.implied {
            // Released by somebody: its payment was recorded with the release.
            return (Ended::With(Ending::Done, None), "done");
        }
        let attempts = route.retries.unwrap_or(self.limits.retries).saturating_add(1);
        if *attempt > attempts {
            let error = format!("{} attempts ended with the process, or without its lease", claimed.interruptions);
            return (self.dead(delivery, error), "dead");
        }
        let parsed = match payload::parse(kind, &claimed.body.0, route.key.as_deref()) {
            Ok(parsed) => parsed,
            // An older version of the library recorded what this one cannot read.
            Err(error) => return (self.dead(delivery, error.to_string()), "dead"),
        };

        let mark = route.transactional.then(|| Mark::new(kind, &claimed.key, &parsed.meaning()));
        let limit = route.deadline.unwrap_or(self.limits.handling);
        let handling = self.handling.clone();
        let theirs = delivery.clone();
        // A task of its own, so that a panic stays there; dropped, and so cancelled, when it overruns.
        let handling =
            AbortOnDropHandle::new(tokio::spawn(async move { handling.handle(parsed.callback, &theirs, mark).await }));
        let result = tokio::select! {
            result = timeout(limit, handling) => result,
            () = cancelled.cancelled() => return match self.stopping.is_cancelled() {
                true => (self.released(*attempt), "released"),
                false => (Ended::LeaseLost, "lease_lost"),
            },
        };
        let error = match result {
            Ok(Ok(Ok(()))) => return (Ended::With(Ending::Done, None), "done"),
            Ok(Ok(Err(Failure::Ledger(error)))) => {
                tracing::warn!(callback = %delivery.id(), %kind, cause = error_chain(&error), "the ledger is away");
                return (self.released(*attempt), "released");
            }
            Ok(Ok(Err(Failure::Handler(error)))) => error.chain(),
            Ok(Err(error)) if error.is_panic() => "the handler panicked".to_owned(),
            Ok(Err(_)) => return (self.released(*attempt), "released"),
            Err(_) => format!("the handler took longer than {limit:?}"),
        };
        if *attempt == attempts {
            return (self.dead(delivery, error), "dead");
        }
        let after = self.limits.backoff.after(*attempt);
        // The error's own words may name people: they are kept in the store.
        tracing::warn!(callback = %delivery.id(), %kind, attempt, ?after, "a handler failed; it is tried again");
        (Ended::With(Ending::Retry { after, error }, None), "retry")
    }

    fn dead(&self, delivery: Delivery, error: String) -> Ended {
        let (callback, kind) = (delivery.id(), delivery.kind());
        tracing::error!(%callback, %kind, attempt = delivery.attempt(), "a callback is dead; `inbox.get` shows why");
        let delivery = delivery.with_error(&error);
        Ended::With(Ending::Dead { error }, Some(delivery))
    }

    fn released(&self, attempt: u32) -> Ended {
        let after =
            if self.stopping.is_cancelled() { std::time::Duration::ZERO } else { self.limits.backoff.after(attempt) };
        Ended::With(Ending::Released { after }, None)
    }
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
