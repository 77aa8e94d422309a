//! Payments: money that came in, once per receipt.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, DarajaTime, Kind, Msisdn, Outcome, ParseError, RawJson, Sensitive};

/// Money that came in, once per receipt, whichever callbacks reported it.
///
/// An STK push to a short code with registered C2B URLs is reported twice, as `stk` and as
/// `c2b_confirmation`, in either order. The first callback with the money also records this
/// payment, and `#[payment]` runs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payment {
    /// M-Pesa's receipt: the key.
    pub receipt: String,
    /// The amount that came in, in KES: above zero, in whole cents.
    pub amount: Amount,
    /// Time of the payment, Africa/Nairobi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<DarajaTime>,
    /// Phone number of the payer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<Msisdn>,
    /// Name of the payer, if C2B contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<Sensitive>,
    /// The purpose of the payment: the account number that the customer typed, the account of the
    /// invoice, or an aggregator's reference. Safaricom's STK callbacks do not contain it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Sensitive>,
    /// Your own id of the order: from the per-payment URL of one of its callbacks, or from
    /// an [`Expectation`](crate::Expectation).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Sensitive>,
    /// Pay bill or till number, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_short_code: Option<String>,
    /// `CheckoutRequestID` of the push that caused it, if its callback has arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout_request_id: Option<Sensitive>,
    /// Kind of the callback that reported it first.
    pub first_reported_by: Kind,
}

impl Payment {
    pub(crate) fn new(receipt: String, amount: Amount, first_reported_by: Kind) -> Payment {
        Payment {
            receipt,
            amount,
            time: None,
            msisdn: None,
            payer: None,
            account: None,
            reference: None,
            business_short_code: None,
            checkout_request_id: None,
            first_reported_by,
        }
    }

    /// Which order it is for: the [`reference`](Payment::reference), else the trimmed
    /// [`account`](Payment::account); `None` if neither is known.
    ///
    /// The reference is your own. The account was typed by the customer, and may be misspelt:
    /// compare it tolerantly, and keep a place for payments whose order is not found.
    ///
    /// ```
    /// use mpesa_callbacks_payload::Payment;
    ///
    /// let paid = Payment::parse(br#"{"receipt":"RKTQDM7W6S","amount":"10","account":" ORDER-7 ","first_reported_by":"c2b_confirmation"}"#)?;
    /// assert_eq!(paid.order(), Some("ORDER-7"));
    /// # Ok::<_, mpesa_callbacks_payload::ParseError>(())
    /// ```
    pub fn order(&self) -> Option<&str> {
        let account = self.account.as_ref().map(Sensitive::trimmed).filter(|account| !account.is_empty());
        self.reference.as_ref().map(Sensitive::as_str).or(account)
    }

    /// For the engine: takes the fields that are missing from another callback of the same receipt.
    #[doc(hidden)]
    pub fn take_over(&mut self, other: Payment) {
        fn fill<T>(mine: &mut Option<T>, theirs: Option<T>) {
            if mine.is_none() {
                *mine = theirs;
            }
        }
        fill(&mut self.time, other.time);
        fill(&mut self.msisdn, other.msisdn);
        fill(&mut self.payer, other.payer);
        fill(&mut self.account, other.account);
        fill(&mut self.reference, other.reference);
        fill(&mut self.business_short_code, other.business_short_code);
        fill(&mut self.checkout_request_id, other.checkout_request_id);
    }

    /// Parses the output of [`Serialize`].
    pub fn parse(body: &[u8]) -> Result<Payment, ParseError> {
        crate::parse::read(body, Payment::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, _: RawJson) -> Result<Payment, ParseError> {
        let amount = root.amount("amount")?.ok_or(ParseError::Malformed { field: "amount", expected: "an amount" })?;
        Ok(Payment {
            receipt: root.id("receipt")?.ok_or(ParseError::NoKey { field: "receipt" })?,
            amount,
            time: root.time("time")?,
            msisdn: root.msisdn("msisdn")?,
            payer: root.private("payer")?,
            account: root.private("account")?,
            reference: root.private("reference")?,
            business_short_code: root.string("business_short_code")?,
            checkout_request_id: root.private("checkout_request_id")?,
            first_reported_by: Kind::from_stored_name(root.text("first_reported_by")?.as_deref().unwrap_or_default()),
        })
    }

    /// Returns the digest of the content, for the engine.
    #[doc(hidden)]
    pub fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::Payment).amount(Some(self.amount)).digest()
    }

    /// Returns its body in a store, for the engine.
    #[doc(hidden)]
    pub fn to_body(&self) -> Bytes {
        // Serialising strings and numbers into memory does not fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Payload for Payment {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.receipt.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(Outcome::Success)
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        self.content_digest()
    }
}
