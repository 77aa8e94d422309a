//! PostgreSQL: for several replicas of an application, and for those who run one anyway.

/// Does it again when the server chose it to break a deadlock: all of it was rolled back then. (A function that takes an async closure
/// would make futures that are not `Send`.)
macro_rules! unlocked {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work.await {
                Err(error) if $crate::postgres::is_deadlock(&error) && tries < $crate::postgres::TRIES => tries += 1,
                done => break done,
            }
        }
    }};
}

mod open;

mod record;

mod work;

mod look;

mod purge;

mod hints;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Digest, Private};
use mpesa_callbacks_core::store::{
    CallbackId, Claimed, Depth, Entry, Filter, Lease, Received, Recorded, Settled, Settlement, State, Store, StoreError,
};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres, Transaction};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use self::hints::Hints;
use self::open::{open, store_error};

/// Keeps callbacks in PostgreSQL 13 or newer, in a schema of its own, `mpesa_callbacks`.
///
/// Any number of processes may use it at once, on any number of machines: of racing recorders one is first, each callback is
/// claimed by one, and whoever lost a lease changes nothing. Leases are kept by the server's clock. What was recorded
/// survives a power cut of the server, and its loss where a synchronous standby is configured (`synchronous_standby_names`, and
/// a `synchronous_commit` other than `local`).
///
/// It asks for a connection at most for 5 seconds. Processes that are busy tell others of work on connections of their own (two a
/// process); they look for it once a second anyway. TLS is sqlx's: switch on one of its `tls-…`
/// features in the application.
///
/// Through a PgBouncer that pools transactions it works from version 1.21 on, which keeps prepared statements apart
/// (`max_prepared_statements` above 0; it ignores `extra_float_digits` with `ignore_startup_parameters`). An older one mixes them up: give
/// [`with_pool`](PostgresStore::with_pool) a pool that goes to the server itself. Hints need [`listening_at`](PostgresStore::listening_at).
///
/// The tables hold names and phone numbers. When bodies are purged their keys become HMACs under a random key that lies in
/// the same schema.
///
/// ```no_run
/// # async fn example() -> Result<(), mpesa_callbacks_core::store::StoreError> {
/// let store = mpesa_callbacks_stores::postgres::PostgresStore::connect("postgres://shop@localhost/shop").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    hints: Arc<Hints>,
    /// The key under which purged keys are hidden, once the schema was looked at, and brought up to date.
    hmac_key: Arc<OnceCell<Vec<u8>>>,
}

/// How often a transaction is tried that the server broke off: a deadlock, a connection that was cut. Repeating is safe, because what
/// was committed after all is found by its digest.
const TRIES: u32 = 5;

impl PostgresStore {
    /// Connects, and brings the schema up to date. Several processes may start at once.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the server cannot be reached; [`StoreError::NotDurable`] when it would lose what it
    /// confirmed (`fsync` or `synchronous_commit` is off), or is a standby; [`StoreError::NewerSchema`].
    pub async fn connect(url: &str) -> Result<PostgresStore, StoreError> {
        // A pool tries for as long as it may, and then tells only that it did; one connection says at once what is wrong.
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        PgConnection::connect(url).await.map_err(opened)?.close().await.map_err(opened)?;
        let pool = options().connect(url).await.map_err(opened)?;
        PostgresStore::with_pool(pool).await
    }

    /// Uses the application's own pool. Recording needs a connection at once: leave some that handlers do not take.
    /// [`close`](Store::close) closes it.
    ///
    /// # Errors
    /// As [`connect`](PostgresStore::connect); a server that cannot be reached is [`StoreError::Unavailable`].
    pub async fn with_pool(pool: PgPool) -> Result<PostgresStore, StoreError> {
        let store = PostgresStore::with_lazy_pool(pool);
        store.pool().await?;
        Ok(store)
    }

    /// Connects when it is first needed: for an application with a spool, which takes callbacks also
    /// when it is started while the server is away. Whatever [`connect`](PostgresStore::connect) would have refused fails then.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it is not a URL of PostgreSQL's.
    pub fn connect_lazy(url: &str) -> Result<PostgresStore, StoreError> {
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        Ok(PostgresStore::with_lazy_pool(options().connect_lazy(url).map_err(opened)?))
    }

    fn with_lazy_pool(pool: PgPool) -> PostgresStore {
        let hints = Arc::new(Hints::start((*pool.connect_options()).clone()));
        PostgresStore { pool, hints, hmac_key: Arc::default() }
    }

    /// The pool, once the schema is as it must be.
    async fn pool(&self) -> Result<&PgPool, StoreError> {
        self.hmac_key().await?;
        Ok(&self.pool)
    }

    async fn hmac_key(&self) -> Result<&[u8], StoreError> {
        Ok(self.hmac_key.get_or_try_init(|| open(&self.pool)).await?)
    }

    /// Listens at this server for other processes' hints, rather than where the callbacks are kept: say the server itself where
    /// that is a PgBouncer which pools transactions. Without, processes look for each other's callbacks once a second.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it is not a URL of PostgreSQL's.
    pub fn listening_at(self, url: &str) -> Result<PostgresStore, StoreError> {
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        let options: PgConnectOptions = url.parse().map_err(opened)?;
        Ok(PostgresStore { hints: Arc::new(Hints::start(options)), ..self })
    }

    async fn record_once(&self, batch: &[Received], hmac_key: &[u8]) -> sqlx::Result<Vec<Recorded>> {
        let mut tx = begin(&self.pool).await?;
        let recorded = record::record_all(&mut tx, batch, hmac_key).await?;
        // Only what was committed may be acknowledged.
        tx.commit().await?;
        Ok(recorded)
    }
}

fn options() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5))
}

/// After this long nothing is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the server may take over a batch before nobody waits for it any more.
const LONGEST: Duration = Duration::from_secs(10);

/// A transaction that waits for nobody for long: whoever has a lock may be a machine that is lost, and recording is one queue.
/// READ COMMITTED whatever the pool's own default is: what waited for somebody must see what they did. Tables are never read from
/// end to end: the server keeps a statement's plan, and one that was made while a table was nearly empty would read all of it for as
/// long as nobody has analyzed it since (measured: 900 callbacks a second in place of 20,000). Statements look rows up by lists of ids
/// and keys, whatever these are: planning them anew for each list costs, and finds nothing.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '3s';
                     SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// Begins one, in a task of its own: were its future dropped between the statement and the answer, sqlx 0.9 would give a
/// connection back to the pool with the transaction open.
async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let beginning = tokio::spawn(async move { pool.begin_with(BEGIN).await });
    beginning.await.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
}

/// A text as PostgreSQL takes it: without NUL, which JSON may have and its texts may not.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Whether it may go better the next time, on another connection.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // Serialization failure, deadlock, a lock that took too long; the server going down.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["40001", "40P01", "55P03", "57P01", "57P02"].contains(&&*code))
        }
        _ => false,
    }
}

fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "40P01")
}

#[async_trait]
impl Store for PostgresStore {
    async fn record(&self, batch: &[Received]) -> Result<Vec<Recorded>, StoreError> {
        let hmac_key = self.hmac_key().await?;
        let (began, mut tries) = (Instant::now(), 1);
        loop {
            match timeout(LONGEST, self.record_once(batch, hmac_key)).await {
                Ok(Ok(recorded)) => return Ok(recorded),
                Ok(Err(error)) if is_passing(&error) && tries < TRIES && began.elapsed() < PATIENCE => tries += 1,
                Ok(Err(error)) => return Err(store_error(error)),
                Err(_) => return Err(StoreError::Unavailable("the server does not answer".into())),
            }
        }
    }

    async fn decision(&self, kind: &Kind, key: &str, meaning: &Digest) -> Result<Option<String>, StoreError> {
        let hmac_key = self.hmac_key().await?;
        record::decision(&self.pool, hmac_key, kind, key, meaning).await.map_err(store_error)
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        work::claim(self.pool().await?, limit, lease).await.map_err(store_error)
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let pool = self.pool().await?;
        unlocked!(work::renew(pool, leases, lease)).map_err(store_error)
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let pool = self.pool().await?;
        unlocked!(work::settle(pool, batch)).map_err(store_error)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        work::sweep(self.pool().await?).await.map_err(store_error)
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        look::get(self.pool().await?, id).await.map_err(store_error)
    }

    async fn find(&self, names: &[(Kind, Private)]) -> Result<Vec<Entry>, StoreError> {
        look::find(self.pool().await?, names).await.map_err(store_error)
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        look::list(self.pool().await?, filter).await.map_err(store_error)
    }

    async fn reopen(&self, id: CallbackId, from: State, payment: Option<&Received>) -> Result<bool, StoreError> {
        let hmac_key = self.hmac_key().await?;
        let reopen = || async {
            let mut tx = begin(&self.pool).await?;
            let reopened = work::reopen(&mut tx, id, from).await?;
            if let Some(payment) = payment.filter(|_| reopened) {
                record::record_all(&mut tx, std::slice::from_ref(payment), hmac_key).await?;
            }
            tx.commit().await?;
            Ok(reopened)
        };
        unlocked!(reopen()).map_err(store_error)
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        work::dismiss(self.pool().await?, id).await.map_err(store_error)
    }

    async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        let hmac_key = self.hmac_key().await?;
        purge::purge(&self.pool, hmac_key, age).await.map_err(store_error)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        purge::trim_quarantine(self.pool().await?, rows, bytes).await.map_err(store_error)
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        look::depth(self.pool().await?).await.map_err(store_error)
    }

    fn announce(&self) {
        self.hints.send();
    }

    async fn announced(&self) {
        self.hints.heard().await;
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.hints.stop();
        // Closed at once; the wait is for connections that others have taken, and they may keep them.
        let _ = timeout(LONGEST, self.pool.close()).await;
        Ok(())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
