//! B2B Express: USSD pushes to another merchant's till.

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, Kind, Outcome, ParseError, RawJson, ResultCode, ResultCodeInfo, Sensitive};

/// The result of a USSD push that requests a payment from another merchant's till.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct B2bExpressCallback {
    /// `requestId`: the id of the request, which the merchant chose. It is the
    /// idempotency key of this kind.
    pub request_id: String,
    /// `resultCode`, as a number or a string; `0` is success.
    /// [`code_info`](Self::code_info) explains the others.
    pub result_code: Option<ResultCode>,
    /// `resultDesc`: a description for people. Its wording is not stable.
    pub result_desc: Option<String>,
    /// `amount` in KES; also present in failures.
    pub amount: Option<Amount>,
    /// M-Pesa's receipt, `transactionId`; only on success.
    pub transaction_id: Option<String>,
    /// `conversationID`; only on success.
    pub conversation_id: Option<String>,
    /// `paymentReference`; only on failure.
    pub payment_reference: Option<Sensitive>,
    /// `status`: `SUCCESS`; only on success.
    pub status: Option<String>,
    /// The body as JSON.
    pub raw: RawJson,
}

impl B2bExpressCallback {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<B2bExpressCallback, ParseError> {
        crate::parse::read(body, B2bExpressCallback::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<B2bExpressCallback, ParseError> {
        Ok(B2bExpressCallback {
            request_id: root.id("requestId")?.ok_or(ParseError::NoKey { field: "requestId" })?,
            result_code: root.code("resultCode")?,
            result_desc: root.string("resultDesc")?,
            amount: root.amount("amount")?,
            transaction_id: root.id("transactionId")?,
            conversation_id: root.id("conversationID")?,
            payment_reference: root.private("paymentReference")?,
            status: root.id("status")?,
            raw,
        })
    }

    /// Returns the outcome of the push. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::B2bExpress))
    }

    /// Returns the explanation of the result code; `None` for an unlisted code.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::B2bExpress)
    }
}

impl Payload for B2bExpressCallback {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.request_id.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        ContentHasher::of(&Kind::B2bExpress)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.transaction_id.as_deref())
            .digest()
    }

    fn receipt(&self) -> Option<&str> {
        self.transaction_id.as_deref()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }
}
