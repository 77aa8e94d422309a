//! M-Pesa Ratiba: standing orders.

use super::digest::{ContentHasher, Digest};
use super::json::Object;
use super::parameters::Entries;
use super::{Amount, Msisdn, Outcome, Parameters, ParseError, RawJson, ResultCode, ResultCodeInfo, Sensitive};
use crate::kind::Kind;

/// A standing order was created, or was not.
///
/// It tells of the order. For its deductions no callback is documented (C2B confirmations may come); one public test fixture
/// has them under the order's own id, with a receipt as `TransactionID`. That is not confirmed by Safaricom, but costs nothing
/// to read: see [`is_deduction`](RatibaCallback::is_deduction).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RatibaCallback {
    /// The request's id, `requestRefID`: the key where it is there.
    pub request_ref_id: Option<String>,
    /// M-Pesa's id of the answer, `responseRefID`: the key otherwise.
    pub response_ref_id: Option<String>,
    /// `responseCode`; 0 is success (200 in the answer to the request).
    pub result_code: Option<ResultCode>,
    /// `responseDescription`, for people.
    pub result_desc: Option<String>,
    /// `TransactionID`, unless it is all zeros.
    pub transaction_id: Option<String>,
    /// `Status`: `OKAY`, `ERROR`. Newer bodies have `status` beside it (`ACTIVE`), in [`data`](RatibaCallback::data).
    pub status: Option<String>,
    /// Whose order it is, `Msisdn`; masked.
    pub msisdn: Option<Msisdn>,
    /// How much is paid each time, `amount`; only in newer bodies.
    pub amount: Option<Amount>,
    /// `standingOrderName`; only in newer bodies.
    pub standing_order_name: Option<Sensitive>,
    /// All that was sent.
    pub raw: RawJson,
}

impl RatibaCallback {
    /// Reads a callback's body.
    pub fn parse(body: &[u8]) -> Result<RatibaCallback, ParseError> {
        super::read(body, RatibaCallback::read)
    }

    pub(super) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<RatibaCallback, ParseError> {
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

    /// Whether it tells of a deduction rather than of the order itself: an amount and an M-Pesa receipt, and no order's name
    /// (unconfirmed, see above). Each deduction is a callback of its own: its key is that of the order, `/`, and the receipt.
    pub fn is_deduction(&self) -> bool {
        let is_receipt = |id: &str| id.len() == 10 && id.bytes().any(|byte| byte.is_ascii_alphabetic());
        self.amount.is_some()
            && self.standing_order_name.is_none()
            && self.transaction_id.as_deref().is_some_and(is_receipt)
    }

    /// The key, of an order or of one of its deductions.
    pub(super) fn event_key(&self) -> String {
        let key = self.key().unwrap_or_default();
        match self.transaction_id.as_deref().filter(|_| self.is_deduction()) {
            Some(receipt) => format!("{key}/{receipt}"),
            None => key.to_owned(),
        }
    }

    /// What makes two deliveries the same callback: the request's id, else the answer's.
    pub fn key(&self) -> Option<&str> {
        self.request_ref_id.as_deref().or(self.response_ref_id.as_deref())
    }

    /// How the request for the order ended. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::Ratiba))
    }

    /// What the result code means; `None` when the catalogue does not list it.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::Ratiba)
    }

    /// `responseData`, as it was sent.
    pub fn data(&self) -> Parameters {
        super::parameters_of(&self.raw, RatibaCallback::entries)
    }

    pub(super) fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::Ratiba)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.transaction_id.as_deref())
            .digest()
    }
}
