//! Daraja's messages as types: tolerant in shape, strict in meaning.
//!
//! Every payload has `parse`, typed fields, an outcome, and `raw`: the JSON as it was received.
//! `Serialize` writes that JSON, so a payload can be logged by the application or replayed. Two
//! payloads are equal if their content is: order, spelling and unknown members do not matter.

mod account;
mod amount;
mod b2b_express;
mod bill_manager;
mod c2b;
mod catalogue;
mod custom;
mod digest;
mod expectation;
mod json;

mod error;
mod key_time;
mod levels;
mod lipia;
mod msisdn;
mod outcome;
mod parameters;
mod party;
mod payment;
mod ratiba;
mod raw;
mod reconciliation;
mod redact;
mod result;
mod result_code;
mod sensitive;
mod stk;
mod time;
mod timeout;

use bytes::Bytes;

pub use self::account::{AccountBalance, BalanceAmount, Charge};
pub use self::amount::{Amount, ParseAmountError};
pub use self::b2b_express::B2bExpressCallback;
pub use self::bill_manager::BillManagerPayment;
pub use self::c2b::{C2bConfirmation, C2bValidation};
pub use self::catalogue::{ResultCategory, ResultCodeInfo, RetryAdvice, list as result_codes};
pub use self::custom::CustomCallback;
pub use self::digest::Digest;
pub use self::error::ParseError;
pub use self::expectation::Expectation;
pub(crate) use self::key_time::time_prefix;
pub use self::lipia::LipiaCallback;
pub use self::msisdn::Msisdn;
pub use self::outcome::Outcome;
pub use self::parameters::{Parameter, Parameters};
pub use self::party::Party;
pub use self::payment::Payment;
pub use self::ratiba::RatibaCallback;
pub use self::raw::RawJson;
pub use self::reconciliation::Reconciliation;
pub use self::redact::strike_credentials;
pub use self::result::{B2bResult, B2cResult, BalanceResult, ResultHeader, ReversalResult, StatusResult, TaxResult};
pub use self::result_code::ResultCode;
pub use self::sensitive::Sensitive;
pub use self::stk::StkCallback;
pub use self::time::DarajaTime;
pub use self::timeout::QueueTimeout;

use self::json::{Document, Object};
use self::parameters::Entries;
use crate::kind::Kind;

raw::serialize_as_sent! {
    StkCallback C2bConfirmation C2bValidation B2cResult B2bResult TaxResult StatusResult BalanceResult ReversalResult
    QueueTimeout B2bExpressCallback RatibaCallback BillManagerPayment LipiaCallback CustomCallback
}

/// A typed payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Callback {
    /// Payload of `stk`.
    Stk(StkCallback),
    /// Payload of `c2b_validation`.
    C2bValidation(C2bValidation),
    /// Payload of `c2b_confirmation`.
    C2bConfirmation(C2bConfirmation),
    /// Payload of `b2c_result`.
    B2cResult(B2cResult),
    /// Payload of `b2b_result`.
    B2bResult(B2bResult),
    /// Payload of `tax_result`.
    TaxResult(TaxResult),
    /// Payload of `status_result`.
    StatusResult(StatusResult),
    /// Payload of `balance_result`.
    BalanceResult(BalanceResult),
    /// Payload of `reversal_result`.
    ReversalResult(ReversalResult),
    /// Payload of the `…_timeout` kinds.
    QueueTimeout(QueueTimeout),
    /// Payload of `b2b_express`.
    B2bExpress(B2bExpressCallback),
    /// Payload of `ratiba`.
    Ratiba(RatibaCallback),
    /// Payload of `bill_manager`.
    BillManager(BillManagerPayment),
    /// Payload of `payment` and `payment_completed`.
    Payment(Payment),
    /// Payload of `lipia`.
    Lipia(LipiaCallback),
    /// Payload of `overdue`.
    Expectation(Expectation),
    /// Payload of a custom kind, `callback(path = "…", key = "…")`.
    Custom(CustomCallback),
}

/// A parsed body: kind, key and payload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// Kind of the callback. For a result/timeout pair, the body decides.
    pub kind: Kind,
    /// Idempotency key within the kind.
    pub key: Sensitive,
    /// The payload.
    pub callback: Callback,
}

/// Maximum length of a key, in bytes. Daraja's are shorter than 60.
const LONGEST_KEY: usize = 256;

/// Parses a body from the URL of this kind. `key` is the JSON pointer to the key of a custom kind.
///
/// # Errors
/// [`ParseError`]. It never quotes the body.
pub fn parse(kind: &Kind, body: &[u8], key: Option<&str>) -> Result<Parsed, ParseError> {
    parse_bytes(kind, &Bytes::copy_from_slice(body), key, None)
}

/// The same for a shared body, and for the URL of this reference.
pub(crate) fn parse_bytes(
    kind: &Kind,
    body: &Bytes,
    key: Option<&str>,
    reference: Option<&Sensitive>,
) -> Result<Parsed, ParseError> {
    if let Kind::Custom(_) = kind {
        return CustomCallback::read(kind, key.unwrap_or_default(), RawJson::new(body.clone()));
    }
    let parsed = whole_or_mended(body, |root, raw| read_as(kind, root, raw, reference))?;
    // M-Pesa's ids are ASCII; another one has no certain reading.
    if !parsed.key.as_str().is_ascii() && std::str::from_utf8(body).is_err() {
        return Err(ParseError::NotText);
    }
    Ok(parsed)
}

/// The kind that a body looks like which cannot be parsed as this kind. People give one URL for two
/// products.
pub(crate) fn looks_like(kind: &Kind, body: &Bytes) -> Option<Kind> {
    const TOLD_BY_SHAPE: [Kind; 7] = [
        Kind::Stk,
        Kind::C2bConfirmation,
        Kind::Lipia,
        Kind::Ratiba,
        Kind::BillManager,
        Kind::B2bExpress,
        Kind::B2cResult,
    ];
    let is_it = |other: &Kind| other != kind && parse_bytes(other, body, None, None).is_ok();
    TOLD_BY_SHAPE.into_iter().find(is_it)
}

/// Parses a body as it is, or repaired if it is nearly JSON.
fn whole_or_mended<T>(
    body: &Bytes,
    read: impl Fn(Object<'_, '_>, RawJson) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let read = |body: &Bytes| read(Document::parse(body)?.object()?, RawJson::new(body.clone()));
    match read(body) {
        Err(error @ (ParseError::NotJson { .. } | ParseError::NotAnObject)) => {
            json::mend(body).map_or(Err(error), |mended| read(&mended.into()))
        }
        read => read,
    }
}

fn read_as(
    kind: &Kind,
    root: Object<'_, '_>,
    raw: RawJson,
    reference: Option<&Sensitive>,
) -> Result<Parsed, ParseError> {
    let mut actual = kind.clone();
    if let Some(counterpart) = kind.counterpart()
        && timeout::is_timeout(root, kind.is_timeout())? != kind.is_timeout()
    {
        actual = counterpart;
    }
    let callback = match actual {
        Kind::Stk => Callback::Stk(StkCallback::read(root, raw)?),
        Kind::C2bValidation => Callback::C2bValidation(C2bValidation::read(root, raw)?),
        Kind::C2bConfirmation => Callback::C2bConfirmation(C2bConfirmation::read(root, raw)?),
        Kind::B2cResult => Callback::B2cResult(B2cResult::read(root, raw)?),
        Kind::B2bResult => Callback::B2bResult(B2bResult::read(root, raw)?),
        Kind::TaxResult => Callback::TaxResult(TaxResult::read(root, raw)?),
        Kind::StatusResult => Callback::StatusResult(StatusResult::read(root, raw)?),
        Kind::BalanceResult => Callback::BalanceResult(BalanceResult::read(root, raw)?),
        Kind::ReversalResult => Callback::ReversalResult(ReversalResult::read(root, raw)?),
        Kind::B2cTimeout
        | Kind::B2bTimeout
        | Kind::TaxTimeout
        | Kind::StatusTimeout
        | Kind::BalanceTimeout
        | Kind::ReversalTimeout => Callback::QueueTimeout(QueueTimeout::read(root, raw)?),
        Kind::B2bExpress => Callback::B2bExpress(B2bExpressCallback::read(root, raw)?),
        Kind::Ratiba => Callback::Ratiba(RatibaCallback::read(root, raw)?),
        Kind::BillManager => Callback::BillManager(BillManagerPayment::read(root, raw)?),
        Kind::Payment | Kind::PaymentCompleted => Callback::Payment(Payment::read(root, raw)?),
        Kind::Overdue => Callback::Expectation(Expectation::read(root, raw)?),
        Kind::Lipia => Callback::Lipia(LipiaCallback::read(root, raw)?),
        Kind::Custom(_) => return Err(ParseError::NotAnObject),
    };
    let key = match &callback {
        Callback::Expectation(expected) => expected.key().into_string(),
        // The echoed request of B2C version 1 has no id; the reference in its URL identifies it.
        Callback::QueueTimeout(timeout) if timeout.key().is_none() => match reference {
            Some(reference) => reference.as_str().to_owned(),
            None => return Err(ParseError::NoKey { field: "OriginatorConversationID" }),
        },
        Callback::Ratiba(callback) => callback.event_key(),
        callback => callback.key().to_owned(),
    };
    Parsed::new(actual, key, callback)
}

impl Parsed {
    fn new(kind: Kind, key: String, callback: Callback) -> Result<Parsed, ParseError> {
        let parsed = Parsed { kind, key: key.into(), callback };
        let receipt = parsed.paid().map_or(0, |(receipt, _)| receipt.len());
        if parsed.key.as_str().len() > LONGEST_KEY || receipt > LONGEST_KEY {
            return Err(ParseError::Malformed { field: "key or receipt", expected: "at most 256 bytes long" });
        }
        Ok(parsed)
    }

    /// Digest of the content. Two bodies of one key with the same digest are one callback in two
    /// spellings.
    pub fn content_digest(&self) -> Digest {
        match &self.callback {
            Callback::Stk(callback) => callback.content_digest(),
            Callback::C2bValidation(callback) => callback.content_digest(),
            Callback::C2bConfirmation(callback) => callback.content_digest(),
            Callback::B2cResult(callback) => callback.content_digest(),
            Callback::B2bResult(callback) => callback.content_digest(),
            Callback::TaxResult(callback) => callback.content_digest(),
            Callback::StatusResult(callback) => callback.content_digest(),
            Callback::BalanceResult(callback) => callback.content_digest(),
            Callback::ReversalResult(callback) => callback.content_digest(),
            // All timeouts of a request have the same content: the outcome is unknown.
            Callback::QueueTimeout(_) => digest::ContentHasher::of(&self.kind).digest(),
            Callback::B2bExpress(callback) => callback.content_digest(),
            Callback::Ratiba(callback) => callback.content_digest(),
            Callback::BillManager(callback) => callback.content_digest(),
            Callback::Payment(callback) => callback.content_digest(),
            Callback::Lipia(callback) => callback.content_digest(),
            Callback::Expectation(expected) => expected.content_digest(),
            Callback::Custom(callback) => callback.content_digest(&self.kind),
        }
    }

    /// Digest of fields that not every sender fills; compared only if both callbacks have it.
    pub(crate) fn detail(&self) -> Option<Digest> {
        match &self.callback {
            Callback::C2bConfirmation(callback) => callback.detail(),
            Callback::C2bValidation(callback) => callback.detail(),
            _ => None,
        }
    }

    /// M-Pesa's receipt, if there is one.
    pub(crate) fn receipt(&self) -> Option<&str> {
        match &self.callback {
            Callback::B2cResult(result) => result.receipt(),
            Callback::B2bResult(result) => result.receipt(),
            Callback::TaxResult(result) => result.receipt(),
            Callback::ReversalResult(result) => result.receipt(),
            _ => self.money().0,
        }
    }

    /// Receipt and amount of kinds that report money in, whatever the outcome.
    fn money(&self) -> (Option<&str>, Option<Amount>) {
        match &self.callback {
            Callback::Stk(callback) => (callback.receipt.as_deref(), callback.amount),
            Callback::C2bConfirmation(callback) => (Some(callback.trans_id.as_str()), callback.amount),
            Callback::B2bExpress(callback) => (callback.transaction_id.as_deref(), callback.amount),
            Callback::BillManager(callback) => (Some(callback.transaction_id.as_str()), callback.amount),
            Callback::Lipia(callback) => (callback.receipt.as_deref(), callback.amount),
            _ => (None, None),
        }
    }

    /// Receipt and amount, if this reports money that came in: a success with an amount of whole
    /// cents above zero.
    pub(crate) fn paid(&self) -> Option<(&str, Amount)> {
        let (receipt, amount) = self.money();
        let is_success = self.callback.outcome().is_some_and(Outcome::is_success);
        receipt.zip(amount).filter(|(_, amount)| is_success && amount.is_payable())
    }

    /// Why a person must look at it: it may report money, and contains no payable amount or
    /// receipt.
    pub(crate) fn is_unaccounted(&self) -> Option<&'static str> {
        if !self.kind.is_money_in() || self.paid().is_some() {
            return None;
        }
        match (self.callback.outcome()?, self.money()) {
            (Outcome::Success, (Some(_), Some(_))) => {
                Some("it tells of a payment of nothing, of less than nothing, or of a part of a cent")
            }
            (Outcome::Success, _) => Some("it tells of money without saying how much, or by which receipt"),
            (Outcome::Unknown, (Some(_), Some(_))) => {
                Some("it shows an amount and a receipt, and its result code does not say that it was paid")
            }
            _ => None,
        }
    }

    /// The payment that this reports, if any.
    pub fn payment(&self) -> Option<Payment> {
        let (receipt, amount) = self.paid()?;
        let payment = Payment::new(receipt.to_owned(), amount, self.kind.clone());
        Some(match &self.callback {
            Callback::Stk(callback) => callback.complete(payment),
            Callback::C2bConfirmation(callback) => callback.complete(payment),
            Callback::BillManager(callback) => callback.complete(payment),
            Callback::Lipia(callback) => callback.complete(payment),
            _ => payment,
        })
    }
}

/// Facts to compare with an expectation.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestFacts {
    /// Amount that was moved, in KES.
    pub(crate) amount: Option<Amount>,
    /// Pay bill or till number.
    pub(crate) business_short_code: Option<String>,
    /// Account number that the customer typed.
    pub(crate) account: Option<Sensitive>,
    /// Whether money was moved.
    pub(crate) is_success: bool,
    /// Whether callbacks of this kind always contain the amount.
    pub(crate) tells_amounts: bool,
}

impl Parsed {
    pub(crate) fn facts(&self) -> RequestFacts {
        let is_success = self.callback.outcome().is_some_and(Outcome::is_success);
        let amount = match &self.callback {
            _ if !is_success => None,
            Callback::Stk(callback) => callback.amount,
            Callback::C2bConfirmation(callback) => callback.amount,
            Callback::B2cResult(result) => result.amount,
            Callback::B2bResult(result) => result.amount,
            Callback::TaxResult(result) => result.amount,
            Callback::ReversalResult(result) => result.amount,
            Callback::B2bExpress(callback) => callback.amount,
            Callback::Ratiba(callback) => callback.amount,
            Callback::Lipia(callback) => callback.amount,
            _ => None,
        };
        match &self.callback {
            Callback::C2bConfirmation(callback) => RequestFacts {
                amount,
                business_short_code: callback.business_short_code.clone(),
                account: callback.bill_ref_number.clone(),
                is_success,
                tells_amounts: true,
            },
            callback => {
                let tells_amounts = matches!(callback, Callback::Stk(_) | Callback::Lipia(_));
                RequestFacts { amount, is_success, tells_amounts, ..RequestFacts::default() }
            }
        }
    }
}

impl Callback {
    /// Outcome of the transaction; `None` for validations, which come before it, and for custom
    /// kinds.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Callback::Stk(callback) => Some(callback.outcome()),
            Callback::C2bConfirmation(_) | Callback::Payment(_) | Callback::BillManager(_) => Some(Outcome::Success),
            Callback::B2cResult(callback) => Some(callback.outcome()),
            Callback::B2bResult(callback) => Some(callback.outcome()),
            Callback::TaxResult(callback) => Some(callback.outcome()),
            Callback::StatusResult(callback) => Some(callback.outcome()),
            Callback::BalanceResult(callback) => Some(callback.outcome()),
            Callback::ReversalResult(callback) => Some(callback.outcome()),
            Callback::QueueTimeout(_) => Some(Outcome::Unknown),
            Callback::B2bExpress(callback) => Some(callback.outcome()),
            Callback::Ratiba(callback) => Some(callback.outcome()),
            Callback::Lipia(callback) => Some(callback.outcome()),
            Callback::C2bValidation(_) | Callback::Expectation(_) | Callback::Custom(_) => None,
        }
    }

    fn key(&self) -> &str {
        match self {
            Callback::Stk(callback) => callback.checkout_request_id.as_str(),
            Callback::C2bValidation(callback) => &callback.trans_id,
            Callback::C2bConfirmation(callback) => &callback.trans_id,
            Callback::B2cResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::B2bResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::TaxResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::StatusResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::BalanceResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::ReversalResult(callback) => callback.header.key().unwrap_or_default(),
            Callback::QueueTimeout(callback) => callback.key().unwrap_or_default(),
            Callback::B2bExpress(callback) => &callback.request_id,
            Callback::BillManager(callback) => &callback.transaction_id,
            Callback::Payment(callback) => &callback.receipt,
            Callback::Lipia(callback) => callback.checkout_request_id.as_str(),
            Callback::Expectation(_) | Callback::Custom(_) | Callback::Ratiba(_) => "",
        }
    }
}

/// Parses one payload.
fn read<T>(body: &[u8], read: impl Fn(Object<'_, '_>, RawJson) -> Result<T, ParseError>) -> Result<T, ParseError> {
    whole_or_mended(&Bytes::copy_from_slice(body), read)
}

/// Parses one list of parameters of a body that was parsed before.
fn parameters_of(
    raw: &RawJson,
    entries: impl for<'a> Fn(Object<'_, 'a>) -> Result<Entries<'a>, ParseError>,
) -> Parameters {
    let parameters = || Ok::<_, ParseError>(entries(Document::parse(raw.as_bytes())?.object()?)?.into_parameters());
    parameters().unwrap_or_default()
}
