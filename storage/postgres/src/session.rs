//! Connections of the pool, returned within a timeout and never inside a transaction.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Executor, Postgres, raw_sql};
use tokio::time::timeout;

/// Timeout for rolling back, and for returning a connection to the pool. sqlx 0.9 pings a returned
/// connection without a timeout: a server that lost its power never answers, and the pool would lose the
/// connection's permit for good.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Begins a transaction.
///
/// - `lock_timeout`: the holder of a lock may be a lost machine, and recording is one queue.
/// - READ COMMITTED, for any default of the pool: a statement that waited must see committed rows.
/// - `enable_seqscan = off`: the server keeps a plan, and one that was made for a nearly empty table would
///   scan it until the next ANALYZE (measured: 900 callbacks per second instead of 20,000).
/// - `force_generic_plan`: rows are looked up by lists of ids and keys, so a new plan for each list costs
///   time and gains nothing.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '3s';
                     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// A connection for single statements, or for one transaction, which is rolled back if this is dropped.
pub(super) struct Session {
    connection: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl Session {
    /// Returns a connection for single statements.
    pub(super) async fn acquire(pool: &PgPool) -> sqlx::Result<Session> {
        Ok(Session { connection: Some(pool.acquire().await?), in_transaction: false })
    }

    /// Begins a transaction with the limits above.
    pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<Session> {
        Session::begin_with(pool, BEGIN).await
    }

    /// Begins a transaction with these statements.
    pub(super) async fn begin_with(pool: &PgPool, statements: &'static str) -> sqlx::Result<Session> {
        let mut session = Session::acquire(pool).await?;
        // From here on, because the server may have begun it when the answer is lost.
        session.in_transaction = true;
        session.execute(raw_sql(statements)).await?;
        Ok(session)
    }

    /// Commits. After an error the outcome is unknown.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        self.execute(raw_sql("COMMIT")).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Without a runtime sqlx's own drop runs.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(release(connection, self.in_transaction));
    }
}

async fn release(mut connection: PoolConnection<Postgres>, in_transaction: bool) {
    if in_transaction {
        let rolled_back = timeout(RELEASE_TIMEOUT, connection.execute(raw_sql("ROLLBACK"))).await;
        if !matches!(rolled_back, Ok(Ok(_))) {
            // Has a limit of its own.
            connection.close_on_drop();
            return;
        }
    }
    // If time is up, the future is dropped, and the connection is closed with it.
    let _ = timeout(RELEASE_TIMEOUT, connection.return_to_pool()).await;
}

impl Deref for Session {
    type Target = PgConnection;

    #[allow(clippy::expect_used, reason = "it is taken only when the session is dropped")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("a session has a connection")
    }
}

impl DerefMut for Session {
    #[allow(clippy::expect_used, reason = "it is taken only when the session is dropped")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a session has a connection")
    }
}
