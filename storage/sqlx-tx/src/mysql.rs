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
/// After a deadlock MySQL rolls the whole transaction back. What a handler writes after that takes no effect (`autocommit` is off as
/// long as it runs), and the handler is run again. It must not run statements that commit by themselves, as MySQL's DDL does
/// (`CREATE TABLE`, `TRUNCATE`): the mark would be committed with them, and what comes after would not be run again.
pub type MySqlTx = SqlxTx<MySql>;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    mark       binary(32)  NOT NULL PRIMARY KEY,
    kind       varchar(255) CHARACTER SET utf8mb4 NOT NULL,
    applied_at timestamp   NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB";

/// How many seconds to wait for whoever has the same mark in hand.
const PATIENCE: u64 = 2;

/// Limit of each step of beginning.
const STEP: Duration = Duration::from_secs(30);

#[async_trait]
impl Transactor for SqlxTransactor<MySql> {
    type Tx = MySqlTx;

    async fn prepare(&self) -> Result<(), TransactorError> {
        // The inbox settles what is committed here. Were that lost in a power cut, nobody would apply it again.
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
        // What is not in the binary log after a crash is rolled back.
        if has_log != 0 && sync != 1 {
            return Err(TransactorError::NotDurable { setting: "sync_binlog", found: sync.to_string(), needed: "1" });
        }
        sqlx::raw_sql(CREATE).execute(&self.pool).await.map_err(unavailable)?;
        Ok(())
    }

    async fn begin(&self, mark: &IdempotencyKey) -> Result<BeginOutcome<MySqlTx>, TransactorError> {
        let (pool, mark) = (self.pool.clone(), mark.clone());
        // In a task of its own: were its future dropped in the middle, the connection would go back to the pool as it is, with a
        // transaction open or a setting changed.
        let beginning = tokio::spawn(async move { begin_marked(&pool, &mark).await.map_err(failed) });
        beginning.await.unwrap_or_else(|error| Err(TransactorError::Unavailable(error.into())))
    }

    async fn add_key(&self, tx: &mut MySqlTx, mark: &IdempotencyKey) -> Result<bool, TransactorError> {
        set_mark(tx, mark).await.map_err(failed)
    }

    async fn commit(&self, mut tx: MySqlTx) -> Result<(), TransactorError> {
        // It is gone when the transaction is: after a deadlock, which a handler may have gone on from, or a statement that commits.
        if let Err(error) = sqlx::query("RELEASE SAVEPOINT mpesa_callbacks").execute(&mut *tx).await {
            tx.close().await;
            return Err(if number(&error) == Some(NO_SAVEPOINT) {
                TransactorError::Refused(ENDED.into())
            } else {
                unavailable(error)
            });
        }
        // Committed like this, the connection can still be asked for something: its setting must be as it was.
        if let Err(error) = sqlx::query("COMMIT").execute(&mut *tx).await {
            tx.close().await;
            return Err(refused(error));
        }
        // The rest is about the connection alone: the transaction is committed.
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

/// Gives back a connection whose transaction has ended, its setting as it was.
async fn end(mut tx: MySqlTx) {
    let is_changed = tx.watch.is_changed.load(Ordering::SeqCst);
    let restored = match is_changed {
        true => sqlx::query("SET SESSION autocommit = 1").execute(&mut *tx).await.map(drop),
        false => Ok(()),
    };
    match restored {
        // For sqlx, which does not know that it has ended.
        Ok(()) => drop(tx.rollback().await),
        Err(_) => tx.close().await,
    }
}

/// `ER_SP_DOES_NOT_EXIST`
const NO_SAVEPOINT: u16 = 1305;

async fn begin_marked(pool: &MySqlPool, mark: &IdempotencyKey) -> sqlx::Result<BeginOutcome<MySqlTx>> {
    // Nobody else limits this task, and a server that lost its power never answers.
    let mut tx = in_time(SqlxTx::begin(pool, None)).await?;
    match in_time(mark_first(&mut tx, mark)).await {
        Ok(true) => Ok(BeginOutcome::New(tx)),
        Ok(false) => {
            in_time(sqlx::query("ROLLBACK").execute(&mut *tx)).await?;
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

async fn in_time<T>(step: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(STEP, step).await.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

/// Writes the mark, and a savepoint after it; `false` when it is there.
async fn mark_first(tx: &mut MySqlTx, mark: &IdempotencyKey) -> sqlx::Result<bool> {
    let autocommit: i64 = sqlx::query_scalar("SELECT CAST(@@autocommit AS SIGNED)").fetch_one(&mut **tx).await?;
    tx.watch.is_changed.store(autocommit == 1, Ordering::SeqCst);
    // What is run after a deadlock must not take effect by itself.
    sqlx::query("SET SESSION autocommit = 0").execute(&mut **tx).await?;
    if !set_mark(tx, mark).await? {
        return Ok(false);
    }
    sqlx::query("SAVEPOINT mpesa_callbacks").execute(&mut **tx).await?;
    Ok(true)
}

/// Writes the mark; `false` when it is there.
async fn set_mark(connection: &mut MySqlConnection, mark: &IdempotencyKey) -> sqlx::Result<bool> {
    // Not for long: a machine that is lost keeps its marks until the server notices, which may be hours. The attempt does
    // not count, and the next one looks again.
    let usual: u64 =
        sqlx::query_scalar("SELECT CAST(@@innodb_lock_wait_timeout AS UNSIGNED)").fetch_one(&mut *connection).await?;
    wait_for(connection, PATIENCE).await?;
    // Waits for whoever has the same mark in hand: their commit makes this one nothing, their rollback makes it ours.
    let insert = sqlx::query("INSERT IGNORE INTO mpesa_callbacks_applied (mark, kind) VALUES (?, ?)");
    let marked = insert.bind(mark.as_bytes()).bind(mark.kind().name()).execute(&mut *connection).await;
    // The setting is the connection's, and that goes back to the pool.
    wait_for(connection, usual).await?;
    Ok(marked?.rows_affected() > 0)
}

async fn wait_for(connection: &mut MySqlConnection, seconds: u64) -> sqlx::Result<()> {
    let set = sqlx::query("SET SESSION innodb_lock_wait_timeout = CAST(? AS UNSIGNED)").bind(seconds);
    set.execute(connection).await.map(drop)
}

/// What passes, and what does not: a table or database that is not there, a permission.
fn failed(error: sqlx::Error) -> TransactorError {
    match number(&error) {
        Some(1044 | 1045 | 1049 | 1054 | 1142 | 1143 | 1146 | 1932) => TransactorError::Broken(error.into()),
        _ => unavailable(error),
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// A cluster may refuse at the commit what clashed with somebody else's; anything else is the server's.
fn refused(error: sqlx::Error) -> TransactorError {
    match number(&error) {
        // Deadlock, lock wait timeout.
        Some(1213 | 1205) => TransactorError::Refused(error.into()),
        _ => unavailable(error),
    }
}
