//! The shop's handlers.

use mpesa_callbacks::prelude::*;

use crate::orders::{self, BookingError, Orders};

/// The shop's handlers. Those with a `tx` take effect exactly once in its database.
#[derive(Clone, Debug)]
pub struct Shop {
    orders: Orders,
}

impl Shop {
    /// A shop with these orders.
    pub fn new(orders: Orders) -> Shop {
        Shop { orders }
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
