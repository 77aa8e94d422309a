//! Exactly-once handlers for `mpesa-callbacks` in your own sqlx database.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "mysql")]
mod mysql;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "sqlite")]
mod sqlite;

mod tx;

use std::fmt;

use mpesa_callbacks_core::transactor::TransactorError;
use sqlx::{Database, Pool};

#[cfg(feature = "mysql")]
pub use self::mysql::MySqlTx;
#[cfg(feature = "postgres")]
pub use self::postgres::PgTx;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteTx;
pub use self::tx::SqlxTx;

/// Opens handlers' transactions in your own sqlx pool, with the idempotency key of the
/// callback in them.
///
/// The keys are in a table of their own, `mpesa_callbacks_applied`, which `start()` creates: 32 bytes, the
/// kind and the time per callback. Delete keys that are older than any callback that may still be
/// handled.
pub struct SqlxTransactor<DB: Database> {
    pool: Pool<DB>,
}

impl<DB: Database> SqlxTransactor<DB> {
    /// Makes a transactor for the database of this pool.
    pub fn new(pool: Pool<DB>) -> SqlxTransactor<DB> {
        SqlxTransactor { pool }
    }
}

/// Not derived: that would demand it of the database type, which is not `Clone`.
impl<DB: Database> Clone for SqlxTransactor<DB> {
    fn clone(&self) -> SqlxTransactor<DB> {
        SqlxTransactor { pool: self.pool.clone() }
    }
}

/// Error of a commit after the database has ended the transaction.
const ENDED: &str = "the database ended the transaction by itself, and the handler went on";

fn unavailable(error: sqlx::Error) -> TransactorError {
    TransactorError::Unavailable(error.into())
}

impl<DB: Database> fmt::Debug for SqlxTransactor<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlxTransactor({})", DB::NAME)
    }
}
