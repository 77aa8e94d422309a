#![cfg_attr(all(feature = "axum", feature = "sqlite", feature = "sqlx-sqlite-tx"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "axum", feature = "sqlite", feature = "sqlx-sqlite-tx")),
    doc = "Receive M-Pesa (Daraja) callbacks; the whole documentation shows with all features on."
)]

pub use mpesa_callbacks_core::{
    Acknowledgement, AddressError, Backoff, CallbackContext, CallbackUrl, ClientIpError, Clock, CustomKind,
    Environment, ExpectError, Fallback, ForwardedHeader, HandlerArgs, HandlerError, HandlerFuture, HookFuture, Inbox,
    InboxBuilder, IntoHandlerResult, IntoValidationResult, IpAllowlist, Kind, MpesaCallbacks, Rejection, ReplayError,
    Request, Route, RouteError, Routes, SAFARICOM_ADDRESSES, Secret, SecretError, StartError, SystemClock,
    TrustedProxies, UnknownKindError, UrlError, UrlFinding, Urls, Validation, ValidationFuture, lint_url, payload,
};

#[cfg(feature = "test-util")]
pub use mpesa_callbacks_core::{Sample, TestInbox};

/// The guide's examples, compiled.
#[cfg(all(doctest, feature = "test-util"))]
#[doc = include_str!("../docs/guide.md")]
struct Guide;

/// Where callbacks are kept.
pub mod store {
    pub use mpesa_callbacks_core::store::*;
    #[cfg(feature = "postgres")]
    pub use mpesa_callbacks_postgres::PostgresStore;
    #[cfg(feature = "sqlite")]
    pub use mpesa_callbacks_sqlite::{SqliteSpool, SqliteStore};
}

/// The application's own database, where effects are made exactly once.
pub mod transactor {
    pub use mpesa_callbacks_core::transactor::*;
    #[cfg(feature = "sqlx-mysql-tx")]
    pub use mpesa_callbacks_sqlx_tx::MySqlTx;
    #[cfg(feature = "sqlx-postgres-tx")]
    pub use mpesa_callbacks_sqlx_tx::PgTx;
    #[cfg(feature = "sqlx-sqlite-tx")]
    pub use mpesa_callbacks_sqlx_tx::SqliteTx;
    #[cfg(any(feature = "sqlx-mysql-tx", feature = "sqlx-postgres-tx", feature = "sqlx-sqlite-tx"))]
    pub use mpesa_callbacks_sqlx_tx::SqlxTransactor;
}

/// Mounts the inbox into an actix-web application.
#[cfg(feature = "actix")]
pub use mpesa_callbacks_actix as actix_adapter;

/// Mounts the inbox into a Rocket application.
#[cfg(feature = "rocket")]
pub use mpesa_callbacks_rocket as rocket_adapter;

/// Mounts the inbox into an axum application.
#[cfg(feature = "axum")]
pub use mpesa_callbacks_axum as axum_adapter;

/// Serves an axum application with timeouts for slow clients, connection limits and graceful shutdown.
#[cfg(feature = "serve")]
pub use mpesa_callbacks_serve::{Serve, serve};

/// Makes a handler set of an `impl` block.
///
/// Mark the methods that handle a callback with its kind. A method takes its payload by value, then, if it wants them,
/// `&CallbackContext` and `&mut` a transaction of the inbox's transactor; it returns `()` or `Result<(), E>`, where `E` is any error.
/// Unmarked methods, constants and types are left alone.
///
/// ```
/// use mpesa_callbacks::prelude::*;
///
/// struct Shop;
///
/// #[mpesa_callbacks]
/// impl Shop {
///     /// Money came in, once per receipt, whichever callbacks told of it.
///     #[payment]
///     async fn paid(&self, payment: Payment) -> Result<(), std::io::Error> {
///         println!("received {} by {}", payment.amount, payment.first_reported_by);
///         Ok(())
///     }
///
///     /// M-Pesa waits for this answer: about 8 seconds, of which the network takes its share.
///     #[c2b_validation(timeout = "3s", fallback = "accept")]
///     async fn check(&self, request: C2bValidation) -> Validation {
///         match request.bill_ref_number {
///             Some(account) if account.trimmed().starts_with("ORDER-") => Validation::accept(),
///             _ => Validation::reject(Rejection::InvalidAccountNumber),
///         }
///     }
///
///     #[b2c_result(path = "/payouts/result", max_retries = 20)]
///     async fn sent(&self, result: B2cResult, ctx: &CallbackContext) {
///         println!("attempt {}: {:?}", ctx.attempt(), result.outcome());
///     }
///
///     /// A timeout means that nobody knows: ask the transaction status API, do not pay again.
///     #[b2c_timeout(path = "/payouts/timeout")]
///     async fn unsure(&self, timeout: QueueTimeout) {
///         let _ = timeout.key();
///     }
///
///     /// Somebody should look at this.
///     #[on_conflict]
///     async fn contradicted(&self, ctx: &CallbackContext) {
///         eprintln!("callback {} contradicts an earlier one", ctx.id());
///     }
/// }
/// ```
///
/// # Kinds
///
/// | attribute | payload | default path | key |
/// |---|---|---|---|
/// | `stk` | `StkCallback` | `/stk` | CheckoutRequestID |
/// | `c2b_validation` | `C2bValidation` | `/c2b/validation` | TransID |
/// | `c2b_confirmation` | `C2bConfirmation` | `/c2b/confirmation` | TransID |
/// | `b2c_result`, `b2c_timeout` | `B2cResult`, `QueueTimeout` | `/b2c/result`, `/b2c/timeout` | OriginatorConversationID, else ConversationID |
/// | `b2b_result`, `b2b_timeout` | `B2bResult`, `QueueTimeout` | `/b2b/result`, `/b2b/timeout` | same |
/// | `tax_result`, `tax_timeout` | `TaxResult`, `QueueTimeout` | `/tax/result`, `/tax/timeout` | same |
/// | `status_result`, `status_timeout` | `StatusResult`, `QueueTimeout` | `/status/result`, `/status/timeout` | same |
/// | `balance_result`, `balance_timeout` | `BalanceResult`, `QueueTimeout` | `/balance/result`, `/balance/timeout` | same |
/// | `reversal_result`, `reversal_timeout` | `ReversalResult`, `QueueTimeout` | `/reversal/result`, `/reversal/timeout` | same |
/// | `b2b_express` | `B2bExpressCallback` | `/b2b-express` | requestId |
/// | `ratiba` | `RatibaCallback` | `/ratiba` | requestRefID, else responseRefID |
/// | `bill_manager` | `BillManagerPayment` | `/bill-manager` | transactionId |
/// | `payment` | `Payment` | – | receipt |
/// | `payment_completed` | `Payment` | – | receipt |
/// | `lipia` | `LipiaCallback` | `/lipia` | CheckoutRequestID |
/// | `overdue` | `Expectation` | – | kind and reference |
/// | `callback(path = "…", key = "/json/pointer")` | any `Deserialize` type | as given | as given |
///
/// Hooks take `&CallbackContext`, and are told once, with nothing hanging on it: `on_duplicate`; `on_conflict`, of whatever is held and waits
/// for a person; `on_dead`; and `on_quarantine`.
///
/// # Options of a kind
///
/// | option | of | |
/// |---|---|---|
/// | `path = "/…"` | all but `payment`, `payment_completed` and `overdue` | where it is received, below the secret |
/// | `max_retries = 60` | all but `c2b_validation` | how often to try again after the first failure |
/// | `timeout = "3s"` | all | how long the method may take; a validation's answer must have left by then (at most 8 s) |
/// | `fallback = "accept"` | `c2b_validation` | the answer when the method fails or overruns: `"accept"` or `"reject"` |
/// | `key = "/…"` | `callback` | the JSON pointer to what makes two deliveries the same |
/// | `ack_body = "…"` | `callback` | what the sender must hear, in place of `{"ResultCode":0,"ResultDesc":"Success"}` |
///
/// # Options of the block
///
/// `#[mpesa_callbacks(no_timeouts)]` allows a `…_result` without its `…_timeout`. `#[mpesa_callbacks(crate = other_name)]` is for
/// a renamed dependency.
///
/// # By hand
///
/// The macro writes an implementation of [`trait@MpesaCallbacks`], and nothing else. Write that yourself when the macro
/// is in your way; its documentation has an example.
pub use mpesa_callbacks_macros::mpesa_callbacks;

/// What a file with handlers in it needs.
pub mod prelude {
    pub use crate::payload::{
        Amount, B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation,
        C2bValidation, DarajaTime, Expectation, LipiaCallback, Msisdn, Outcome, Payment, QueueTimeout, RatibaCallback,
        Reconciliation, ResultCategory, ResultCode, ReversalResult, StatusResult, StkCallback, TaxResult,
    };
    pub use crate::{CallbackContext, Inbox, Kind, Rejection, Validation, mpesa_callbacks};

    #[cfg(feature = "postgres")]
    pub use crate::store::PostgresStore;
    #[cfg(feature = "sqlite")]
    pub use crate::store::{SqliteSpool, SqliteStore};
    #[cfg(feature = "sqlx-mysql-tx")]
    pub use crate::transactor::MySqlTx;
    #[cfg(feature = "sqlx-postgres-tx")]
    pub use crate::transactor::PgTx;
    #[cfg(feature = "sqlx-sqlite-tx")]
    pub use crate::transactor::SqliteTx;
    #[cfg(any(feature = "sqlx-mysql-tx", feature = "sqlx-postgres-tx", feature = "sqlx-sqlite-tx"))]
    pub use crate::transactor::SqlxTransactor;
}

/// What the macro writes refers to. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use mpesa_callbacks_core::payload::{
        B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
        CustomCallback, Expectation, LipiaCallback, Payment, QueueTimeout, RatibaCallback, ReversalResult,
        StatusResult, StkCallback, TaxResult,
    };
    pub use mpesa_callbacks_core::{
        CallbackContext, Fallback, HandlerArgs, HandlerFuture, HookFuture, IntoHandlerResult, IntoValidationResult,
        Kind, Marked, MpesaCallbacks, Route, Routes, ValidationFuture, inbox_name, unhandled,
    };
}
