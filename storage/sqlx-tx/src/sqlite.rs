//! Transactions of SQLite through sqlx.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::{ENDED, SqlxTransactor, SqlxTx, unavailable};

/// The transaction that handlers take: `tx: &mut SqliteTx`. Run statements on `&mut **tx`.
///
/// SQLite ends a transaction by itself if the disk is full or fails, if memory is exhausted, and at
/// `RAISE(ROLLBACK)` and `OR ROLLBACK`. Later writes of the handler take no effect, because nothing can
/// be committed on this connection until the handler has returned, not even by its own `COMMIT`. The
/// handler is retried.
///
/// The transactor sets the connection's commit and rollback hooks. Hooks that your application has set
/// on connections of this pool are replaced.
pub type SqliteTx = SqlxTx<Sqlite>;

const CREATE_KEYS: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    idempotency_key BLOB NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID";

#[async_trait]
impl Transactor for SqlxTransactor<Sqlite> {
    type Tx = SqliteTx;

    async fn prepare(&self) -> Result<(), TransactorError> {
        // Not cached: a statement that was compiled before the table existed takes the write lock again.
        sqlx::query(CREATE_KEYS).persistent(false).execute(&self.pool).await.map_err(unavailable)?;
        // The inbox settles what is committed here. If a power cut lost it, it would not be applied again.
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&self.pool).await.map_err(unavailable)?;
        if synchronous < 2 {
            let found = synchronous.to_string();
            return Err(TransactorError::NotDurable {
                setting: "synchronous",
                found,
                needed: "2 (FULL), sqlx's default",
            });
        }
        Ok(())
    }

    async fn begin(&self, key: &IdempotencyKey) -> Result<BeginOutcome<SqliteTx>, TransactorError> {
        let (pool, key) = (self.pool.clone(), key.clone());
        // In a task of its own: a dropped future would leave the hooks half set.
        let beginning = tokio::spawn(async move { begin_with_key(&pool, &key).await.map_err(failed) });
        beginning.await.unwrap_or_else(|error| Err(TransactorError::Unavailable(error.into())))
    }

    async fn add_key(&self, tx: &mut SqliteTx, key: &IdempotencyKey) -> Result<bool, TransactorError> {
        insert_key(tx, key).await.map_err(failed)
    }

    async fn commit(&self, tx: SqliteTx) -> Result<(), TransactorError> {
        if tx.watch.was_ended.load(Ordering::SeqCst) {
            tx.close().await;
            return Err(TransactorError::Refused(ENDED.into()));
        }
        tx.commit().await.map_err(|error| match &error {
            // A deferred constraint: what the handler wrote is invalid.
            sqlx::Error::Database(database) if database.is_foreign_key_violation() || database.is_check_violation() => {
                TransactorError::Refused(error.into())
            }
            _ => unavailable(error),
        })
    }

    async fn rollback(&self, tx: SqliteTx) -> Result<(), TransactorError> {
        tx.rollback().await.map_err(unavailable)
    }
}

async fn begin_with_key(pool: &SqlitePool, key: &IdempotencyKey) -> sqlx::Result<BeginOutcome<SqliteTx>> {
    // IMMEDIATE: takes the write lock now, so no other writer comes between reading and writing.
    let mut tx = SqlxTx::begin(pool, Some("BEGIN IMMEDIATE")).await?;
    let is_new = match insert_key(&mut tx, key).await {
        Ok(is_new) => is_new,
        Err(error) => {
            // On a full disk SQLite has ended the transaction already.
            tx.close().await;
            return Err(error);
        }
    };
    if !is_new {
        tx.rollback().await?;
        return Ok(BeginOutcome::AlreadyApplied);
    }
    watch(&mut tx).await?;
    Ok(BeginOutcome::New(tx))
}

/// Inserts the key; `false` if it exists.
async fn insert_key(connection: &mut SqliteConnection, key: &IdempotencyKey) -> sqlx::Result<bool> {
    let insert =
        sqlx::query("INSERT INTO mpesa_callbacks_applied (idempotency_key, kind) VALUES (?, ?) ON CONFLICT DO NOTHING");
    let inserted = insert.bind(key.as_bytes()).bind(key.kind().name()).execute(connection).await?;
    Ok(inserted.rows_affected() > 0)
}

/// From now on only the transactor can commit on this connection, and rollbacks are noticed.
async fn watch(tx: &mut SqliteTx) -> sqlx::Result<()> {
    let watch = tx.watch.clone();
    let mut handle = tx.lock_handle().await?;
    let may_commit = watch.may_commit.clone();
    handle.set_commit_hook(move || may_commit.load(Ordering::SeqCst));
    handle.set_rollback_hook(move || {
        if !watch.may_commit.load(Ordering::SeqCst) {
            watch.was_ended.store(true, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// Not transient: see <https://www.sqlite.org/rescode.html>.
fn failed(error: sqlx::Error) -> TransactorError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        // ERROR (there is no such table), PERM, READONLY, CORRUPT, MISMATCH, AUTH, NOTADB.
        Some(1 | 3 | 8 | 11 | 20 | 23 | 26) => TransactorError::Broken(error.into()),
        _ => unavailable(error),
    }
}
