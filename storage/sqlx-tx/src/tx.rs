//! The transaction that handlers take.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

/// A transaction of your own database that contains the idempotency key of the callback:
/// `tx: &mut SqliteTx`, `PgTx` or `MySqlTx`. Run statements on `&mut **tx`, and set savepoints with
/// [`sqlx::Connection::begin`].
///
/// It owns a connection of the pool. If the database has ended the transaction by itself (a full disk, a
/// deadlock, a cut connection), the connection is closed instead of returned.
pub struct SqlxTx<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    pub(super) watch: Watch,
}

/// State of the transaction, shared with SQLite's hooks.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The database has ended the transaction by itself.
    pub(super) was_ended: Arc<AtomicBool>,
    /// The handler has returned, so it may be committed.
    pub(super) may_commit: Arc<AtomicBool>,
    /// The connection has settings that must not return to the pool.
    pub(super) is_changed: Arc<AtomicBool>,
}

/// Maximum number of connections to try that your application has left inside a transaction.
const MAX_TRIES: usize = 64;

/// Timeout for rolling back and returning a connection; then it is closed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

impl<DB: Database> SqlxTx<DB> {
    /// Begins one on a connection that is in no transaction.
    pub(super) async fn begin(pool: &Pool<DB>, statement: Option<&'static str>) -> sqlx::Result<SqlxTx<DB>> {
        let mut tries = 0;
        let connection = loop {
            let connection = pool.acquire().await?;
            tries += 1;
            if DB::TransactionManager::get_transaction_depth(&connection) == 0 {
                break connection;
            }
            // An error ended the application's own transaction, and sqlx did not notice.
            connection.close().await?;
            if tries == MAX_TRIES {
                // To begin inside another transaction would set a savepoint, and to commit would release it.
                let open = format!("{tries} connections of the pool were inside transactions of the application");
                return Err(sqlx::Error::Protocol(open));
            }
        };
        let statement = statement.map(SqlSafeStr::into_sql_str);
        // If this future is dropped between the statement and its answer, sqlx 0.9 would return the
        // connection to the pool with the transaction open. After an error its state is unknown.
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

    /// Returns the connection to the pool, or closes it after an error.
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

/// Returns a connection to its pool. sqlx 0.9 pings it first, without a timeout: a server that lost its
/// power never answers, and the pool would lose the connection's permit for good.
fn give_back<DB: Database>(mut connection: PoolConnection<DB>) {
    // Without a runtime sqlx's own drop runs.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let returning = connection.return_to_pool();
        runtime.spawn(async move { tokio::time::timeout(RELEASE_TIMEOUT, returning).await });
    }
}

impl<DB: Database> Drop for SqlxTx<DB> {
    /// The handler panicked, or exceeded its timeout.
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
