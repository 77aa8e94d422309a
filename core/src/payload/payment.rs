//! Money that came in, once per receipt.

use bytes::Bytes;
use serde::Serialize;

use super::digest::{ContentHasher, Digest};
use super::json::Object;
use super::{Amount, DarajaTime, Msisdn, ParseError, RawJson, Sensitive};
use crate::kind::Kind;

/// Money that came in, once per receipt, whichever callbacks told of it.
///
/// An STK push to a short code with registered C2B URLs is told of twice: as `stk` and as `c2b_confirmation`, in either
/// order. The first callback that shows the money also records this, and `#[payment]` runs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payment {
    /// M-Pesa's receipt: the key.
    pub receipt: String,
    /// How much came in.
    pub amount: Amount,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<DarajaTime>,
    /// Who paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<Msisdn>,
    /// The payer's names, as far as C2B tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<Sensitive>,
    /// What it is for: the account number that the customer typed, the invoice's account, or an aggregator's reference. An STK
    /// callback of Safaricom's does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Sensitive>,
    /// The merchant's own id, from the per-payment URL of one of its callbacks, or of the request that was
    /// [expected](crate::Inbox::expect_callback).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Sensitive>,
    /// The pay bill or till number, where it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_short_code: Option<String>,
    /// The push that led to it, where one did and its callback has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout_request_id: Option<Sensitive>,
    /// The kind of callback that told of it first.
    pub first_reported_by: Kind,
}

impl Payment {
    pub(super) fn new(receipt: String, amount: Amount, first_reported_by: Kind) -> Payment {
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

    /// Which order it is for: the [`reference`](Payment::reference), else the [`account`](Payment::account) without the white
    /// space around it; `None` when neither is known.
    ///
    /// A reference is the merchant's own; an account is what the customer typed, and may be misspelt: compare it as people
    /// write it, and keep a place for payments whose order is not found.
    ///
    /// ```
    /// use mpesa_callbacks_core::payload::Payment;
    ///
    /// let paid = Payment::parse(br#"{"receipt":"RKTQDM7W6S","amount":"10","account":" ORDER-7 ","first_reported_by":"c2b_confirmation"}"#)?;
    /// assert_eq!(paid.order(), Some("ORDER-7"));
    /// # Ok::<_, mpesa_callbacks_core::payload::ParseError>(())
    /// ```
    pub fn order(&self) -> Option<&str> {
        let account = self.account.as_ref().map(Sensitive::trimmed).filter(|account| !account.is_empty());
        self.reference.as_ref().map(Sensitive::as_str).or(account)
    }

    /// Takes over what another callback of the same receipt tells, where nothing is known yet.
    pub(crate) fn take_over(&mut self, other: Payment) {
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

    /// Reads back what [`Serialize`] wrote.
    pub fn parse(body: &[u8]) -> Result<Payment, ParseError> {
        super::read(body, Payment::read)
    }

    pub(super) fn read(root: Object<'_, '_>, _: RawJson) -> Result<Payment, ParseError> {
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

    /// Its body in a store.
    pub(crate) fn to_body(&self) -> Bytes {
        // Writing strings, numbers and no maps into memory does not fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(crate) fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::Payment).amount(Some(self.amount)).digest()
    }
}
