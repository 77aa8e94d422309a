//! sqlx: the application's own pool, and transactions as sqlx has them.

#[cfg(feature = "sqlx-mysql-tx")]
mod mysql;

#[cfg(feature = "sqlx-postgres-tx")]
mod postgres;

#[cfg(feature = "sqlx-sqlite-tx")]
mod sqlite;

mod tx;

use std::fmt;

use mpesa_callbacks_core::transactor::TransactorError;
use sqlx::{Database, Pool};

#[cfg(feature = "sqlx-mysql-tx")]
pub use self::mysql::MySqlTx;
#[cfg(feature = "sqlx-postgres-tx")]
pub use self::postgres::PgTx;
#[cfg(feature = "sqlx-sqlite-tx")]
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
        write!(f, "SqlxLedger({})", DB::NAME)
    }
}
