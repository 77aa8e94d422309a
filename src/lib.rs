#![cfg_attr(all(feature = "axum", feature = "sqlite", feature = "sqlx-sqlite-tx"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "axum", feature = "sqlite", feature = "sqlx-sqlite-tx")),
    doc = "Receive M-Pesa (Daraja) callbacks. The full documentation needs the features `axum`, `sqlite` and `sqlx-sqlite-tx`."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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

/// Stores: where callbacks are kept.
pub mod store {
    pub use mpesa_callbacks_core::store::*;
    #[cfg(feature = "postgres")]
    pub use mpesa_callbacks_postgres::PostgresStore;
    #[cfg(feature = "sqlite")]
    pub use mpesa_callbacks_sqlite::{SqliteSpool, SqliteStore};
}

/// Transactors: exactly-once handlers in your own database.
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

/// Implements [`trait@MpesaCallbacks`] for an `impl` block.
///
/// Mark each method that handles a callback with its kind. The method takes its payload by value. It may
/// also take `&CallbackContext` and `&mut` a transaction of the inbox's transactor. It returns `()` or
/// `Result<(), E>` with any error `E`. Other methods, constants and types are left unchanged.
///
/// ```
/// use mpesa_callbacks::prelude::*;
///
/// struct Shop;
///
/// #[mpesa_callbacks]
/// impl Shop {
///     /// Incoming money, once per receipt.
///     #[payment]
///     async fn paid(&self, payment: Payment) -> Result<(), std::io::Error> {
///         println!("received {} by {}", payment.amount, payment.first_reported_by);
///         Ok(())
///     }
///
///     /// M-Pesa waits about 8 s for this answer, including the network.
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
///     /// The outcome is unknown: query the transaction status, do not pay again.
///     #[b2c_timeout(path = "/payouts/timeout")]
///     async fn unsure(&self, timeout: QueueTimeout) {
///         let _ = timeout.key();
///     }
///
///     /// A person must decide.
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
/// Hooks take `&CallbackContext`. They are called once, and their result changes nothing: `on_duplicate`,
/// `on_conflict` (a callback is held), `on_dead` and `on_quarantine`.
///
/// # Options of a kind
///
/// | option | kinds | meaning |
/// |---|---|---|
/// | `path = "/…"` | all except `payment`, `payment_completed` and `overdue` | path below the secret |
/// | `max_retries = 60` | all except `c2b_validation` | maximum number of retries after the first failure. Default: 60 |
/// | `timeout = "3s"` | all | timeout of the method. Default: 2 min. For a validation it includes recording the answer; default: 3 s, at most 8 s |
/// | `fallback = "accept"` | `c2b_validation` | answer if the method fails or exceeds its timeout: `"accept"` (default) or `"reject"` |
/// | `key = "/…"` | `callback` | JSON pointer to the idempotency key |
/// | `ack_body = "…"` | `callback` | body of the acknowledgement. Default: `{"ResultCode":0,"ResultDesc":"Success"}` |
///
/// # Options of the block
///
/// `#[mpesa_callbacks(no_timeouts)]` allows a `…_result` without its `…_timeout`. `#[mpesa_callbacks(crate = other_name)]` is for
/// a renamed dependency.
///
/// # By hand
///
/// The macro generates an implementation of [`trait@MpesaCallbacks`] and nothing else. You can write it
/// by hand; its documentation has an example.
pub use mpesa_callbacks_macros::mpesa_callbacks;

/// For files with handlers: the macro, payloads and their fields, the context, transactions.
pub mod prelude {
    pub use crate::payload::{
        Amount, B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation,
        C2bValidation, DarajaTime, Expectation, LipiaCallback, Msisdn, Outcome, Payment, QueueTimeout, RatibaCallback,
        Reconciliation, ResultCode, ReversalResult, StatusResult, StkCallback, TaxResult,
    };
    pub use crate::{CallbackContext, Inbox, Kind, Rejection, Validation, mpesa_callbacks};

    #[cfg(feature = "sqlx-mysql-tx")]
    pub use crate::transactor::MySqlTx;
    #[cfg(feature = "sqlx-postgres-tx")]
    pub use crate::transactor::PgTx;
    #[cfg(feature = "sqlx-sqlite-tx")]
    pub use crate::transactor::SqliteTx;
}

/// For code that the macro generates. It may change at any time.
#[doc(hidden)]
pub mod __private {
    pub use mpesa_callbacks_core::payload::*;
    pub use mpesa_callbacks_core::{
        CallbackContext, Fallback, HandlerArgs, HandlerFuture, HookFuture, IntoHandlerResult, IntoValidationResult,
        Kind, Marked, MpesaCallbacks, Route, Routes, ValidationFuture, inbox_name, unhandled,
    };
}
