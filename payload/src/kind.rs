//! The kinds of callbacks, and the one table of their attributes, paths, payloads and
//! acknowledgements.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::ack_body::{AckBody, OK, RESMSG, RESPONSE_CODE_0, RESULT_CODE_0};

/// The table of built-in kinds, given to the macro `$then`. Everything else that lists kinds is
/// written by it or tested against it.
///
/// Columns: kind, class, attribute and payload, default path, acknowledgement, counterpart.
/// Sources of the acknowledgements: Daraja's documentation of each product, and Safaricom's own
/// listener (`safaricom/mpesa_listener`) for results and timeouts.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! kinds {
    ($then:ident) => {
        $then! {
            /// M-Pesa Express: the result of a push to a customer's phone.
            Stk              | MoneyIn    | stk(StkCallback)                  | "/stk"              | RESULT_CODE_0   | -;
            /// A question: is this customer's payment welcome?
            C2bValidation    | Validation | c2b_validation(C2bValidation)     | "/c2b/validation"   | RESULT_CODE_0   | -;
            /// A customer paid a pay bill or till number.
            C2bConfirmation  | MoneyIn    | c2b_confirmation(C2bConfirmation) | "/c2b/confirmation" | RESULT_CODE_0   | -;
            /// The result of a payment to a customer (B2C, B2Pochi).
            B2cResult        | Result     | b2c_result(B2cResult)             | "/b2c/result"       | RESPONSE_CODE_0 | B2cTimeout;
            /// A payment to a customer timed out in M-Pesa's queue; its outcome is unknown.
            B2cTimeout       | Timeout    | b2c_timeout(QueueTimeout)         | "/b2c/timeout"      | RESPONSE_CODE_0 | B2cResult;
            /// The result of a payment to another business (pay bill, buy goods, account top up).
            B2bResult        | Result     | b2b_result(B2bResult)             | "/b2b/result"       | RESPONSE_CODE_0 | B2bTimeout;
            /// A payment to another business timed out in M-Pesa's queue; its outcome is unknown.
            B2bTimeout       | Timeout    | b2b_timeout(QueueTimeout)         | "/b2b/timeout"      | RESPONSE_CODE_0 | B2bResult;
            /// The result of a remittance to the Kenya Revenue Authority.
            TaxResult        | Result     | tax_result(TaxResult)             | "/tax/result"       | RESPONSE_CODE_0 | TaxTimeout;
            /// A tax remittance timed out in M-Pesa's queue; its outcome is unknown.
            TaxTimeout       | Timeout    | tax_timeout(QueueTimeout)         | "/tax/timeout"      | RESPONSE_CODE_0 | TaxResult;
            /// The result of a transaction status query.
            StatusResult     | Result     | status_result(StatusResult)       | "/status/result"    | RESPONSE_CODE_0 | StatusTimeout;
            /// A transaction status query timed out in M-Pesa's queue.
            StatusTimeout    | Timeout    | status_timeout(QueueTimeout)      | "/status/timeout"   | RESPONSE_CODE_0 | StatusResult;
            /// The result of an account balance query.
            BalanceResult    | Result     | balance_result(BalanceResult)     | "/balance/result"   | RESPONSE_CODE_0 | BalanceTimeout;
            /// An account balance query timed out in M-Pesa's queue.
            BalanceTimeout   | Timeout    | balance_timeout(QueueTimeout)     | "/balance/timeout"  | RESPONSE_CODE_0 | BalanceResult;
            /// The result of a reversal.
            ReversalResult   | Result     | reversal_result(ReversalResult)   | "/reversal/result"  | RESPONSE_CODE_0 | ReversalTimeout;
            /// A reversal timed out in M-Pesa's queue; its outcome is unknown.
            ReversalTimeout  | Timeout    | reversal_timeout(QueueTimeout)    | "/reversal/timeout" | RESPONSE_CODE_0 | ReversalResult;
            /// The result of a USSD push to another merchant's till.
            B2bExpress       | MoneyIn    | b2b_express(B2bExpressCallback)   | "/b2b-express"      | RESULT_CODE_0   | -;
            /// The result of a standing order, or a deduction under one.
            Ratiba           | Result     | ratiba(RatibaCallback)            | "/ratiba"           | RESULT_CODE_0   | -;
            /// A customer paid an invoice of Bill Manager.
            BillManager      | MoneyIn    | bill_manager(BillManagerPayment)  | "/bill-manager"     | RESMSG          | -;
            /// Money that came in, once per receipt, whichever callbacks reported it. It has no URL.
            Payment          | Internal   | payment(Payment)                  | -                   | RESULT_CODE_0   | -;
            /// The order of a payment became known after `payment` had run without it; `payment` does
            /// not run again. It has no URL.
            PaymentCompleted | Internal   | payment_completed(Payment)        | -                   | RESULT_CODE_0   | -;
            /// An STK result in the format of the aggregator Lipia.
            Lipia            | MoneyIn    | lipia(LipiaCallback)              | "/lipia"            | OK              | -;
            /// No callback arrived in time: query M-Pesa, and pass the result to `Inbox::reconcile` here
            /// or when it arrives. Runs again after at least the expectation's timeout, until there is
            /// an answer. It has no URL.
            Overdue          | Internal   | overdue(Expectation)              | -                   | RESULT_CODE_0   | -;
        }
    };
}

/// A column that may be empty, `-`.
macro_rules! optional {
    (-) => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

macro_rules! define_kinds {
    ($(
        $(#[$documentation:meta])*
        $kind:ident | $class:ident | $name:ident($payload:ident) | $path:tt | $ack:ident | $counterpart:tt;
    )*) => {
        /// The kind of a callback.
        ///
        /// Its name (`stk`, `b2c_result`, …) is used in stores, logs and metrics, and is the attribute of
        /// its handler. Keys are unique only within a kind: a validation and a confirmation of one payment
        /// have the same `TransID`, and are two callbacks.
        ///
        /// ```
        /// use mpesa_callbacks_payload::Kind;
        ///
        /// assert_eq!(Kind::C2bConfirmation.name(), "c2b_confirmation");
        /// assert_eq!("c2b_confirmation".parse(), Ok(Kind::C2bConfirmation));
        /// assert!("c2b_confirmations".parse::<Kind>().is_err());
        /// assert_eq!(Kind::Stk.default_path(), Some("/stk"));
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Kind {
            $(
                $(#[$documentation])*
                $kind,
            )*
            /// A callback of your own, `#[callback(path = "…", key = "…")]`, named after its path.
            Custom(CustomKind),
        }

        static TABLE: &[Row] = {
            use Kind::*;
            &[$(Row {
                kind: $kind,
                class: Class::$class,
                name: stringify!($name),
                path: optional!($path),
                payload: stringify!($payload),
                ack_body: $ack,
                counterpart: optional!($counterpart),
            }),*]
        };
    };
}

kinds!(define_kinds);

/// The name of a custom kind: `callback/` and its path without the leading slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomKind {
    /// `callback/` and the path.
    name: Arc<str>,
}

/// One row of the table.
struct Row {
    kind: Kind,
    class: Class,
    name: &'static str,
    path: Option<&'static str>,
    payload: &'static str,
    ack_body: AckBody,
    /// The other kind of a result/timeout pair.
    counterpart: Option<Kind>,
}

/// The class of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Reports money that comes in.
    MoneyIn,
    /// Requests a decision.
    Validation,
    /// The result of a request.
    Result,
    /// A queue timeout: the outcome of the request is unknown.
    Timeout,
    /// Recorded by the inbox itself; it has no URL.
    Internal,
}

const CUSTOM_PREFIX: &str = "callback/";

impl Kind {
    /// Returns the kind of `#[callback(path = "…")]`, named after its path.
    pub fn custom(path: &str) -> Kind {
        let name = format!("{CUSTOM_PREFIX}{}", path.trim_matches('/'));
        Kind::Custom(CustomKind { name: name.into() })
    }

    /// For stores: the kind with this [`name`](Kind::name). An unknown name becomes a custom kind, so that a store can
    /// read the rows of an older or newer version of the library. Elsewhere use [`str::parse`], which fails.
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

    /// Returns its name in stores, logs, metrics and attributes.
    pub fn name(&self) -> &str {
        match self {
            Kind::Custom(custom) => &custom.name,
            built_in => built_in.row().map_or("", |row| row.name),
        }
    }

    /// Returns the name of a built-in kind; `None` for a custom kind.
    pub fn built_in_name(&self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// Default path below the secret; `None` for [`Kind::Payment`], [`Kind::PaymentCompleted`] and
    /// [`Kind::Overdue`], which have no URL.
    pub fn default_path(&self) -> Option<&'static str> {
        self.row().and_then(|row| row.path)
    }

    /// Returns the name of its payload type, for tests of the macro; `None` for a custom kind.
    #[doc(hidden)]
    pub fn payload(&self) -> Option<&'static str> {
        self.row().map(|row| row.payload)
    }

    /// Returns the other kind of a result/timeout pair.
    pub fn counterpart(&self) -> Option<Kind> {
        self.row().and_then(|row| row.counterpart.clone())
    }

    /// Returns whether it is [`Kind::Payment`] or [`Kind::PaymentCompleted`].
    pub fn is_payment(&self) -> bool {
        matches!(self, Kind::Payment | Kind::PaymentCompleted)
    }

    /// Returns whether its callbacks report money that comes in.
    pub fn is_money_in(&self) -> bool {
        self.row().is_some_and(|row| row.class == Class::MoneyIn)
    }

    /// Returns whether it is one of the `…_timeout` kinds.
    pub fn is_timeout(&self) -> bool {
        self.row().is_some_and(|row| row.class == Class::Timeout)
    }

    /// Returns whether its URL is registered with Safaricom once, not sent with each request: C2B
    /// and Bill Manager.
    pub fn is_registered_once(&self) -> bool {
        matches!(self, Kind::C2bValidation | Kind::C2bConfirmation | Kind::BillManager)
    }

    /// Returns whether it can be expected: it answers a request of your application, or is a C2B
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

    /// Returns the body of its acknowledgement. The route of a custom kind may replace it.
    pub fn ack_body(&self) -> AckBody {
        self.row().map_or(RESULT_CODE_0, |row| row.ack_body)
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
        for row in TABLE {
            if let Some(counterpart) = &row.counterpart {
                assert_eq!(counterpart.counterpart().as_ref(), Some(&row.kind));
                assert_ne!(counterpart.is_timeout(), row.kind.is_timeout());
            }
        }
    }
}
