//! The engine of `mpesa-callbacks` and the contracts of stores and transactors. No web framework,
//! no database.
//!
//! Applications depend on `mpesa-callbacks`, which re-exports this crate. Depend on this crate to
//! implement an adapter, a store or a transactor.
//!
//! | module | contents |
//! |---|---|
//! | `receive` | request → acknowledgement: guard, route, parse, record, acknowledge |
//! | `process` | stored callback → done: claim, handle, settle, retry |
//! | [`payload`] | Daraja's messages as types |
//! | `source`, `token`, `urls` | client IP, allowlist, signed per-payment URLs |
//! | `expect` | expectations: recorded before a request, checked when its callback arrives or does not |
//! | [`store`] | the contract of stores; the memory store |
//! | [`transactor`] | the contract of transactors |
//! | `test_util` | an inbox and sample callbacks for tests of handlers; feature `test-util` |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub use mpesa_callbacks_payload as payload;

mod handler;
mod routes;
mod validation;

mod context;
mod secret;
mod source;
mod token;
mod urls;

mod receive;

mod expect;

mod process;

pub mod store;
pub mod transactor;

mod admin;
mod batch;
mod builder;
mod clock;
mod engine;
mod inbox;
mod observe;
mod quarantine;
mod start;
mod start_error;
#[cfg(feature = "test-util")]
mod test_util;

pub use self::admin::{Contradiction, ReplayError};
pub use self::builder::InboxBuilder;
pub use self::clock::{Clock, SystemClock};
pub use self::context::CallbackContext;
pub use self::expect::ExpectError;
pub use self::handler::{
    HandlerArgs, HandlerError, HandlerFuture, HookFuture, IntoHandlerResult, IntoValidationResult, MpesaCallbacks,
    ValidationFuture,
};
#[doc(hidden)]
pub use self::handler::{Marked, inbox_name, unhandled};
pub use self::inbox::Inbox;
pub use self::payload::{CustomKind, Kind, UnknownKindError};
pub use self::process::Backoff;
pub use self::receive::{Acknowledgement, Request};
pub use self::routes::{Route, RouteError, Routes};
pub use self::secret::{FORBIDDEN_WORDS, Secret, SecretError, forbidden_word};
pub use self::source::{
    AddressError, ClientIpError, ForwardedHeader, IpAllowlist, SAFARICOM_ADDRESSES, TrustedProxies,
};
pub use self::start_error::StartError;
pub use self::urls::{CallbackUrl, Environment, UrlError, UrlFinding, Urls, lint_url};
pub use self::validation::{Fallback, Rejection, Validation};
#[cfg(feature = "test-util")]
pub use self::{payload::Sample, test_util::TestInbox};
