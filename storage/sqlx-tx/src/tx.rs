//! The transaction that handlers take.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

/// A transaction of the application's own database, with the mark of the callback in it: `tx: &mut SqliteTx`, `PgTx` or
/// `MySqlTx`. Run statements on `&mut **tx`, and set savepoints with [`sqlx::Connection::begin`].
///
/// It owns a connection of the pool, and gives it back only in good order: one whose transaction the database ended by itself
/// (a full disk, a deadlock, a connection that was cut) is closed, so that nobody gets it again.
pub struct SqlxTx<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    pub(super) watch: Watch,
}

/// Whether the transaction is still what it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The database has ended it by itself.
    pub(super) was_ended: Arc<AtomicBool>,
    /// It may be committed: the handler has come to its end. Until then nothing may be.
    pub(super) may_commit: Arc<AtomicBool>,
    /// The connection has settings that nobody else must get.
    pub(super) is_changed: Arc<AtomicBool>,
}

/// How many connections are tried that somebody else has left in the middle of a transaction.
const TRIES: usize = 64;

/// Limit of rolling back and giving a connection back; if time is up, it is closed.
const RELEASE: Duration = Duration::from_secs(5);

impl<DB: Database> SqlxTx<DB> {
    /// Begins one on a connection that is in no transaction.
    pub(super) async fn begin(pool: &Pool<DB>, statement: Option<&'static str>) -> sqlx::Result<SqlxTx<DB>> {
        let mut tries = 0;
        let connection = loop {
            let connection = pool.acquire().await?;
            tries += 1;
            if DB::TransactionManager::get_transaction_depth(&connection) == 0 || tries == TRIES {
                break connection;
            }
            // The application's own code met with an error that ended its transaction, and sqlx did not see it.
            connection.close().await?;
        };
        let statement = statement.map(SqlSafeStr::into_sql_str);
        // If this is dropped between the statement and the answer, sqlx 0.9 would give the connection
        // back to the pool with the transaction open; after an error, who knows what is wrong with it.
        let mut beginning = CloseOnDrop(Some(connection));
        if let Some(connection) = &mut beginning.0 {
            DB::TransactionManager::begin(connection, statement).await?;
        }
        Ok(SqlxTx { connection: beginning.0.take(), watch: Watch::default() })
    }

    /// Commits. After an error the outcome may be unknown, and the connection is gone.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        self.watch.may_commit.store(true, Ordering::SeqCst);
        let committed = DB::TransactionManager::commit(&mut self).await;
        self.leave(committed).await
    }

    /// Rolls back. After an error the connection is gone, and the transaction with it.
    pub(super) async fn rollback(mut self) -> sqlx::Result<()> {
        if self.watch.was_ended.load(Ordering::SeqCst) {
            return self.leave(Err(sqlx::Error::WorkerCrashed)).await.or(Ok(()));
        }
        self.watch.may_commit.store(true, Ordering::SeqCst);
        let rolled_back = DB::TransactionManager::rollback(&mut self).await;
        self.leave(rolled_back).await
    }

    /// Closes the connection without ending the transaction: the database rolls back.
    pub(super) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Gives the connection back, unless something went wrong with it.
    async fn leave(mut self, ended: sqlx::Result<()>) -> sqlx::Result<()> {
        let connection = self.connection.take();
        match (ended, connection) {
            (Err(error), Some(connection)) => {
                let _ = connection.close().await;
                Err(error)
            }
            (ended, Some(connection)) => {
                give_back(connection);
                ended
            }
            (ended, None) => ended,
        }
    }
}

/// A connection that is closed unless it is taken out.
struct CloseOnDrop<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Drop for CloseOnDrop<DB> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// Gives a connection back to its pool. sqlx 0.9 tests it first, without a limit: a server that lost
/// its power never answers, and the pool would lose the connection's place for good.
fn give_back<DB: Database>(mut connection: PoolConnection<DB>) {
    // Without a runtime sqlx does with it what it can.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let returning = connection.return_to_pool();
        runtime.spawn(async move { tokio::time::timeout(RELEASE, returning).await });
    }
}

impl<DB: Database> Drop for SqlxTx<DB> {
    /// A handler panicked, or overran.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let [was_ended, is_changed] =
            [&self.watch.was_ended, &self.watch.is_changed].map(|it| it.load(Ordering::SeqCst));
        if was_ended || is_changed {
            connection.close_on_drop();
            return;
        }
        self.watch.may_commit.store(true, Ordering::SeqCst);
        DB::TransactionManager::start_rollback(&mut connection);
        give_back(connection);
    }
}

impl<DB: Database> Deref for SqlxTx<DB> {
    type Target = DB::Connection;

    #[allow(clippy::expect_used, reason = "it is taken only by what consumes the transaction")]
    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("a transaction has a connection until it ends")
    }
}

impl<DB: Database> DerefMut for SqlxTx<DB> {
    #[allow(clippy::expect_used, reason = "it is taken only by what consumes the transaction")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("a transaction has a connection until it ends")
    }
}

impl<DB: Database> fmt::Debug for SqlxTx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlxTx({})", DB::NAME)
    }
}
