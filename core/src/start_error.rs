//! Why an inbox cannot start.

use crate::kind::Kind;
use crate::routes::RouteError;
use crate::secret::SecretError;
use crate::source::AddressError;
use crate::store::StoreError;
use crate::transactor::TransactorError;

/// Why an inbox cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No store was given.
    #[error("the inbox has no store: say `.store(SqliteStore::open(\"inbox.db\")?)`")]
    NoStore,
    /// No secret was given.
    #[error(
        "the inbox has no secret, and anybody could forge callbacks: say `.secret(…)` with what `openssl rand -hex 16` prints"
    )]
    NoSecret,
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The value of an option of the builder cannot be used.
    #[error("the option `{option}` {reason}")]
    InvalidOption {
        /// The builder's method, `max_body_bytes` for example.
        option: &'static str,
        /// What is wrong with the value.
        reason: &'static str,
    },
    /// A handler takes a transaction, and there is no transactor.
    #[error("the handler of `{kind}` takes a transaction, and the inbox has no transactor: say `.transactor(…)`")]
    NoTransactor {
        /// The kind of the handler.
        kind: Kind,
    },
    /// Callbacks of this kind answer no request, so they cannot be expected.
    #[error("`{kind}` cannot be required to be expected: it answers no request of the application's")]
    NotExpectable {
        /// The kind that was given.
        kind: Kind,
    },
    /// An address of the allowlist or of the proxies is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The routes of the handlers are invalid.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The store failed.
    #[error("the store fails")]
    Store(#[from] StoreError),
    /// The transactor failed.
    #[error("the transactor fails")]
    Transactor(#[from] TransactorError),
}
