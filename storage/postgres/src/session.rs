//! Connections of the pool, given back in good order however their user ends.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Executor, Postgres, raw_sql};
use tokio::time::timeout;

/// Limit of rolling back, and of giving a connection back. sqlx 0.9 pings a connection that is given
/// back, without a limit: a server that lost its power never answers, and the pool would lose the
/// connection's place for good.
const RELEASE: Duration = Duration::from_secs(5);

/// Begins a transaction that waits for nobody for long: whoever has a lock may be a machine that is
/// lost, and recording is one queue.
///
/// READ COMMITTED whatever the pool's own default is: what waited for somebody must see what they
/// did. Tables are never read from end to end: the server keeps a statement's plan, and one that was
/// made while a table was nearly empty would read all of it for as long as nobody has analyzed it
/// since (measured: 900 callbacks a second in place of 20,000). Statements look rows up by lists of
/// ids and keys, whatever these are: planning them anew for each list costs, and finds nothing.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '3s';
                     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// A connection for one statement, or for one transaction. If it is dropped inside a transaction,
/// the transaction is rolled back.
pub(super) struct Session {
    connection: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl Session {
    /// A connection for single statements.
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
        // Without a runtime sqlx does with it what it can.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(release(connection, self.in_transaction));
    }
}

async fn release(mut connection: PoolConnection<Postgres>, in_transaction: bool) {
    if in_transaction {
        let rolled_back = timeout(RELEASE, connection.execute(raw_sql("ROLLBACK"))).await;
        if !matches!(rolled_back, Ok(Ok(_))) {
            // Has a limit of its own.
            connection.close_on_drop();
            return;
        }
    }
    // If time is up, the future is dropped, and the connection is closed with it.
    let _ = timeout(RELEASE, connection.return_to_pool()).await;
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
