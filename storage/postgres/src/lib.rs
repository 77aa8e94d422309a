//! PostgreSQL: for several replicas of an application, and for those who run one anyway.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

/// Does it again when the server chose it to break a deadlock: all of it was rolled back then. (A function that takes an async closure
/// would make futures that are not `Send`.)
macro_rules! unlocked {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work.await {
                Err(error) if $crate::is_deadlock(&error) && tries < $crate::TRIES => {
                    tries += 1;
                    tokio::time::sleep($crate::APART.mul_f64(fastrand::f64())).await;
                }
                done => break done,
            }
        }
    }};
}

mod open;

mod claim;

mod decisions;

mod record;

mod settle;

mod sweep;

mod queries;

mod purge;

mod notify;

mod schema;

mod session;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue, Requeued,
    SettleResult, Settlement, StateCounts, Store, StoreError, Waiting,
};
use sqlx::Connection;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use self::notify::Hints;
use self::open::{open, store_error};
use self::record::Place;
use self::schema::Schema;
use self::session::Session;
use self::sweep::ServerClock;

/// Keeps callbacks in PostgreSQL 13 or newer, in a schema of its own, `mpesa_callbacks` unless [another](PostgresStore::in_schema) is
/// chosen.
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
/// let store = mpesa_callbacks_postgres::PostgresStore::connect("postgres://shop@localhost/shop").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    schema: Arc<Schema>,
    hints: Arc<Hints>,
    /// The key under which purged keys are hidden, once the schema was looked at, and brought up to date.
    hmac_key: Arc<OnceCell<Vec<u8>>>,
    /// Whether anything was purged, as far as this process knows.
    has_purged: Arc<AtomicBool>,
    /// Whose the schema must be, once an inbox has asked for it.
    owner: Arc<OnceLock<String>>,
    clock: Arc<ServerClock>,
}

/// How often a transaction is tried that the server broke off: a deadlock, a connection that was cut. Repeating is safe, because what
/// was committed after all is found by its digest.
const TRIES: u32 = 20;

/// How long to wait before the next try at most: those who met in a circle must not meet again.
const APART: Duration = Duration::from_millis(25);

/// At which those who try again wait for one another: `MPCR`.
const AGAIN: i64 = 0x4d50_4352;

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

    /// Keeps callbacks in another schema than `mpesa_callbacks`: for several applications, or environments, on one database.
    /// It is created with the tables, unless it is there. Say it before anything else is asked of the store, as here:
    ///
    /// ```no_run
    /// # fn example() -> Result<(), mpesa_callbacks_core::store::StoreError> {
    /// use mpesa_callbacks_postgres::PostgresStore;
    ///
    /// let store = PostgresStore::connect_lazy("postgres://shop@localhost/shop")?.in_schema("shop_callbacks")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Open`] when it is no name: letters `a` to `z`, digits and `_`, at most 63 of them, no digit first.
    pub fn in_schema(self, name: &str) -> Result<PostgresStore, StoreError> {
        let schema = Arc::new(Schema::new(name)?);
        let hints = Arc::new(Hints::start((*self.pool.connect_options()).clone(), schema.name()));
        Ok(PostgresStore {
            pool: self.pool,
            schema,
            hints,
            hmac_key: Arc::default(),
            has_purged: Arc::default(),
            owner: Arc::default(),
            clock: self.clock,
        })
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

    /// Uses the application's own pool when it is first needed: see [`with_pool`](PostgresStore::with_pool) and
    /// [`connect_lazy`](PostgresStore::connect_lazy).
    pub fn with_lazy_pool(pool: PgPool) -> PostgresStore {
        let schema = Arc::new(Schema::default());
        let hints = Arc::new(Hints::start((*pool.connect_options()).clone(), schema.name()));
        let clock = Arc::new(ServerClock::new());
        PostgresStore {
            pool,
            schema,
            hints,
            hmac_key: Arc::default(),
            has_purged: Arc::default(),
            owner: Arc::default(),
            clock,
        }
    }

    /// The pool, once the schema is as it must be.
    async fn pool(&self) -> Result<&PgPool, StoreError> {
        self.hmac_key().await?;
        Ok(&self.pool)
    }

    async fn hmac_key(&self) -> Result<&[u8], StoreError> {
        let open = || open(&self.pool, &self.schema, self.owner.get().map(String::as_str), &self.has_purged);
        Ok(self.hmac_key.get_or_try_init(open).await?)
    }

    async fn place(&self) -> Result<Place<'_>, StoreError> {
        let hmac_key = self.hmac_key().await?;
        Ok(Place { schema: &self.schema, hmac_key, has_purged: &self.has_purged })
    }

    /// Listens at this server for other processes' hints, rather than where the callbacks are kept: say the server itself where
    /// that is a PgBouncer which pools transactions. Without, processes look for each other's callbacks once a second.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it is not a URL of PostgreSQL's.
    pub fn listening_at(self, url: &str) -> Result<PostgresStore, StoreError> {
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        let options: PgConnectOptions = url.parse().map_err(opened)?;
        Ok(PostgresStore { hints: Arc::new(Hints::start(options, self.schema.name())), ..self })
    }

    async fn record_once(&self, batch: &[Delivery], place: Place<'_>, is_again: bool) -> sqlx::Result<Vec<Recorded>> {
        let mut tx = Session::begin(&self.pool).await?;
        if is_again {
            // Those who met in a circle go one after the other: each has locked what the others then ask for.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(AGAIN).execute(&mut *tx).await?;
        }
        let recorded = record::record_all(&mut tx, batch, place).await?;
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

/// A text as PostgreSQL takes it: without NUL, which JSON may have and its texts may not.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A digest, when the bytes are one.
fn digest(bytes: Vec<u8>) -> Option<Digest> {
    <[u8; 32]>::try_from(bytes).ok().map(Digest::from)
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
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        let wanted = self.owner.get_or_init(|| owner.to_text()).clone();
        if wanted != owner.to_text() {
            let place = format!("the schema `{}`", self.schema.name());
            return Err(StoreError::OtherOwner { place, found: wanted, wanted: owner.to_text() });
        }
        self.hmac_key().await?;
        // It may have been opened before anybody said whose it is.
        let mut tx = Session::begin(&self.pool).await.map_err(store_error)?;
        open::adopt(&mut tx, &self.schema, &wanted).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        let place = self.place().await?;
        let (began, mut tries, mut is_again) = (Instant::now(), 1, false);
        loop {
            let had_purged = place.has_purged();
            match timeout(LONGEST, self.record_once(batch, place, is_again)).await {
                Ok(Ok(recorded)) => return Ok(recorded),
                // Found out by this very try: see `Place::has_purged`.
                Ok(Err(_)) if !had_purged && place.has_purged() => {}
                Ok(Err(error)) if is_passing(&error) && tries < TRIES && began.elapsed() < PATIENCE => {
                    tries += 1;
                    is_again |= is_deadlock(&error);
                    sleep(APART.mul_f64(fastrand::f64())).await;
                }
                Ok(Err(error)) => return Err(store_error(error)),
                Err(_) => return Err(StoreError::Unavailable("the server does not answer".into())),
            }
        }
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        record::find_decision(&self.pool, self.place().await?, kind, key, content_digest).await.map_err(store_error)
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        claim::claim(&self.pool, self.place().await?, claim).await.map_err(store_error)
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let pool = self.pool().await?;
        unlocked!(settle::renew(pool, &self.schema, leases, lease)).map_err(store_error)
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        let pool = self.pool().await?;
        unlocked!(settle::settle(pool, &self.schema, batch)).map_err(store_error)
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        let pool = self.pool().await?;
        unlocked!(sweep::sweep(pool, &self.schema, &self.clock)).map_err(store_error)
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        queries::get(self.pool().await?, &self.schema, id).await.map_err(store_error)
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        let hmac_key = self.hmac_key().await?;
        queries::find(&self.pool, &self.schema, hmac_key, lookups).await.map_err(store_error)
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        queries::list(self.pool().await?, &self.schema, filter).await.map_err(store_error)
    }

    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        let place = self.place().await?;
        let requeue = || async {
            let mut tx = Session::begin(&self.pool).await?;
            let mut reopened = None;
            if decisions::requeue(&mut tx, place.schema, id, reopening).await? {
                let payment = match reopening.payment {
                    Some(payment) => record::record_all(&mut tx, std::slice::from_ref(payment), place).await?.pop(),
                    None => None,
                };
                reopened = Some(Requeued::new(payment.map(|payment| (payment.id, payment.verdict))));
            }
            tx.commit().await?;
            Ok(reopened)
        };
        unlocked!(requeue()).map_err(store_error)
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        decisions::dismiss(self.pool().await?, &self.schema, id).await.map_err(store_error)
    }

    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError> {
        let hmac_key = self.hmac_key().await?;
        self.has_purged.store(true, Ordering::Relaxed);
        purge::purge(&self.pool, &self.schema, hmac_key, age, extent).await.map_err(store_error)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        purge::trim_quarantine(self.pool().await?, &self.schema, rows, bytes).await.map_err(store_error)
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        queries::depth(self.pool().await?, &self.schema).await.map_err(store_error)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        queries::waiting(self.pool().await?, &self.schema).await.map_err(store_error)
    }

    fn notify_peers(&self) {
        self.hints.send();
    }

    async fn notified(&self) {
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
