//! From a callback to the user's method for it, and the transaction around that.

use async_trait::async_trait;

use super::Notice;
use crate::delivery::Delivery;
use crate::handler::{Call, Deciding, HandlerError, Handling, MpesaCallbacks, Noticing};
use crate::kind::Kind;
use crate::ledger::{Begun, Ledger, LedgerError, Marks, PaymentMarks};
use crate::payload::{C2bValidation, Callback};
use crate::receive::error_chain;
use crate::validation::Validation;

/// A handler set and its ledger, seen as one thing of no particular type.
#[async_trait]
pub(crate) trait Handle: Send + Sync + 'static {
    async fn handle(&self, callback: Callback, delivery: &Delivery, marks: Option<Marks>) -> Result<(), Failure>;
    async fn decide(&self, request: C2bValidation, delivery: &Delivery) -> Result<Validation, HandlerError>;
    async fn notice(&self, notice: Notice, delivery: &Delivery);
    async fn prepare(&self) -> Result<(), LedgerError>;
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
    async fn handle(&self, callback: Callback, delivery: &Delivery, marks: Option<Marks>) -> Result<(), Failure> {
        let Some(marks) = marks else {
            return dispatch(&self.handler, callback, Call::new(delivery, None)).await.map_err(Failure::Handler);
        };
        let mut tx = match self.ledger.begin(&marks.callback).await.map_err(Failure::Ledger)? {
            Begun::New(tx) => tx,
            Begun::AlreadyApplied => {
                tracing::info!(callback = %delivery.id(), "applied before; nothing to do but to settle");
                return Ok(());
            }
        };
        if let Some(payment) = &marks.payment {
            match accounts_for(&self.ledger, &mut tx, payment).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::info!(callback = %delivery.id(), "its payment was applied before; nothing to do but to settle");
                    self.roll_back(tx).await;
                    return Ok(());
                }
                Err(error) => {
                    self.roll_back(tx).await;
                    return Err(Failure::Ledger(error));
                }
            }
        }
        match dispatch(&self.handler, callback, Call::new(delivery, Some(&mut tx))).await {
            Ok(()) => match self.ledger.commit(tx).await {
                Ok(()) => Ok(()),
                Err(LedgerError::Refused(cause)) => Err(Failure::Handler(HandlerError::new(cause))),
                Err(error) => Err(Failure::Ledger(error)),
            },
            Err(error) => {
                self.roll_back(tx).await;
                Err(Failure::Handler(error))
            }
        }
    }

    async fn prepare(&self) -> Result<(), LedgerError> {
        self.ledger.prepare().await
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
            Notice::Quarantine => self.handler.on_quarantine(delivery),
        };
        noticing.await;
    }
}

impl<H, L: Ledger> WithLedger<H, L> {
    async fn roll_back(&self, tx: L::Tx) {
        if let Err(error) = self.ledger.rollback(tx).await {
            tracing::warn!(cause = error_chain(&error), "cannot roll back; the database will");
        }
    }
}

/// Marks a payment as accounted for by a callback; `false` when `#[payment]` has handled it.
async fn accounts_for<L: Ledger>(ledger: &L, tx: &mut L::Tx, payment: &PaymentMarks) -> Result<bool, LedgerError> {
    let is_theirs = !ledger.mark_also(tx, &payment.by_callbacks).await?;
    Ok(ledger.mark_also(tx, &payment.payment).await? || is_theirs)
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
            Kind::B2cTimeout => handler.b2c_timeout(timeout, call),
            kind => {
                let error = HandlerError::new(format!("{kind} is not the kind of a queue timeout"));
                Box::pin(async { Err(error) })
            }
        },
        Callback::B2bExpress(callback) => handler.b2b_express(callback, call),
        Callback::Ratiba(callback) => handler.ratiba(callback, call),
        Callback::BillManager(payment) => handler.bill_manager(payment, call),
        Callback::Payment(payment) => match call.delivery.kind() {
            Kind::PaymentCompleted => handler.payment_completed(payment, call),
            _ => handler.payment(payment, call),
        },
        Callback::Lipia(callback) => handler.lipia(callback, call),
        Callback::Expected(expected) => handler.overdue(expected, call),
        Callback::Custom(callback) => handler.callback(callback, call),
        // Validations are decided while M-Pesa waits, and recorded as done.
        Callback::C2bValidation(_) => Box::pin(async { Ok(()) }),
    }
}
