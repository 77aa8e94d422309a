//! M-Pesa Express (STK push).

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{
    Amount, BalanceAmount, DarajaTime, Kind, Msisdn, Outcome, Parameters, ParseError, Payment, RawJson, RequestFacts,
    ResultCode, ResultCodeInfo, Sensitive,
};

/// The result of an M-Pesa Express push to a customer's phone.
///
/// Daraja never echoes the `AccountReference` of the request: match by [`checkout_request_id`], which the answer to the
/// request named, though the callback can come before that answer.
///
/// [`checkout_request_id`]: StkCallback::checkout_request_id
///
/// ```
/// use mpesa_callbacks_payload::{Amount, StkCallback};
///
/// let body = br#"{"Body":{"stkCallback":{
///     "MerchantRequestID":"29115-34620561-1","CheckoutRequestID":"ws_CO_191220191020363925",
///     "ResultCode":0,"ResultDesc":"The service request is processed successfully.",
///     "CallbackMetadata":{"Item":[{"Name":"Amount","Value":1.00},{"Name":"MpesaReceiptNumber","Value":"NLJ7RT61SV"},
///     {"Name":"Balance"},{"Name":"TransactionDate","Value":20191219102115},{"Name":"PhoneNumber","Value":254708374149}]}}}}"#;
/// let callback = StkCallback::parse(body)?;
/// assert!(callback.outcome().is_success());
/// assert_eq!(callback.amount, Some(Amount::from_shillings(1)));
/// assert_eq!(callback.receipt.as_deref(), Some("NLJ7RT61SV"));
/// assert!(callback.phone_number.unwrap().is("0708374149"));
/// # Ok::<_, mpesa_callbacks_payload::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StkCallback {
    /// `MerchantRequestID`, Daraja's id of the request.
    pub merchant_request_id: Option<String>,
    /// `CheckoutRequestID`, Daraja's id of the push: the key. Since 2022 it ends in the payer's
    /// phone number.
    pub checkout_request_id: Sensitive,
    /// `ResultCode`, as a number or a string; `0` is success.
    /// [`code_info`](Self::code_info) explains the others.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`, for people; its wording changes from year to year.
    pub result_desc: Option<String>,
    /// Amount that the customer paid, in KES.
    pub amount: Option<Amount>,
    /// M-Pesa's receipt, `MpesaReceiptNumber`. It is the `TransID` of the C2B confirmation of the
    /// same payment.
    pub receipt: Option<String>,
    /// `Balance`; nearly always empty.
    pub balance: Option<Amount>,
    /// Time of the payment, `TransactionDate`.
    pub transaction_date: Option<DarajaTime>,
    /// Phone number of the payer, `PhoneNumber`; or `Msisdn` beside the metadata, which an
    /// aggregator adds.
    pub phone_number: Option<Msisdn>,
    /// Your own reference, `ExternalReference`, if an aggregator adds it (TinyPesa does).
    pub external_reference: Option<Sensitive>,
    /// The body as JSON.
    pub raw: RawJson,
}

impl StkCallback {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<StkCallback, ParseError> {
        crate::parse::read(body, StkCallback::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<StkCallback, ParseError> {
        // M-Pesa Ethiopia adds another `Envelope`.
        let root = root.object("Envelope")?.unwrap_or(root);
        let body = root.object("Body")?.unwrap_or(root);
        let callback = match body.object("stkCallback")? {
            Some(callback) => callback,
            // A flat body: failures of some senders, and every response of the STK query. Without a
            // result yet its `ResultCode` is empty.
            None if body.has("CheckoutRequestID") && body.has("ResultCode") => body,
            None => return Err(ParseError::NoKey { field: "CheckoutRequestID" }),
        };
        let items = StkCallback::items(callback)?;
        Ok(StkCallback {
            merchant_request_id: callback.id("MerchantRequestID")?,
            checkout_request_id: callback
                .id("CheckoutRequestID")?
                .map(Sensitive::from)
                .ok_or(ParseError::NoKey { field: "CheckoutRequestID" })?,
            result_code: callback.code("ResultCode")?,
            result_desc: callback.string("ResultDesc")?,
            amount: items.amount("Amount")?,
            receipt: items.one("MpesaReceiptNumber")?.map(str::to_owned),
            balance: items.text(&["Balance"]).and_then(BalanceAmount::parse).map(|balance| balance.amount),
            transaction_date: items.text(&["TransactionDate"]).and_then(DarajaTime::parse),
            phone_number: match items.text(&["PhoneNumber"]) {
                Some(number) => Some(Msisdn::from(number)),
                None => callback.msisdn("Msisdn")?,
            },
            external_reference: callback.private("ExternalReference")?,
            raw,
        })
    }

    fn items<'a>(callback: Object<'_, 'a>) -> Result<Entries<'a>, ParseError> {
        Entries::gather(callback.member("CallbackMetadata")?)
    }

    /// Returns the outcome of the push. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&Kind::Stk))
    }

    /// Returns the explanation of the result code; `None` for an unlisted code.
    pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
        self.result_code.as_ref()?.code_info(&Kind::Stk)
    }

    /// Returns all items of `CallbackMetadata`, as they were sent.
    pub fn metadata(&self) -> Parameters {
        crate::json::parameters_of(&self.raw, |root| {
            let root = root.object("Envelope")?.unwrap_or(root);
            let body = root.object("Body")?.unwrap_or(root);
            body.object("stkCallback")?.map_or(Ok(Entries::default()), StkCallback::items)
        })
    }
}

impl Payload for StkCallback {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.checkout_request_id.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        ContentHasher::of(&Kind::Stk)
            .code(self.result_code.as_ref())
            .amount(self.amount)
            .text(self.receipt.as_deref())
            .digest()
    }

    fn receipt(&self) -> Option<&str> {
        self.receipt.as_deref()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }

    fn complete(&self, mut payment: Payment) -> Payment {
        payment.time = self.transaction_date;
        payment.msisdn.clone_from(&self.phone_number);
        payment.account.clone_from(&self.external_reference);
        payment.checkout_request_id = Some(self.checkout_request_id.clone());
        payment
    }

    fn tell(&self, facts: RequestFacts) -> RequestFacts {
        RequestFacts { tells_amounts: true, ..facts }
    }
}
