//! Payments of Bill Manager invoices.

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, DarajaTime, Kind, Msisdn, Outcome, ParseError, Payment, RawJson, Sensitive};

/// A customer paid an invoice of Bill Manager.
///
/// Safaricom documents of this callback only that it is repeated: five times, if it is not
/// acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BillManagerPayment {
    /// M-Pesa's receipt, `transactionId`: the key.
    pub transaction_id: String,
    /// `paidAmount`: the amount that the customer paid, in KES. It may be less
    /// than the invoice.
    pub amount: Option<Amount>,
    /// Phone number of the payer, `msisdn` or `phoneNumber`.
    pub msisdn: Option<Msisdn>,
    /// Date of the payment, `dateCreated` or `paymentDate`; without a time of day.
    pub date_created: Option<DarajaTime>,
    /// Account of the invoice, `accountReference`.
    pub account_reference: Option<Sensitive>,
    /// `shortCode`: the pay bill number that received the payment.
    pub short_code: Option<String>,
    /// The body as JSON.
    pub raw: RawJson,
}

impl BillManagerPayment {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<BillManagerPayment, ParseError> {
        crate::parse::read(body, BillManagerPayment::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<BillManagerPayment, ParseError> {
        Ok(BillManagerPayment {
            transaction_id: root.id("transactionId")?.ok_or(ParseError::NoKey { field: "transactionId" })?,
            amount: root.amount("paidAmount")?,
            msisdn: match root.msisdn("msisdn")? {
                Some(msisdn) => Some(msisdn),
                None => root.msisdn("phoneNumber")?,
            },
            date_created: match root.time("dateCreated")? {
                Some(date) => Some(date),
                None => root.time("paymentDate")?,
            },
            account_reference: root.private("accountReference")?,
            short_code: root.id("shortCode")?,
            raw,
        })
    }

    /// Always [`Outcome::Success`]: Bill Manager reports payments only.
    pub fn outcome(&self) -> Outcome {
        Outcome::Success
    }
}

impl Payload for BillManagerPayment {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.transaction_id.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        let account = self.account_reference.as_ref().map(Sensitive::trimmed);
        ContentHasher::of(&Kind::BillManager).amount(self.amount).text(account).digest()
    }

    fn receipt(&self) -> Option<&str> {
        Some(&self.transaction_id)
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }

    fn complete(&self, mut payment: Payment) -> Payment {
        payment.time = self.date_created;
        payment.msisdn.clone_from(&self.msisdn);
        payment.account.clone_from(&self.account_reference);
        payment.business_short_code.clone_from(&self.short_code);
        payment
    }
}
