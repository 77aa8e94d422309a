//! SQLite through sqlx.

use async_trait::async_trait;
use mpesa_callbacks_core::ledger::{Begun, Ledger, LedgerError, Mark};
use sqlx::{Sqlite, Transaction};

use super::{SqlxLedger, unavailable};

/// The transaction that handlers take: `tx: &mut SqliteTx`. Run statements on `&mut **tx`.
pub type SqliteTx = Transaction<'static, Sqlite>;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    mark       BLOB NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID";

#[async_trait]
impl Ledger for SqlxLedger<Sqlite> {
    type Tx = SqliteTx;

    async fn prepare(&self) -> Result<(), LedgerError> {
        sqlx::query(CREATE).execute(&self.pool).await.map_err(unavailable)?;
        // The inbox settles what is committed here. Were that lost in a power cut, nobody would apply it again.
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&self.pool).await.map_err(unavailable)?;
        if synchronous < 2 {
            let found = synchronous.to_string();
            return Err(LedgerError::NotDurable { setting: "synchronous", found, needed: "2 (FULL), sqlx's default" });
        }
        Ok(())
    }

    async fn begin(&self, mark: &Mark) -> Result<Begun<SqliteTx>, LedgerError> {
        // IMMEDIATE: it waits for its turn to write here, and cannot lose it to somebody else between reading and writing.
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
        let marked =
            sqlx::query("INSERT INTO mpesa_callbacks_applied (mark, kind) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(mark.as_bytes())
                .bind(mark.kind().name())
                .execute(&mut *tx)
                .await
                .map_err(unavailable)?;
        if marked.rows_affected() == 0 {
            tx.rollback().await.map_err(unavailable)?;
            return Ok(Begun::AlreadyApplied);
        }
        Ok(Begun::New(tx))
    }

    async fn commit(&self, tx: SqliteTx) -> Result<(), LedgerError> {
        tx.commit().await.map_err(|error| match &error {
            // A deferred constraint: what the handler wrote is wrong, and trying again alone will not mend it.
            sqlx::Error::Database(database) if database.is_foreign_key_violation() || database.is_check_violation() => {
                LedgerError::Refused(error.into())
            }
            _ => unavailable(error),
        })
    }

    async fn rollback(&self, tx: SqliteTx) -> Result<(), LedgerError> {
        tx.rollback().await.map_err(unavailable)
    }
}
