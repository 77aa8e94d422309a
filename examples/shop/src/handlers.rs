//! The shop's handlers.

use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::payload::Reconciliation;
use mpesa_callbacks::prelude::*;

use crate::daraja::Daraja;
use crate::orders::{self, BookingError, Orders};

/// The shop's handlers. Those with a `tx` take effect exactly once in its database.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Shop {
    orders: Orders,
    daraja: Option<Daraja>,
    give_up_after: Duration,
}

impl Shop {
    /// A shop with these orders, and its client of Daraja, if it has one. A push whose answer was lost and that nobody has
    /// paid by `give_up_after` counts as not made.
    pub fn new(orders: Orders, daraja: Option<Daraja>, give_up_after: Duration) -> Shop {
        Shop { orders, daraja, give_up_after }
    }
}

#[mpesa_callbacks]
impl Shop {
    /// Incoming money, once per receipt, even if M-Pesa reports it by STK and by C2B.
    #[payment]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), BookingError> {
        orders::book(tx, &payment).await
    }

    /// The order of a payment that is booked already.
    #[payment_completed]
    async fn whose_it_was(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), BookingError> {
        orders::assign(tx, &payment).await
    }

    /// The result of a push. `paid` handles the money.
    #[stk]
    async fn push_ended(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> sqlx::Result<()> {
        let status = match callback.outcome() {
            Outcome::Success => return Ok(()),
            Outcome::Failed => "cancelled",
            Outcome::Unknown => "unsure",
        };
        orders::not_paid(tx, ctx, status).await
    }

    /// A customer wants to pay. M-Pesa waits for the answer.
    #[c2b_validation(timeout = "3s", fallback = "accept")]
    async fn is_welcome(&self, request: C2bValidation) -> sqlx::Result<Validation> {
        let Some(reference) = &request.bill_ref_number else {
            return Ok(Validation::reject(Rejection::InvalidAccountNumber));
        };
        Ok(match self.orders.due(reference.trimmed()).await? {
            None => Validation::reject(Rejection::InvalidAccountNumber),
            Some(due) if request.amount != Some(due) => Validation::reject(Rejection::InvalidAmount),
            Some(_) => Validation::accept(),
        })
    }

    /// The result of a payout.
    #[b2c_result]
    async fn sent(&self, result: B2cResult, ctx: &CallbackContext, tx: &mut SqliteTx) -> sqlx::Result<()> {
        let status = match result.outcome() {
            Outcome::Success => "sent",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unsure",
        };
        orders::payout(tx, ctx.key(), status, result.receipt()).await
    }

    /// A payout timed out. It may have been carried out: query its status, do not pay again.
    #[b2c_timeout]
    async fn stuck(&self, _timeout: QueueTimeout, ctx: &CallbackContext, tx: &mut SqliteTx) -> sqlx::Result<()> {
        orders::payout(tx, ctx.key(), "unsure", None).await
    }

    /// The callback of a push has not arrived. Daraja knows how it ended.
    #[overdue]
    async fn ask(&self, expected: Expectation, ctx: &CallbackContext) -> anyhow::Result<()> {
        let Some(daraja) = &self.daraja else { return Ok(()) };
        let (kind, reference) = (&expected.kind, expected.reference.as_str());
        let found = match &expected.id {
            Some(id) => match &*daraja.query(id.as_str()).await? {
                // The query does not return the receipt of a success. The transactions of the pay bill do.
                "0" => Reconciliation::success(daraja.receipt_of(reference).await?.context("not listed so far")?),
                code => Reconciliation::result_code(code),
            },
            // The answer to the push was lost: perhaps the customer has paid all the same.
            None => match daraja.receipt_of(reference).await? {
                Some(receipt) => Reconciliation::success(receipt),
                None if ctx.received_at().elapsed().is_ok_and(|age| age > self.give_up_after) => {
                    self.orders.cancel(reference).await?;
                    return Ok(ctx.inbox().withdraw_expectation(kind, reference).await?);
                }
                // Without an answer, this is asked again.
                None => return Ok(()),
            },
        };
        ctx.inbox().reconcile(kind, reference, &found).await?;
        Ok(())
    }

    /// A callback is held: `inbox.contradiction` shows the other callback, `inbox.release` handles it.
    #[on_conflict]
    async fn held(&self, ctx: &CallbackContext) {
        let reason = ctx.error();
        tracing::error!(callback = %ctx.id(), kind = %ctx.kind(), reason, "a callback is held");
    }

    /// A body cannot be parsed: `inbox.looks_like` guesses its kind, `inbox.replay_as` replays it.
    #[on_quarantine]
    async fn unreadable(&self, ctx: &CallbackContext) {
        tracing::error!(callback = %ctx.id(), kind = %ctx.kind(), "cannot be read");
    }

    /// A callback is dead: `inbox.get` shows why, `inbox.requeue` retries it.
    #[on_dead]
    async fn gave_up(&self, ctx: &CallbackContext) {
        tracing::error!(callback = %ctx.id(), kind = %ctx.kind(), "could not be handled");
    }
}
