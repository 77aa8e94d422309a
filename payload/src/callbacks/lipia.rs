//! Lipia, an aggregator for STK pushes.

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{
    Amount, Kind, Msisdn, Outcome, ParseError, Payment, RawJson, RequestFacts, ResultCode, ResultCodeInfo, Sensitive,
};

/// An STK result in Lipia's format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LipiaCallback {
    /// `CheckoutRequestID`: Daraja's id of the push. It is the idempotency key
    /// of this kind.
    pub checkout_request_id: Sensitive,
    /// `MerchantRequestID`: Daraja's other id of the request.
    pub merchant_request_id: Option<String>,
    /// Your own reference, `ExternalReference`, which Lipia sends back.
    pub external_reference: Option<Sensitive>,
    /// `ResultCode`, with the meanings of M-Pesa Express; `0` is success.
    /// [`code_info`](Self::code_info) explains the others.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`: a description for people. Its wording is not stable.
    pub result_desc: Option<String>,
    /// `Amount`: the amount of the push, in KES; also present in failures.
    pub amount: Option<Amount>,
    /// M-Pesa's receipt, `MpesaReceiptNumber`; empty on failure.
    pub receipt: Option<String>,
    /// Phone number of the payer, `Phone`.
    pub phone: Option<Msisdn>,
    /// `Status`: `Success` or `Failed`.
    pub status: Option<String>,
    /// The outer `status`: whether Lipia counts the push as paid.
    pub succeeded: Option<bool>,
    /// The body as JSON, including `Metadata`.
    pub raw: RawJson,
}

impl LipiaCallback {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<LipiaCallback, ParseError> {
        crate::parse::read(body, LipiaCallback::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<LipiaCallback, ParseError> {
        let response = root.object("response")?.ok_or(ParseError::NoKey { field: "CheckoutRequestID" })?;
        Ok(LipiaCallback {
            checkout_request_id: response
                .id("CheckoutRequestID")?
                .map(Sensitive::from)
                .ok_or(ParseError::NoKey { field: "CheckoutRequestID" })?,
            merchant_request_id: response.id("MerchantRequestID")?,
            external_reference: response.private("ExternalReference")?,
            result_code: response.code("ResultCode")?,
            result_desc: response.string("ResultDesc")?,
            amount: response.amount("Amount")?,
            receipt: response.id("MpesaReceiptNumber")?,
            phone: response.msisdn("Phone")?,
            status: response.id("Status")?,
            succeeded: root.id("status")?.and_then(|text| text.to_ascii_lowercase().parse().ok()),
            raw,
        })
    }

    /// Returns the outcome of the push. Code 0 with `status` false is contradictory, and unknown.
    pub fn outcome(&self) -> Outcome {
        let outcome = self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::Lipia));
        if outcome.is_success() && self.succeeded == Some(false) { Outcome::Unknown } else { outcome }
    }

    /// Returns the explanation of the result code; `None` for an unlisted code.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::Lipia)
    }
}

impl Payload for LipiaCallback {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.checkout_request_id.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        ContentHasher::of(&Kind::Lipia)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.receipt.as_deref())
            .text(Some(&format!("{:?}", self.outcome())))
            .text(self.external_reference.as_ref().map(Sensitive::trimmed))
            .digest()
    }

    fn receipt(&self) -> Option<&str> {
        self.receipt.as_deref()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }

    fn complete(&self, mut payment: Payment) -> Payment {
        payment.msisdn.clone_from(&self.phone);
        payment.account.clone_from(&self.external_reference);
        payment.checkout_request_id = Some(self.checkout_request_id.clone());
        payment
    }

    fn tell(&self, facts: RequestFacts) -> RequestFacts {
        RequestFacts { tells_amounts: true, ..facts }
    }
}
