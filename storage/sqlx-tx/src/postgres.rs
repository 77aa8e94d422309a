//! Transactions of PostgreSQL through sqlx.

use std::borrow::Cow;

use async_trait::async_trait;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use sqlx::{PgConnection, Postgres, Row};

use super::{ENDED, SqlxTransactor, SqlxTx, unavailable};

/// The transaction that handlers take: `tx: &mut PgTx`. Run statements on `&mut **tx`.
///
/// In PostgreSQL a failed statement aborts the whole transaction. A handler that continues after an error
/// is retried, unless it set a savepoint (`tx.begin()`).
pub type PgTx = SqlxTx<Postgres>;

const CREATE_KEYS: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    idempotency_key bytea NOT NULL PRIMARY KEY,
    kind       text  NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// Key of the advisory lock of processes that start at once: `MPCA`.
const PREPARE_LOCK: i64 = 0x4d50_4341;

#[async_trait]
impl Transactor for SqlxTransactor<Postgres> {
    type Tx = PgTx;

    async fn prepare(&self) -> Result<(), TransactorError> {
        let mut tx = self.pool.begin().await.map_err(unavailable)?;
        // The inbox settles what is committed here. If a power cut lost it, it would not be applied again.
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
        // `IF NOT EXISTS` alone fails if two processes create it at once.
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(PREPARE_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        sqlx::query(CREATE_KEYS).execute(&mut *tx).await.map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)
    }

    async fn begin(&self, key: &IdempotencyKey) -> Result<BeginOutcome<PgTx>, TransactorError> {
        let mut tx = SqlxTx::begin(&self.pool, None).await.map_err(failed)?;
        match begin_with_key(&mut tx, key).await {
            Ok(true) => Ok(BeginOutcome::New(tx)),
            // The store settles the callback now, so the key must not be on one disk only. PostgreSQL makes a
            // commit wait for a synchronous standby only if the transaction wrote something.
            Ok(false) => {
                let message = sqlx::query("SELECT pg_logical_emit_message(true, 'mpesa-callbacks', '')");
                if let Err(error) = message.execute(&mut *tx).await {
                    tx.close().await;
                    return Err(unavailable(error));
                }
                tx.commit().await.map_err(unavailable)?;
                Ok(BeginOutcome::AlreadyApplied)
            }
            Err(error) => {
                tx.close().await;
                Err(failed(error))
            }
        }
    }

    async fn add_key(&self, tx: &mut PgTx, key: &IdempotencyKey) -> Result<bool, TransactorError> {
        insert_key(tx, key).await.map_err(failed)
    }

    async fn commit(&self, mut tx: PgTx) -> Result<(), TransactorError> {
        // The handler may have continued after a failed statement: `COMMIT` would then roll back and
        // report success. Or it has ended the transaction, and the savepoint with it.
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

/// Inserts the key and sets a savepoint; `false` if the key exists.
async fn begin_with_key(connection: &mut PgConnection, key: &IdempotencyKey) -> sqlx::Result<bool> {
    if !insert_key(connection, key).await? {
        return Ok(false);
    }
    sqlx::query("SAVEPOINT mpesa_callbacks").execute(connection).await?;
    Ok(true)
}

/// Inserts the key; `false` if it exists.
async fn insert_key(connection: &mut PgConnection, key: &IdempotencyKey) -> sqlx::Result<bool> {
    // A short timeout: a lost machine keeps its locks until the server notices, which may take hours.
    // The attempt does not count, and the next one tries again.
    let usual: String =
        sqlx::query_scalar("SELECT current_setting('lock_timeout')").fetch_one(&mut *connection).await?;
    let limit = "SELECT set_config('lock_timeout', $1, true)";
    sqlx::query(limit).bind("2s").execute(&mut *connection).await?;
    // Waits for a transaction with the same key: if it commits, nothing is inserted here.
    let insert = sqlx::query(
        "INSERT INTO mpesa_callbacks_applied (idempotency_key, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    );
    let inserted = insert.bind(key.as_bytes()).bind(key.kind().name()).execute(&mut *connection).await?;
    sqlx::query(limit).bind(usual).execute(connection).await?;
    Ok(inserted.rows_affected() > 0)
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(Cow::into_owned)
}

/// Not transient: a missing table or database, a missing permission.
fn failed(error: sqlx::Error) -> TransactorError {
    let code = code(&error);
    match code.as_deref().and_then(|code| code.get(..2)) {
        Some("42" | "3D" | "3F" | "28") => TransactorError::Broken(error.into()),
        _ => unavailable(error),
    }
}

/// The statements of the handler are invalid (a deferred constraint or trigger, a failed
/// statement) or conflicts with another transaction; unless the server is unavailable, out of
/// resources, or damaged.
fn refused(error: sqlx::Error) -> TransactorError {
    let code = code(&error);
    match code.as_deref().and_then(|code| code.get(..2)) {
        None | Some("08" | "53" | "57" | "58" | "XX") => unavailable(error),
        Some(_) => TransactorError::Refused(error.into()),
    }
}
