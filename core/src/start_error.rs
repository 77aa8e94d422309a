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
    /// A secret will not do.
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
    /// A handler asks for a transaction, and there is no transactor to open it.
    #[error("the handler of `{kind}` takes a transaction, and the inbox has no transactor: say `.transactor(…)`")]
    NoTransactor {
        /// Whose handler.
        kind: Kind,
    },
    /// A callback of this kind answers no request, so nobody can expect it.
    #[error("`{kind}` cannot be required to be expected: it answers no request of the application's")]
    NotExpectable {
        /// Which.
        kind: Kind,
    },
    /// An address of the sources or proxies is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The handlers' routes cannot be mounted.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The store fails.
    #[error("the store fails")]
    Store(#[from] StoreError),
    /// The transactor fails.
    #[error("the transactor fails")]
    Transactor(#[from] TransactorError),
}
