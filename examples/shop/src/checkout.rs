//! Buying: an order, an expectation, a push.

use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{Kind, Urls};

use crate::daraja::{Daraja, PushError};
use crate::orders::{NewOrder, Orders};

/// When `#[overdue]` queries a push whose callback has not arrived. A prompt disappears after a minute.
const TIMEOUT: Duration = Duration::from_secs(75);

/// The counter of the shop.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Checkout {
    /// The shop's orders.
    pub orders: Orders,
    /// The inbox.
    pub inbox: Inbox,
    /// Its callback URLs.
    pub urls: Urls,
    /// The client; `None` in a shop that only receives.
    pub daraja: Option<Daraja>,
    /// When the callback of a push is overdue. Default: 75 s.
    pub timeout: Duration,
}

impl Checkout {
    /// Makes a counter.
    pub fn new(orders: Orders, inbox: Inbox, urls: Urls, daraja: Option<Daraja>) -> Checkout {
        Checkout { orders, inbox, urls, daraja, timeout: TIMEOUT }
    }

    /// Places an order, and rings the customer's phone. Returns the order's reference, also if nobody knows whether the
    /// phone rings.
    ///
    /// # Errors
    /// When the order cannot be placed, or Daraja refuses the push: then the order is cancelled.
    pub async fn buy(&self, phone: &str, shillings: i64) -> anyhow::Result<String> {
        let daraja = self.daraja.as_ref().context("the shop has no connection to Daraja")?;
        let reference = format!("A{:07X}", fastrand::u32(..0x1000_0000));
        let due = Amount::from_shillings(shillings);
        let order = NewOrder {
            reference: reference.clone(),
            due_cents: due.cents().context("too much")?,
            checkout_request_id: None,
        };
        self.orders.place(&order).await?;
        // Before the push: its callback may arrive before its answer.
        let expected = Expectation::new(Kind::Stk, &*reference).amount(due).timeout(self.timeout);
        self.inbox.expect_callback(&expected).await?;
        let url = self.urls.stk_for(&reference)?;
        match daraja.push(phone, shillings, &reference, url.as_str()).await {
            Ok(checkout_request_id) => {
                self.inbox.link_request_id(&Kind::Stk, &reference, &checkout_request_id).await?;
                Ok(reference)
            }
            Err(error @ PushError::NotMade(_)) => {
                self.orders.cancel(&reference).await?;
                self.inbox.withdraw_expectation(&Kind::Stk, &reference).await?;
                Err(error.into())
            }
            Err(PushError::Unknown(error)) => {
                // The order stays open: a callback pays it, or `#[overdue]` finds out.
                tracing::warn!(error = format!("{error:#}"), "the answer to a push is lost");
                Ok(reference)
            }
        }
    }
}
