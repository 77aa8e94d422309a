//! MySQL and MariaDB through sqlx.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{MySql, MySqlConnection, MySqlPool};
use tokio::time::timeout;

use super::{ENDED, SqlxTransactor, SqlxTx, unavailable};

/// The transaction that handlers take: `tx: &mut MySqlTx`. Run statements on `&mut **tx`.
///
/// After a deadlock MySQL rolls the whole transaction back. Later writes of the handler take no effect,
/// because `autocommit` is off while it runs, and the handler is retried.
///
/// The handler must not run statements that commit implicitly, like DDL (`CREATE TABLE`, `TRUNCATE`):
/// they commit the idempotency key, and later statements would not be repeated after a failure.
pub type MySqlTx = SqlxTx<MySql>;

const CREATE_KEYS: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    idempotency_key binary(32)  NOT NULL PRIMARY KEY,
    kind       varchar(255) CHARACTER SET utf8mb4 NOT NULL,
    applied_at timestamp   NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB";

/// Timeout for another transaction with the same key, in seconds.
const KEY_LOCK_TIMEOUT: u64 = 2;

/// Timeout of each step of beginning.
const BEGIN_STEP_TIMEOUT: Duration = Duration::from_secs(30);

#[async_trait]
impl Transactor for SqlxTransactor<MySql> {
    type Tx = MySqlTx;

    async fn prepare(&self) -> Result<(), TransactorError> {
        // The inbox settles what is committed here. If a power cut lost it, it would not be applied again.
        let (flush, has_log, sync): (i64, i64, i64) = sqlx::query_as(
            "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@log_bin AS SIGNED), CAST(@@sync_binlog AS SIGNED)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        if flush != 1 {
            let setting = "innodb_flush_log_at_trx_commit";
            return Err(TransactorError::NotDurable { setting, found: flush.to_string(), needed: "1" });
        }
        // After a crash MySQL rolls back what is not in the binary log.
        if has_log != 0 && sync != 1 {
            return Err(TransactorError::NotDurable { setting: "sync_binlog", found: sync.to_string(), needed: "1" });
        }
        sqlx::raw_sql(CREATE_KEYS).execute(&self.pool).await.map_err(unavailable)?;
        Ok(())
    }

    async fn begin(&self, key: &IdempotencyKey) -> Result<BeginOutcome<MySqlTx>, TransactorError> {
        let (pool, key) = (self.pool.clone(), key.clone());
        // In a task of its own: a dropped future would return the connection to the pool with an open
        // transaction or a changed setting.
        let beginning = tokio::spawn(async move { begin_with_key(&pool, &key).await.map_err(failed) });
        beginning.await.unwrap_or_else(|error| Err(TransactorError::Unavailable(error.into())))
    }

    async fn add_key(&self, tx: &mut MySqlTx, key: &IdempotencyKey) -> Result<bool, TransactorError> {
        insert_key(tx, key).await.map_err(failed)
    }

    async fn commit(&self, mut tx: MySqlTx) -> Result<(), TransactorError> {
        // The savepoint is gone if the transaction is: after a deadlock that the handler ignored, or
        // after a statement that commits implicitly.
        if let Err(error) = sqlx::query("RELEASE SAVEPOINT mpesa_callbacks").execute(&mut *tx).await {
            tx.close().await;
            return Err(if number(&error) == Some(NO_SAVEPOINT) {
                TransactorError::Refused(ENDED.into())
            } else {
                unavailable(error)
            });
        }
        // Not by sqlx, because the setting must be restored on the connection afterwards.
        if let Err(error) = sqlx::query("COMMIT").execute(&mut *tx).await {
            tx.close().await;
            return Err(refused(error));
        }
        // The transaction is committed; the rest concerns the connection only.
        end(tx).await;
        Ok(())
    }

    async fn rollback(&self, mut tx: MySqlTx) -> Result<(), TransactorError> {
        if let Err(error) = sqlx::query("ROLLBACK").execute(&mut *tx).await {
            tx.close().await;
            return Err(unavailable(error));
        }
        end(tx).await;
        Ok(())
    }
}

/// Restores the setting and returns the connection.
async fn end(mut tx: MySqlTx) {
    let is_changed = tx.watch.is_changed.load(Ordering::SeqCst);
    let restored = match is_changed {
        true => sqlx::query("SET SESSION autocommit = 1").execute(&mut *tx).await.map(drop),
        false => Ok(()),
    };
    match restored {
        // Tell sqlx that the transaction has ended.
        Ok(()) => drop(tx.rollback().await),
        Err(_) => tx.close().await,
    }
}

/// `ER_SP_DOES_NOT_EXIST`: the savepoint is gone, so the transaction has ended.
const NO_SAVEPOINT: u16 = 1305;

async fn begin_with_key(pool: &MySqlPool, key: &IdempotencyKey) -> sqlx::Result<BeginOutcome<MySqlTx>> {
    // Nothing else limits this task, and a server that lost its power never answers.
    let mut tx = in_time(SqlxTx::begin(pool, None)).await?;
    match in_time(insert_first_key(&mut tx, key)).await {
        Ok(true) => Ok(BeginOutcome::New(tx)),
        Ok(false) => {
            in_time(confirm(&mut tx, key)).await?;
            let ending = async {
                end(tx).await;
                Ok(())
            };
            in_time(ending).await?;
            Ok(BeginOutcome::AlreadyApplied)
        }
        Err(error) => {
            tx.close().await;
            Err(error)
        }
    }
}

/// Commits a change of the key. The store settles the callback now, so the key must not be on one disk only; and
/// semi-synchronous replication waits only for a transaction that changed something.
async fn confirm(connection: &mut MySqlConnection, key: &IdempotencyKey) -> sqlx::Result<()> {
    let touch = "UPDATE mpesa_callbacks_applied
                 SET applied_at = GREATEST(CURRENT_TIMESTAMP, applied_at + INTERVAL 1 SECOND) WHERE idempotency_key = ?";
    sqlx::query(touch).bind(key.as_bytes()).execute(&mut *connection).await?;
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

async fn in_time<T>(step: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(BEGIN_STEP_TIMEOUT, step).await.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

/// Inserts the key and sets a savepoint; `false` if the key exists.
async fn insert_first_key(tx: &mut MySqlTx, key: &IdempotencyKey) -> sqlx::Result<bool> {
    let autocommit: i64 = sqlx::query_scalar("SELECT CAST(@@autocommit AS SIGNED)").fetch_one(&mut **tx).await?;
    tx.watch.is_changed.store(autocommit == 1, Ordering::SeqCst);
    // Statements after a deadlock must not commit by themselves.
    sqlx::query("SET SESSION autocommit = 0").execute(&mut **tx).await?;
    if !insert_key(tx, key).await? {
        return Ok(false);
    }
    sqlx::query("SAVEPOINT mpesa_callbacks").execute(&mut **tx).await?;
    Ok(true)
}

/// Inserts the key; `false` if it exists.
async fn insert_key(connection: &mut MySqlConnection, key: &IdempotencyKey) -> sqlx::Result<bool> {
    // A short timeout: a lost machine keeps its locks until the server notices, which may take hours.
    // The attempt does not count, and the next one tries again.
    let usual: u64 =
        sqlx::query_scalar("SELECT CAST(@@innodb_lock_wait_timeout AS UNSIGNED)").fetch_one(&mut *connection).await?;
    wait_for(connection, KEY_LOCK_TIMEOUT).await?;
    // Waits for a transaction with the same key: if it commits, nothing is inserted here.
    let insert = sqlx::query("INSERT IGNORE INTO mpesa_callbacks_applied (idempotency_key, kind) VALUES (?, ?)");
    let inserted = insert.bind(key.as_bytes()).bind(key.kind().name()).execute(&mut *connection).await;
    // The setting belongs to the connection, which returns to the pool.
    wait_for(connection, usual).await?;
    Ok(inserted?.rows_affected() > 0)
}

async fn wait_for(connection: &mut MySqlConnection, seconds: u64) -> sqlx::Result<()> {
    let set = sqlx::query("SET SESSION innodb_lock_wait_timeout = CAST(? AS UNSIGNED)").bind(seconds);
    set.execute(connection).await.map(drop)
}

/// Not transient: a missing table or database, a missing permission.
fn failed(error: sqlx::Error) -> TransactorError {
    match number(&error) {
        Some(1044 | 1045 | 1049 | 1054 | 1142 | 1143 | 1146 | 1932) => TransactorError::Broken(error.into()),
        _ => unavailable(error),
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// A cluster may refuse a commit that conflicts with another one; other errors are the
/// server's.
fn refused(error: sqlx::Error) -> TransactorError {
    match number(&error) {
        // Deadlock, lock wait timeout.
        Some(1213 | 1205) => TransactorError::Refused(error.into()),
        _ => unavailable(error),
    }
}
