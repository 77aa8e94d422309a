//! Why an inbox cannot start.

use crate::Kind;
use crate::access::AddressError;
use crate::access::SecretError;
use crate::handler::RouteError;
use crate::store::StoreError;
use crate::transactor::TransactorError;

/// Why an inbox cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No store was given.
    #[error("the inbox has no store: call `.store(SqliteStore::open(\"inbox.db\")?)` on the builder")]
    NoStore,
    /// No secret was given.
    #[error(
        "the inbox has no secret, so anybody could forge callbacks: call `.secret(…)` with the output of `openssl rand -hex 16`"
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
        /// The rule that the value breaks.
        reason: &'static str,
    },
    /// A handler takes a transaction, and there is no transactor.
    #[error(
        "the handler of `{kind}` takes a transaction, and the inbox has no transactor: call `.transactor(…)` on the builder"
    )]
    NoTransactor {
        /// The kind of the handler.
        kind: Kind,
    },
    /// Callbacks of this kind answer no request, so they cannot be expected.
    #[error("`.require_expected` does not support `{kind}`: it answers no request")]
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
    /// The store failed, or belongs to another inbox; its error is the source.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The transactor failed; its error is the source.
    #[error("the transactor failed")]
    Transactor(#[from] TransactorError),
}
