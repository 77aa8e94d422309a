//! Why an inbox cannot start.

use crate::kind::Kind;
use crate::ledger::LedgerError;
use crate::routes::RouteError;
use crate::secret::WeakSecret;
use crate::source::AddressError;
use crate::store::StoreError;

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
    Secret(#[from] WeakSecret),
    /// A number that must be larger than 0 is not, or a list that must have something in it.
    #[error("`{what}` is 0 or empty, and nothing would be handled")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// A handler asks for a transaction, and there is no ledger to open it.
    #[error("the handler of `{kind}` takes a transaction, and the inbox has no ledger: say `.ledger(…)`")]
    NoLedger {
        /// Whose handler.
        kind: Kind,
    },
    /// A callback of this kind answers no request, so nobody can expect it.
    #[error("`{kind}` cannot be required to be expected: it answers no request of the application's")]
    NotExpectable {
        /// Which.
        kind: Kind,
    },
    /// A number is too large; durations are at most a week.
    #[error("`{what}` is too large")]
    TooMuch {
        /// Which.
        what: &'static str,
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
    /// The ledger fails.
    #[error("the ledger fails")]
    Ledger(#[from] LedgerError),
}
