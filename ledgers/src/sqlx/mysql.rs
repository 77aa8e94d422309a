//! MySQL and MariaDB through sqlx.

use async_trait::async_trait;
use mpesa_callbacks_core::ledger::{Begun, Ledger, LedgerError, Mark};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction};

use super::{SqlxLedger, unavailable};

/// The transaction that handlers take: `tx: &mut MySqlTx`. Run statements on `&mut **tx`.
///
/// After a deadlock MySQL rolls the whole transaction back, and whatever is run after that takes effect on its own. A handler must
/// not go on after an error: `?` it, and it is run again. One that goes on all the same is found out at the commit, and run again,
/// but what it wrote after the deadlock stays. Nor may a handler run statements that commit by themselves, as MySQL's DDL does
/// (`CREATE TABLE`, `TRUNCATE`): the mark would be committed with them, and what comes after would not be run again.
pub type MySqlTx = Transaction<'static, MySql>;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mpesa_callbacks_applied (
    mark       binary(32)  NOT NULL PRIMARY KEY,
    kind       varchar(255) CHARACTER SET utf8mb4 NOT NULL,
    applied_at timestamp   NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB";

/// How many seconds to wait for whoever has the same mark in hand.
const PATIENCE: u64 = 2;

#[async_trait]
impl Ledger for SqlxLedger<MySql> {
    type Tx = MySqlTx;

    async fn prepare(&self) -> Result<(), LedgerError> {
        // The inbox settles what is committed here. Were that lost in a power cut, nobody would apply it again.
        let (flush, has_log, sync): (i64, i64, i64) = sqlx::query_as(
            "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@log_bin AS SIGNED), CAST(@@sync_binlog AS SIGNED)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        if flush != 1 {
            let setting = "innodb_flush_log_at_trx_commit";
            return Err(LedgerError::NotDurable { setting, found: flush.to_string(), needed: "1" });
        }
        // What is not in the binary log after a crash is rolled back.
        if has_log != 0 && sync != 1 {
            return Err(LedgerError::NotDurable { setting: "sync_binlog", found: sync.to_string(), needed: "1" });
        }
        sqlx::raw_sql(CREATE).execute(&self.pool).await.map_err(unavailable)?;
        Ok(())
    }

    async fn begin(&self, mark: &Mark) -> Result<Begun<MySqlTx>, LedgerError> {
        let (pool, mark) = (self.pool.clone(), mark.clone());
        // In a task of its own: were its future dropped in the middle, the connection would go back to the pool as it is, with a
        // transaction open or a setting changed.
        let beginning = tokio::spawn(async move { begin_marked(&pool, &mark).await.map_err(unavailable) });
        beginning.await.unwrap_or_else(|error| Err(LedgerError::Unavailable(error.into())))
    }

    async fn commit(&self, mut tx: MySqlTx) -> Result<(), LedgerError> {
        // It is gone when the transaction is: after a deadlock, which a handler may have gone on from, or a statement that commits.
        if let Err(error) = sqlx::query("RELEASE SAVEPOINT mpesa_callbacks").execute(&mut *tx).await {
            return Err(if number(&error) == Some(NO_SAVEPOINT) {
                LedgerError::Refused(BROKEN_OFF.into())
            } else {
                unavailable(error)
            });
        }
        tx.commit().await.map_err(refused)
    }

    async fn rollback(&self, tx: MySqlTx) -> Result<(), LedgerError> {
        tx.rollback().await.map_err(unavailable)
    }
}

const BROKEN_OFF: &str = "the transaction was ended by the database, after a deadlock or by a statement that commits, and the handler went on";

/// `ER_SP_DOES_NOT_EXIST`
const NO_SAVEPOINT: u16 = 1305;

async fn begin_marked(pool: &MySqlPool, mark: &Mark) -> sqlx::Result<Begun<MySqlTx>> {
    let mut tx = pool.begin().await?;
    // Not for long: a machine that is lost keeps its marks until the server notices, which may be hours. The attempt does
    // not count, and the next one looks again.
    let usual: u64 =
        sqlx::query_scalar("SELECT CAST(@@innodb_lock_wait_timeout AS UNSIGNED)").fetch_one(&mut *tx).await?;
    wait_for(&mut tx, PATIENCE).await?;
    // Waits for whoever has the same mark in hand: their commit makes this one nothing, their rollback makes it ours.
    let insert = sqlx::query("INSERT IGNORE INTO mpesa_callbacks_applied (mark, kind) VALUES (?, ?)");
    let marked = insert.bind(mark.as_bytes()).bind(mark.kind().name()).execute(&mut *tx).await;
    // The setting is the connection's, and that goes back to the pool.
    wait_for(&mut tx, usual).await?;
    if marked?.rows_affected() == 0 {
        tx.rollback().await?;
        return Ok(Begun::AlreadyApplied);
    }
    sqlx::query("SAVEPOINT mpesa_callbacks").execute(&mut *tx).await?;
    Ok(Begun::New(tx))
}

async fn wait_for(connection: &mut MySqlConnection, seconds: u64) -> sqlx::Result<()> {
    let set = sqlx::query("SET SESSION innodb_lock_wait_timeout = CAST(? AS UNSIGNED)").bind(seconds);
    set.execute(connection).await.map(drop)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// A cluster may refuse at the commit what clashed with somebody else's; anything else is the server's.
fn refused(error: sqlx::Error) -> LedgerError {
    match number(&error) {
        // Deadlock, lock wait timeout.
        Some(1213 | 1205) => LedgerError::Refused(error.into()),
        _ => unavailable(error),
    }
}
