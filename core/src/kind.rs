//! The kinds of callbacks, and the one table of their attributes, paths, payloads and
//! acknowledgements.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The kind of a callback.
///
/// Its name (`stk`, `b2c_result`, …) is used in stores, logs and metrics, and is the attribute of
/// its handler. Keys are unique only within a kind: a validation and a confirmation of one payment
/// have the same `TransID`, and are two callbacks.
///
/// ```
/// use mpesa_callbacks_core::Kind;
///
/// assert_eq!(Kind::C2bConfirmation.name(), "c2b_confirmation");
/// assert_eq!("c2b_confirmation".parse(), Ok(Kind::C2bConfirmation));
/// assert!("c2b_confirmations".parse::<Kind>().is_err());
/// assert_eq!(Kind::Stk.default_path(), Some("/stk"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// M-Pesa Express: the result of a push to a customer's phone.
    Stk,
    /// A question: is this customer's payment welcome?
    C2bValidation,
    /// A customer paid a pay bill or till number.
    C2bConfirmation,
    /// The result of a payment to a customer (B2C, B2Pochi).
    B2cResult,
    /// A payment to a customer timed out in M-Pesa's queue; its outcome is unknown.
    B2cTimeout,
    /// The result of a payment to another business (pay bill, buy goods, account top up).
    B2bResult,
    /// A payment to another business timed out in M-Pesa's queue; its outcome is unknown.
    B2bTimeout,
    /// The result of a remittance to the Kenya Revenue Authority.
    TaxResult,
    /// A tax remittance timed out in M-Pesa's queue; its outcome is unknown.
    TaxTimeout,
    /// The result of a transaction status query.
    StatusResult,
    /// A transaction status query timed out in M-Pesa's queue.
    StatusTimeout,
    /// The result of an account balance query.
    BalanceResult,
    /// An account balance query timed out in M-Pesa's queue.
    BalanceTimeout,
    /// The result of a reversal.
    ReversalResult,
    /// A reversal timed out in M-Pesa's queue; its outcome is unknown.
    ReversalTimeout,
    /// The result of a USSD push to another merchant's till.
    B2bExpress,
    /// The result of a standing order, or a deduction under one.
    Ratiba,
    /// A customer paid an invoice of Bill Manager.
    BillManager,
    /// Money that came in, once per receipt, whichever callbacks reported it. Internal: it has no
    /// URL.
    Payment,
    /// The order of a payment that was handled without it. Internal: it has no URL.
    PaymentCompleted,
    /// An STK result in the format of the aggregator Lipia.
    Lipia,
    /// An expectation without a callback in time. Internal: it has no URL.
    Overdue,
    /// A callback of your own, `#[callback(path = "…", key = "…")]`, named after its path.
    Custom(CustomKind),
}

/// The name of a custom kind: `callback/` and its path without the leading slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomKind {
    /// `callback/` and the path.
    name: Arc<str>,
}

/// The acknowledgement of a kind. Sources: Daraja's documentation of each product, and Safaricom's
/// own listener (`safaricom/mpesa_listener`) for results and timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

const RESULT_CODE_0: Answer = Answer { content_type: JSON, body: r#"{"ResultCode":0,"ResultDesc":"Success"}"# };
const RESPONSE_CODE_0: Answer =
    Answer { content_type: JSON, body: r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"# };
const RESMSG: Answer = Answer { content_type: JSON, body: r#"{"resmsg":"Success","rescode":"200"}"# };
const OK: Answer = Answer { content_type: "text/plain", body: "ok" };

/// Content type of every acknowledgement except Lipia's.
pub(crate) const JSON: &str = "application/json";

/// One row of the table.
struct Row {
    kind: Kind,
    class: Class,
    name: &'static str,
    path: Option<&'static str>,
    payload: &'static str,
    answer: Answer,
    /// The other kind of a result/timeout pair.
    counterpart: Option<Kind>,
}

/// The class of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Reports money that comes in.
    MoneyIn,
    /// Asks for a decision.
    Validation,
    /// The result of a request.
    Result,
    /// A queue timeout: the outcome of the request is unknown.
    Timeout,
    /// Recorded by the inbox itself; it has no URL.
    Internal,
}

/// The table. Everything else that lists kinds is derived from it or tested against it.
#[rustfmt::skip]
static TABLE: [Row; 22] = {
    use {Class as C, Kind as K};
    const fn row(kind: Kind, class: Class, name: &'static str, path: &'static str, payload: &'static str, answer: Answer, counterpart: Option<Kind>) -> Row {
        Row { kind, class, name, path: Some(path), payload, answer, counterpart }
    }
    const fn internal(kind: Kind, name: &'static str, payload: &'static str) -> Row {
        Row { kind, class: Class::Internal, name, path: None, payload, answer: RESULT_CODE_0, counterpart: None }
    }
    [
        row(K::Stk,             C::MoneyIn,    "stk",              "/stk",              "StkCallback",        RESULT_CODE_0,   None),
        row(K::C2bValidation,   C::Validation, "c2b_validation",   "/c2b/validation",   "C2bValidation",      RESULT_CODE_0,   None),
        row(K::C2bConfirmation, C::MoneyIn,    "c2b_confirmation", "/c2b/confirmation", "C2bConfirmation",    RESULT_CODE_0,   None),
        row(K::B2cResult,       C::Result,     "b2c_result",       "/b2c/result",       "B2cResult",          RESPONSE_CODE_0, Some(K::B2cTimeout)),
        row(K::B2cTimeout,      C::Timeout,    "b2c_timeout",      "/b2c/timeout",      "QueueTimeout",       RESPONSE_CODE_0, Some(K::B2cResult)),
        row(K::B2bResult,       C::Result,     "b2b_result",       "/b2b/result",       "B2bResult",          RESPONSE_CODE_0, Some(K::B2bTimeout)),
        row(K::B2bTimeout,      C::Timeout,    "b2b_timeout",      "/b2b/timeout",      "QueueTimeout",       RESPONSE_CODE_0, Some(K::B2bResult)),
        row(K::TaxResult,       C::Result,     "tax_result",       "/tax/result",       "TaxResult",          RESPONSE_CODE_0, Some(K::TaxTimeout)),
        row(K::TaxTimeout,      C::Timeout,    "tax_timeout",      "/tax/timeout",      "QueueTimeout",       RESPONSE_CODE_0, Some(K::TaxResult)),
        row(K::StatusResult,    C::Result,     "status_result",    "/status/result",    "StatusResult",       RESPONSE_CODE_0, Some(K::StatusTimeout)),
        row(K::StatusTimeout,   C::Timeout,    "status_timeout",   "/status/timeout",   "QueueTimeout",       RESPONSE_CODE_0, Some(K::StatusResult)),
        row(K::BalanceResult,   C::Result,     "balance_result",   "/balance/result",   "BalanceResult",      RESPONSE_CODE_0, Some(K::BalanceTimeout)),
        row(K::BalanceTimeout,  C::Timeout,    "balance_timeout",  "/balance/timeout",  "QueueTimeout",       RESPONSE_CODE_0, Some(K::BalanceResult)),
        row(K::ReversalResult,  C::Result,     "reversal_result",  "/reversal/result",  "ReversalResult",     RESPONSE_CODE_0, Some(K::ReversalTimeout)),
        row(K::ReversalTimeout, C::Timeout,    "reversal_timeout", "/reversal/timeout", "QueueTimeout",       RESPONSE_CODE_0, Some(K::ReversalResult)),
        row(K::B2bExpress,      C::MoneyIn,    "b2b_express",      "/b2b-express",      "B2bExpressCallback", RESULT_CODE_0,   None),
        row(K::Ratiba,          C::Result,     "ratiba",           "/ratiba",           "RatibaCallback",     RESULT_CODE_0,   None),
        row(K::BillManager,     C::MoneyIn,    "bill_manager",     "/bill-manager",     "BillManagerPayment", RESMSG,          None),
        internal(K::Payment, "payment", "Payment"),
        internal(K::PaymentCompleted, "payment_completed", "Payment"),
        row(K::Lipia,           C::MoneyIn,    "lipia",            "/lipia",            "LipiaCallback",      OK,              None),
        internal(K::Overdue, "overdue", "Expectation"),
    ]
};

const CUSTOM_PREFIX: &str = "callback/";

impl Kind {
    /// Returns the kind of `#[callback(path = "…")]`, named after its path.
    pub fn custom(path: &str) -> Kind {
        let name = format!("{CUSTOM_PREFIX}{}", path.trim_matches('/'));
        Kind::Custom(CustomKind { name: name.into() })
    }

    /// For stores: the kind with this [`name`](Kind::name). An unknown name becomes a custom kind, so that a store can
    /// read what an older or newer version of the library recorded. Elsewhere use [`str::parse`], which fails.
    pub fn from_stored_name(name: &str) -> Kind {
        match TABLE.iter().find(|row| row.name == name) {
            Some(row) => row.kind.clone(),
            None => Kind::custom(name.strip_prefix(CUSTOM_PREFIX).unwrap_or(name)),
        }
    }

    /// Returns the built-in kinds, in the order of the table in the documentation.
    pub fn built_in() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|row| row.kind.clone())
    }

    /// Its name in stores, logs, metrics and attributes.
    pub fn name(&self) -> &str {
        match self {
            Kind::Custom(custom) => &custom.name,
            built_in => built_in.row().map_or("", |row| row.name),
        }
    }

    /// The name of a built-in kind.
    pub(crate) fn built_in_name(&self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// Default path below the secret; `None` for [`Kind::Payment`], [`Kind::PaymentCompleted`] and
    /// [`Kind::Overdue`], which have no URL.
    pub fn default_path(&self) -> Option<&'static str> {
        self.row().and_then(|row| row.path)
    }

    /// The name of its payload type, for tests of the macro; `None` for a custom kind.
    #[doc(hidden)]
    pub fn payload(&self) -> Option<&'static str> {
        self.row().map(|row| row.payload)
    }

    /// The other kind of a result/timeout pair.
    pub fn counterpart(&self) -> Option<Kind> {
        self.row().and_then(|row| row.counterpart.clone())
    }

    /// Whether it is [`Kind::Payment`] or [`Kind::PaymentCompleted`].
    pub fn is_payment(&self) -> bool {
        matches!(self, Kind::Payment | Kind::PaymentCompleted)
    }

    /// Whether its callbacks report money that comes in.
    pub(crate) fn is_money_in(&self) -> bool {
        self.row().is_some_and(|row| row.class == Class::MoneyIn)
    }

    /// Whether it is one of the `…_timeout` kinds.
    pub fn is_timeout(&self) -> bool {
        self.row().is_some_and(|row| row.class == Class::Timeout)
    }

    /// Whether its URL is registered with Safaricom once, not sent with each request: C2B and Bill
    /// Manager.
    pub fn is_registered_once(&self) -> bool {
        matches!(self, Kind::C2bValidation | Kind::C2bConfirmation | Kind::BillManager)
    }

    /// Whether it can be expected: it answers a request of the application, or is a C2B
    /// confirmation.
    pub fn can_be_expected(&self) -> bool {
        matches!(
            self,
            Kind::Stk
                | Kind::C2bConfirmation
                | Kind::B2cResult
                | Kind::B2bResult
                | Kind::TaxResult
                | Kind::ReversalResult
                | Kind::B2bExpress
                | Kind::Ratiba
                | Kind::Lipia
        )
    }

    /// Its acknowledgement. The route of a custom kind may replace it.
    pub(crate) fn answer(&self) -> Answer {
        self.row().map_or(RESULT_CODE_0, |row| row.answer)
    }

    fn row(&self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.kind == *self)
    }
}

/// The text is neither the name of a built-in kind nor that of a custom kind (`callback/…`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not the name of a kind of callback")]
pub struct UnknownKindError {
    name: String,
}

impl FromStr for Kind {
    type Err = UnknownKindError;

    fn from_str(name: &str) -> Result<Kind, UnknownKindError> {
        match Kind::from_stored_name(name) {
            Kind::Custom(_) if !name.starts_with(CUSTOM_PREFIX) => Err(UnknownKindError { name: name.to_owned() }),
            kind => Ok(kind),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_unique_and_names_lead_back_to_their_kinds() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(Kind::from_stored_name(row.name), row.kind);
            let differs = |other: &Row| other.name != row.name && (row.path.is_none() || other.path != row.path);
            assert!(TABLE[i + 1..].iter().all(differs));
        }
        assert_eq!(Kind::from_stored_name("callback/payhero"), Kind::custom("/payhero"));
    }

    #[test]
    fn counterparts_point_at_each_other() {
        for row in &TABLE {
            if let Some(counterpart) = &row.counterpart {
                assert_eq!(counterpart.counterpart().as_ref(), Some(&row.kind));
                assert_ne!(counterpart.is_timeout(), row.kind.is_timeout());
            }
        }
    }
}
