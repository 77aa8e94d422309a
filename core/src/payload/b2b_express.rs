//! B2B Express: asking another merchant's till to pay.

use super::digest::{ContentHasher, Digest};
use super::json::Object;
use super::{Amount, Outcome, ParseError, RawJson, ResultCode, ResultCodeInfo, Sensitive};
use crate::kind::Kind;

/// What became of a USSD push that asks another merchant's till to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct B2bExpressCallback {
    /// The request's id, `requestId`: the key.
    pub request_id: String,
    /// `resultCode`; 0 is success.
    pub result_code: Option<ResultCode>,
    /// `resultDesc`, for people.
    pub result_desc: Option<String>,
    /// How much, `amount`.
    pub amount: Option<Amount>,
    /// M-Pesa's receipt, `transactionId`; only on success.
    pub transaction_id: Option<String>,
    /// `conversationID`; only on success.
    pub conversation_id: Option<String>,
    /// `paymentReference`; only on failure.
    pub payment_reference: Option<Sensitive>,
    /// `status`: `SUCCESS`; only on success.
    pub status: Option<String>,
    /// All that was sent.
    pub raw: RawJson,
}

impl B2bExpressCallback {
    /// Reads a callback's body.
    pub fn parse(body: &[u8]) -> Result<B2bExpressCallback, ParseError> {
        super::read(body, B2bExpressCallback::read)
    }

    pub(super) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<B2bExpressCallback, ParseError> {
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

    /// How the push ended. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::B2bExpress))
    }

    /// What the result code means; `None` when the catalogue does not list it.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::B2bExpress)
    }

    pub(super) fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::B2bExpress)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.transaction_id.as_deref())
            .digest()
    }
}
