//! sqlx: the application's own pool, and transactions as sqlx has them.

#[cfg(feature = "sqlx-mysql")]
mod mysql;

#[cfg(feature = "sqlx-postgres")]
mod postgres;

#[cfg(feature = "sqlx-sqlite")]
mod sqlite;

mod tx;

use std::fmt;

use mpesa_callbacks_core::ledger::LedgerError;
use sqlx::{Database, Pool};

#[cfg(feature = "sqlx-mysql")]
pub use self::mysql::MySqlTx;
#[cfg(feature = "sqlx-postgres")]
pub use self::postgres::PgTx;
#[cfg(feature = "sqlx-sqlite")]
pub use self::sqlite::SqliteTx;
pub use self::tx::SqlxTx;

/// Marks callbacks in a database that the application reaches by sqlx. The pool is the application's own.
///
/// The marks are in a table of their own, `mpesa_callbacks_applied`, which `start()` creates.
#[derive(Clone)]
pub struct SqlxLedger<DB: Database> {
    pool: Pool<DB>,
}

impl<DB: Database> SqlxLedger<DB> {
    /// A ledger in the database behind this pool.
    pub fn new(pool: Pool<DB>) -> SqlxLedger<DB> {
        SqlxLedger { pool }
    }
}

/// Why a transaction cannot be committed that is none any more.
const ENDED: &str = "the database ended the transaction by itself, and the handler went on";

fn unavailable(error: sqlx::Error) -> LedgerError {
    LedgerError::Unavailable(error.into())
}

impl<DB: Database> fmt::Debug for SqlxLedger<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlxLedger({})", DB::NAME)
    }
}
