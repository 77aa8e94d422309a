//! The engine of `mpesa-callbacks` and the contracts of stores and transactors. No web framework,
//! no database.
//!
//! Applications depend on `mpesa-callbacks`, which re-exports this crate. Depend on this crate to
//! implement an adapter, a store or a transactor.
//!
//! | module | contents |
//! |---|---|
//! | `inbox` | the API for applications: builder, shutdown, administration, URLs, expectations |
//! | `handler` | the trait, its arguments and results, routes, hooks |
//! | `access` | authentication of senders: secret, signed URLs, allowlist, proxies, limits |
//! | `receive` | request → acknowledgement: guard, route, parse, record, acknowledge |
//! | `record` | delivery → store or spool: group commit, expectations, hooks |
//! | `process` | stored callback → done: claim, handle, settle, retry |
//! | [`store`] | the contract of stores; the memory store |
//! | [`transactor`] | the contract of transactors |
//! | [`payload`] | Daraja's messages as types, from `mpesa-callbacks-payload` |
//! | `test_util` | an inbox for tests of handlers; feature `test-util` |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod clock;
mod defaults;
mod environment;
mod error_chain;
mod handler;
mod inbox;
mod lifecycle;
mod observe;
mod process;
mod receive;
mod record;
pub mod store;
mod task;
#[cfg(feature = "test-util")]
mod test_util;
pub mod transactor;

pub use mpesa_callbacks_payload as payload;

pub use self::access::{
    AddressError, ClientIpError, FORBIDDEN_WORDS, ForwardedHeader, IpAllowlist, Request, SAFARICOM_ADDRESSES, Secret,
    SecretError, TrustedProxies, forbidden_word,
};
pub use self::clock::{Clock, SystemClock};
pub use self::environment::Environment;
pub use self::handler::{
    CallbackContext, Fallback, HandlerArgs, HandlerError, HandlerFuture, HookFuture, IntoHandlerResult,
    IntoValidationResult, MpesaCallbacks, Rejection, Route, RouteError, Routes, Validation, ValidationFuture,
};
#[doc(hidden)]
pub use self::handler::{Marked, inbox_name, unhandled};
pub use self::inbox::{
    CallbackUrl, Contradiction, ExpectError, Inbox, InboxBuilder, ReplayError, StartError, UrlError, UrlFinding, Urls,
    lint_url,
};
#[cfg(feature = "test-util")]
pub use self::payload::Sample;
pub use self::payload::{CustomKind, Kind, UnknownKindError};
pub use self::process::Backoff;
pub use self::receive::Acknowledgement;
#[cfg(feature = "test-util")]
pub use self::test_util::TestInbox;
