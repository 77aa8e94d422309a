//! sqlx: the application's own pool, and transactions as sqlx has them.
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

/// Marks callbacks in a database that the application reaches by sqlx. The pool is the application's own.
///
/// The marks are in a table of their own, `mpesa_callbacks_applied`, which `start()` creates.
#[derive(Clone)]
pub struct SqlxTransactor<DB: Database> {
    pool: Pool<DB>,
}

impl<DB: Database> SqlxTransactor<DB> {
    /// A transactor in the database behind this pool.
    pub fn new(pool: Pool<DB>) -> SqlxTransactor<DB> {
        SqlxTransactor { pool }
    }
}

/// Why a transaction cannot be committed that is none any more.
const ENDED: &str = "the database ended the transaction by itself, and the handler went on";

fn unavailable(error: sqlx::Error) -> TransactorError {
    TransactorError::Unavailable(error.into())
}

impl<DB: Database> fmt::Debug for SqlxTransactor<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlxTransactor({})", DB::NAME)
    }
}
