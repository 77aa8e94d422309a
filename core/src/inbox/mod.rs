//! The inbox, which is mounted into an application, and the methods that your application calls.

mod admin;
mod builder;
mod builder_limits;
mod engine;
mod expectations;
mod options;
mod receive;
mod reconcile;
mod replay;
mod shutdown;
mod start;
mod start_error;
mod urls;

pub use self::admin::Contradiction;
pub use self::builder::InboxBuilder;
pub use self::engine::Inbox;
pub use self::expectations::ExpectError;
pub use self::replay::ReplayError;
pub use self::start_error::StartError;
pub use self::urls::{CallbackUrl, UrlError, UrlFinding, Urls, lint_url};
