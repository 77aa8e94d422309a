//! The messages of M-Pesa's Daraja API as types: tolerant in shape, strict in meaning.
//!
//! Every payload has `parse`, typed fields, an outcome, and `raw`: the JSON as it was received.
//! `Serialize` writes that JSON, so a payload can be logged by your application or replayed. Two
//! payloads are equal if their content is: order, spelling and unknown members do not matter.
//!
//! This crate has no engine, no async code and no web framework. Applications that receive
//! callbacks depend on `mpesa-callbacks`, which re-exports it as `payload`.
//!
//! ```
//! use mpesa_callbacks_payload::{Callback, Kind, parse};
//!
//! let body = br#"{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_191220191020363925","ResultCode":1032}}}"#;
//! let parsed = parse(&Kind::Stk, body, None)?;
//! assert_eq!(parsed.key, "ws_CO_191220191020363925");
//! let Callback::Stk(callback) = parsed.callback else { panic!("a body of `stk` is an STK callback") };
//! assert!(!callback.outcome().is_success());
//! # Ok::<_, mpesa_callbacks_payload::ParseError>(())
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `kind` | the table of kinds: attribute, payload, path, acknowledgement |
//! | `ack_body` | the bodies of acknowledgements |
//! | `callbacks` | one file per payload |
//! | `fields` | amounts, phone numbers, times, result codes and the like |
//! | `json` | a lossless reader for Daraja's JSON |
//! | `parse`, `parsed` | from bytes to a payload, and its facts for the engine |
//! | `redact` | strikes credentials out of echoed requests |
//! | `sample` | bodies for tests; feature `test-util` |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[macro_use]
mod kind;

mod ack_body;
mod callback;
mod callbacks;
mod digest;
mod error;
mod fields;
mod json;
mod parse;
mod parsed;
mod payload;
mod redact;
#[cfg(feature = "test-util")]
mod sample;

pub use self::ack_body::AckBody;
pub use self::callback::Callback;
pub use self::callbacks::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    CustomCallback, Expectation, LipiaCallback, Payment, QueueTimeout, RatibaCallback, Reconciliation, ResultHeader,
    ReversalResult, StatusResult, StkCallback, TaxResult,
};
pub use self::digest::Digest;
pub use self::error::ParseError;
pub use self::fields::{
    AccountBalance, Amount, BalanceAmount, Charge, DarajaTime, Msisdn, Outcome, Parameter, Parameters,
    ParseAmountError, Party, ResultCategory, ResultCode, ResultCodeInfo, RetryAdvice, Sensitive, result_codes,
    time_prefix,
};
pub use self::json::RawJson;
pub use self::kind::{CustomKind, Kind, UnknownKindError};
pub use self::parse::{looks_like, parse, parse_bytes};
pub use self::parsed::{Parsed, RequestFacts};
pub use self::redact::strike_credentials;
#[cfg(feature = "test-util")]
pub use self::sample::Sample;
