//! MySQL and MariaDB through sqlx.

use async_trait::async_trait;
use mpesa_callbacks_core::ledger::{Begun, Ledger, LedgerError, Mark};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{MySql, MySqlConnection, Transaction};

use super::{SqlxLedger, begin, unavailable};

/// The transaction that handlers take: `tx: &mut MySqlTx`. Run statements on `&mut **tx`.
///
/// After a deadlock MySQL rolls the whole transaction back, and whatever is run after that takes effect on its own. A handler must
/// not go on after an error: `?` it, and it is run again. One that goes on all the same is found out at the commit, and run again,
/// but what it wrote after the deadlock stays.
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
        let mut tx = begin(&self.pool).await.map_err(unavailable)?;
        // Not for long: a machine that is lost keeps its marks until the server notices, which may be hours. The attempt does
        // not count, and the next one looks again.
        let usual: u64 = sqlx::query_scalar("SELECT CAST(@@innodb_lock_wait_timeout AS UNSIGNED)")
            .fetch_one(&mut *tx)
            .await
            .map_err(unavailable)?;
        wait_for(&mut tx, PATIENCE).await.map_err(unavailable)?;
        let marked = write(&mut tx, mark).await;
        // The setting is the connection's, and that goes back to the pool.
        wait_for(&mut tx, usual).await.map_err(unavailable)?;
        if marked.map_err(unavailable)? {
            return Ok(Begun::New(tx));
        }
        tx.rollback().await.map_err(unavailable)?;
        Ok(Begun::AlreadyApplied)
    }

    async fn commit(&self, mut tx: MySqlTx) -> Result<(), LedgerError> {
        // After a deadlock the mark is gone with the rest of the transaction, and a handler may have gone on.
        let is_there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM mpesa_callbacks_applied WHERE mark = @mpesa_callbacks_mark)",
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(unavailable)?;
        if !is_there {
            return Err(LedgerError::Refused(BROKEN_OFF.into()));
        }
        tx.commit().await.map_err(refused)
    }

    async fn rollback(&self, tx: MySqlTx) -> Result<(), LedgerError> {
        tx.rollback().await.map_err(unavailable)
    }
}

const BROKEN_OFF: &str = "the database rolled the transaction back (a deadlock, as a rule), and the handler went on";

/// Waits for whoever has the same mark in hand: their commit makes this one nothing, their rollback makes it ours. Whether it is ours.
async fn write(connection: &mut MySqlConnection, mark: &Mark) -> sqlx::Result<bool> {
    sqlx::query("SET @mpesa_callbacks_mark = ?").bind(mark.as_bytes()).execute(&mut *connection).await?;
    let marked =
        sqlx::query("INSERT IGNORE INTO mpesa_callbacks_applied (mark, kind) VALUES (@mpesa_callbacks_mark, ?)");
    Ok(marked.bind(mark.kind().name()).execute(connection).await?.rows_affected() == 1)
}

async fn wait_for(connection: &mut MySqlConnection, seconds: u64) -> sqlx::Result<()> {
    let set = sqlx::query("SET SESSION innodb_lock_wait_timeout = CAST(? AS UNSIGNED)").bind(seconds);
    set.execute(connection).await.map(drop)
}

/// A cluster may refuse at the commit what clashed with somebody else's; anything else is the server's.
fn refused(error: sqlx::Error) -> LedgerError {
    let number = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
        .map(MySqlDatabaseError::number);
    match number {
        // Deadlock, lock wait timeout.
        Some(1213 | 1205) => LedgerError::Refused(error.into()),
        _ => unavailable(error),
    }
}
