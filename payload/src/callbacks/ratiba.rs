//! M-Pesa Ratiba: standing orders.

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, Kind, Msisdn, Outcome, Parameters, ParseError, RawJson, ResultCode, ResultCodeInfo, Sensitive};

/// The result of a standing order, or a deduction under one.
///
/// No callback for deductions is documented; C2B confirmations may arrive. One public test fixture
/// has deductions under the order's id, with a receipt as `TransactionID`. Safaricom has not
/// confirmed that: see [`is_deduction`](RatibaCallback::is_deduction).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RatibaCallback {
    /// `requestRefID`: the key, if it is there.
    pub request_ref_id: Option<String>,
    /// `responseRefID`: else the key.
    pub response_ref_id: Option<String>,
    /// `responseCode`; 0 is success (200 in the response to the request).
    pub result_code: Option<ResultCode>,
    /// `responseDescription`: a description for people. Its wording is not
    /// stable.
    pub result_desc: Option<String>,
    /// `TransactionID`, unless it is all zeros.
    pub transaction_id: Option<String>,
    /// `Status`: `OKAY`, `ERROR`. Newer bodies also have `status` (`ACTIVE`), in
    /// [`data`](RatibaCallback::data).
    pub status: Option<String>,
    /// Phone number of the customer, `Msisdn`; masked.
    pub msisdn: Option<Msisdn>,
    /// Amount per deduction, `amount`, in KES; only in newer bodies.
    pub amount: Option<Amount>,
    /// `standingOrderName`; only in newer bodies.
    pub standing_order_name: Option<Sensitive>,
    /// The body as JSON.
    pub raw: RawJson,
}

impl RatibaCallback {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<RatibaCallback, ParseError> {
        crate::parse::read(body, RatibaCallback::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<RatibaCallback, ParseError> {
        let header = root.object("responseHeader")?.ok_or(ParseError::NoKey { field: "requestRefID" })?;
        let data = RatibaCallback::entries(root)?;
        let callback = RatibaCallback {
            request_ref_id: header.id("requestRefID")?,
            response_ref_id: header.id("responseRefID")?,
            result_code: match header.code("responseCode")? {
                Some(code) => Some(code),
                None => data.text(&["responseCode", "ResponseCode", "ResultCode"]).map(ResultCode::from),
            },
            result_desc: header.string("responseDescription")?,
            transaction_id: data
                .one("TransactionID")?
                .filter(|id| !id.bytes().all(|byte| byte == b'0'))
                .map(str::to_owned),
            status: data.string(&["Status"]),
            msisdn: data.text(&["Msisdn"]).map(Msisdn::from),
            amount: data.amount("amount")?,
            standing_order_name: data.string(&["standingOrderName"]).map(Sensitive::from),
            raw,
        };
        callback.key().map(|_| ()).ok_or(ParseError::NoKey { field: "requestRefID" })?;
        Ok(callback)
    }

    fn entries<'a>(root: Object<'_, 'a>) -> Result<Entries<'a>, ParseError> {
        Entries::gather(root.member("responseBody")?)
    }

    /// Returns whether it reports a deduction, not the order: it has an amount and a receipt, and
    /// no name of the order (unconfirmed, see above). Each deduction is a callback of its own, with
    /// the order's key, `/` and the receipt as its key.
    pub fn is_deduction(&self) -> bool {
        let is_receipt = |id: &str| id.len() == 10 && id.bytes().any(|byte| byte.is_ascii_alphabetic());
        self.amount.is_some()
            && self.standing_order_name.is_none()
            && self.transaction_id.as_deref().is_some_and(is_receipt)
    }

    /// Returns the key of an order or of one of its deductions.
    pub(super) fn event_key(&self) -> String {
        let key = self.key().unwrap_or_default();
        match self.transaction_id.as_deref().filter(|_| self.is_deduction()) {
            Some(receipt) => format!("{key}/{receipt}"),
            None => key.to_owned(),
        }
    }

    /// Returns the key of the order: the request's id, else the response's.
    pub fn key(&self) -> Option<&str> {
        self.request_ref_id.as_deref().or(self.response_ref_id.as_deref())
    }

    /// Returns the outcome of the request for the order. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::Ratiba))
    }

    /// Returns the explanation of the result code; `None` for an unlisted code.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::Ratiba)
    }

    /// `responseData`, as it was sent.
    pub fn data(&self) -> Parameters {
        crate::json::parameters_of(&self.raw, RatibaCallback::entries)
    }
}

impl Payload for RatibaCallback {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.event_key().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        ContentHasher::of(&Kind::Ratiba)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.transaction_id.as_deref())
            .digest()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }
}
