//! PostgreSQL through sqlx.

use async_trait::async_trait;
use mpesa_callbacks_core::ledger::{Begun, Ledger, LedgerError, Mark};
use sqlx::{PgPool, Postgres, Row, Transaction};

use super::{SqlxLedger, unavailable};

/// The transaction that handlers take: `tx: &mut PgTx`. Run statements on `&mut **tx`.
///
/// A statement that fails makes the whole transaction fail, as PostgreSQL has it: a handler that goes on after an error is run
/// again, unless it set a savepoint (`tx.begin()`).
pub type PgTx = Transaction<'static, Postgres>;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    mark       bytea NOT NULL PRIMARY KEY,
    kind       text  NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// What processes that start at once wait for one another at: `MPCA`.
const LOCK: i64 = 0x4d50_4341;

#[async_trait]
impl Ledger for SqlxLedger<Postgres> {
    type Tx = PgTx;

    async fn prepare(&self) -> Result<(), LedgerError> {
        let mut tx = self.pool.begin().await.map_err(unavailable)?;
        // The inbox settles what is committed here. Were that lost in a power cut, nobody would apply it again.
        let settings = sqlx::query(
            "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit",
        );
        let settings = settings.fetch_one(&mut *tx).await.map_err(unavailable)?;
        for setting in ["fsync", "synchronous_commit"] {
            let found: String = settings.try_get(setting).map_err(unavailable)?;
            if found == "off" {
                return Err(LedgerError::NotDurable { setting, found, needed: "on" });
            }
        }
        // `IF NOT EXISTS` alone fails when two processes create it at once.
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await.map_err(unavailable)?;
        sqlx::query(CREATE).execute(&mut *tx).await.map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)
    }

    async fn begin(&self, mark: &Mark) -> Result<Begun<PgTx>, LedgerError> {
        let mut tx = begin(&self.pool).await.map_err(unavailable)?;
        // Not for long: a machine that is lost keeps its marks until the server notices, which may be hours. The attempt does
        // not count, and the next one looks again.
        let usual: String = sqlx::query_scalar("SELECT current_setting('lock_timeout')")
            .fetch_one(&mut *tx)
            .await
            .map_err(unavailable)?;
        let limit = "SELECT set_config('lock_timeout', $1, true)";
        sqlx::query(limit).bind("2s").execute(&mut *tx).await.map_err(unavailable)?;
        // Waits for whoever has the same mark in hand: their commit makes this one nothing, their rollback makes it theirs.
        let marked =
            sqlx::query("INSERT INTO mpesa_callbacks_applied (mark, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(mark.as_bytes())
                .bind(mark.kind().name())
                .execute(&mut *tx)
                .await
                .map_err(unavailable)?;
        if marked.rows_affected() == 0 {
            tx.rollback().await.map_err(unavailable)?;
            return Ok(Begun::AlreadyApplied);
        }
        sqlx::query(limit).bind(usual).execute(&mut *tx).await.map_err(unavailable)?;
        Ok(Begun::New(tx))
    }

    async fn commit(&self, mut tx: PgTx) -> Result<(), LedgerError> {
        // A handler may have gone on after a statement that failed. `COMMIT` would then roll back, and call it a success.
        sqlx::query("SELECT 1").execute(&mut *tx).await.map_err(refused)?;
        tx.commit().await.map_err(refused)
    }

    async fn rollback(&self, tx: PgTx) -> Result<(), LedgerError> {
        tx.rollback().await.map_err(unavailable)
    }
}

/// In a task of its own: were its future dropped between the statement and the answer, sqlx 0.9 would give a connection back
/// to the pool with the transaction open.
async fn begin(pool: &PgPool) -> sqlx::Result<PgTx> {
    let pool = pool.clone();
    let beginning = tokio::spawn(async move { pool.begin().await });
    beginning.await.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
}

/// What the handler wrote is wrong (a deferred constraint or trigger, a statement that failed), or clashed with somebody
/// else's; unless the server is away, out of something, or broken.
fn refused(error: sqlx::Error) -> LedgerError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.as_deref().and_then(|code| code.get(..2)) {
        None | Some("08" | "53" | "57" | "58" | "XX") => unavailable(error),
        Some(_) => LedgerError::Refused(error.into()),
    }
}
