//! PostgreSQL through sqlx.

use std::borrow::Cow;

use async_trait::async_trait;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use sqlx::{PgConnection, Postgres, Row};

use super::{ENDED, SqlxTransactor, SqlxTx, unavailable};

/// The transaction that handlers take: `tx: &mut PgTx`. Run statements on `&mut **tx`.
///
/// A statement that fails makes the whole transaction fail, as PostgreSQL has it: a handler that goes on after an error is run
/// again, unless it set a savepoint (`tx.begin()`).
pub type PgTx = SqlxTx<Postgres>;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    mark       bytea NOT NULL PRIMARY KEY,
    kind       text  NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// What processes that start at once wait for one another at: `MPCA`.
const LOCK: i64 = 0x4d50_4341;

#[async_trait]
impl Transactor for SqlxTransactor<Postgres> {
    type Tx = PgTx;

    async fn prepare(&self) -> Result<(), TransactorError> {
        let mut tx = self.pool.begin().await.map_err(unavailable)?;
        // The inbox settles what is committed here. Were that lost in a power cut, nobody would apply it again.
        let settings = sqlx::query(
            "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit",
        );
        let settings = settings.fetch_one(&mut *tx).await.map_err(unavailable)?;
        for setting in ["fsync", "synchronous_commit"] {
            let found: String = settings.try_get(setting).map_err(unavailable)?;
            if found == "off" {
                return Err(TransactorError::NotDurable { setting, found, needed: "on" });
            }
        }
        // `IF NOT EXISTS` alone fails when two processes create it at once.
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await.map_err(unavailable)?;
        sqlx::query(CREATE).execute(&mut *tx).await.map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)
    }

    async fn begin(&self, mark: &IdempotencyKey) -> Result<BeginOutcome<PgTx>, TransactorError> {
        let mut tx = SqlxTx::begin(&self.pool, None).await.map_err(failed)?;
        match begin_marked(&mut tx, mark).await {
            Ok(true) => Ok(BeginOutcome::New(tx)),
            Ok(false) => {
                tx.rollback().await.map_err(unavailable)?;
                Ok(BeginOutcome::AlreadyApplied)
            }
            Err(error) => {
                tx.close().await;
                Err(failed(error))
            }
        }
    }

    async fn add_key(&self, tx: &mut PgTx, mark: &IdempotencyKey) -> Result<bool, TransactorError> {
        set_mark(tx, mark).await.map_err(failed)
    }

    async fn commit(&self, mut tx: PgTx) -> Result<(), TransactorError> {
        // A handler may have gone on after a statement that failed: `COMMIT` would then roll back, and call it a success. Or it
        // may have ended the transaction: the mark's savepoint is gone with it.
        if let Err(error) = sqlx::query("RELEASE SAVEPOINT mpesa_callbacks").execute(&mut *tx).await {
            tx.close().await;
            return Err(match code(&error).as_deref() {
                Some("25P01" | "3B001") => TransactorError::Refused(ENDED.into()),
                _ => refused(error),
            });
        }
        tx.commit().await.map_err(refused)
    }

    async fn rollback(&self, tx: PgTx) -> Result<(), TransactorError> {
        tx.rollback().await.map_err(unavailable)
    }
}

/// Writes the mark, and a savepoint after it; `false` when it is there.
async fn begin_marked(connection: &mut PgConnection, mark: &IdempotencyKey) -> sqlx::Result<bool> {
    if !set_mark(connection, mark).await? {
        return Ok(false);
    }
    sqlx::query("SAVEPOINT mpesa_callbacks").execute(connection).await?;
    Ok(true)
}

/// Writes the mark; `false` when it is there.
async fn set_mark(connection: &mut PgConnection, mark: &IdempotencyKey) -> sqlx::Result<bool> {
    // Not for long: a machine that is lost keeps its marks until the server notices, which may be hours. The attempt does
    // not count, and the next one looks again.
    let usual: String =
        sqlx::query_scalar("SELECT current_setting('lock_timeout')").fetch_one(&mut *connection).await?;
    let limit = "SELECT set_config('lock_timeout', $1, true)";
    sqlx::query(limit).bind("2s").execute(&mut *connection).await?;
    // Waits for whoever has the same mark in hand: their commit makes this one nothing, their rollback makes it theirs.
    let insert = sqlx::query("INSERT INTO mpesa_callbacks_applied (mark, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    let marked = insert.bind(mark.as_bytes()).bind(mark.kind().name()).execute(&mut *connection).await?;
    sqlx::query(limit).bind(usual).execute(connection).await?;
    Ok(marked.rows_affected() > 0)
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(Cow::into_owned)
}

/// What passes, and what does not: a table that is gone, a permission, a database that is not there.
fn failed(error: sqlx::Error) -> TransactorError {
    let code = code(&error);
    match code.as_deref().and_then(|code| code.get(..2)) {
        Some("42" | "3D" | "3F" | "28") => TransactorError::Broken(error.into()),
        _ => unavailable(error),
    }
}

/// What the handler wrote is wrong (a deferred constraint or trigger, a statement that failed), or clashed with somebody
/// else's; unless the server is away, out of something, or broken.
fn refused(error: sqlx::Error) -> TransactorError {
    let code = code(&error);
    match code.as_deref().and_then(|code| code.get(..2)) {
        None | Some("08" | "53" | "57" | "58" | "XX") => unavailable(error),
        Some(_) => TransactorError::Refused(error.into()),
    }
}
