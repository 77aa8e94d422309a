//! PostgreSQL store for `mpesa-callbacks`, for several replicas of an application.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[macro_use]
mod retry;

mod open;

mod claim;

mod decisions;

mod record;

mod settle;

mod reclaim;

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
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use self::notify::Hints;
use self::open::{open, store_error};
use self::reclaim::ServerClock;
use self::record::Place;
use self::retry::{MAX_TRIES, RETRY_LOCK, RETRY_MAX_DELAY, RETRY_PERIOD, is_deadlock, is_transient};
use self::schema::Schema;
use self::session::Session;

/// Keeps callbacks in PostgreSQL 13 or newer, in a schema of its own. Default: `mpesa_callbacks`; see
/// [`in_schema`](PostgresStore::in_schema).
///
/// - **Replicas.** Any number of processes may use it at once, on any number of machines. Leases use the
///   server's clock.
/// - **Durability.** Recorded callbacks survive a power cut of the server. They survive its loss if a
///   synchronous standby is configured (`synchronous_standby_names`, and `synchronous_commit` not
///   `local`).
/// - **Connections.** A pool of 8, with an acquire timeout of 5 s, and 2 more for notifications between
///   processes, which also poll every second. For TLS, enable one of sqlx's `tls-…` features.
/// - **PgBouncer.** Version 1.21 or newer in transaction mode, with `max_prepared_statements` above 0 and
///   `ignore_startup_parameters = extra_float_digits`. Older versions mix up prepared statements: use
///   [`with_pool`](PostgresStore::with_pool) with a pool to the server itself. Notifications need
///   [`listening_at`](PostgresStore::listening_at).
/// - **Personal data.** The tables contain names and phone numbers. When bodies are purged, their keys
///   become HMACs under a random key in the same schema.
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
    /// HMAC key of purged rows; set when the schema was checked and migrated.
    hmac_key: Arc<OnceCell<Vec<u8>>>,
    /// Whether anything was purged, as far as this process knows.
    has_purged: Arc<AtomicBool>,
    /// Required owner of the schema; set when an inbox adopts it.
    owner: Arc<OnceLock<String>>,
    clock: Arc<ServerClock>,
}

impl PostgresStore {
    /// Connects and migrates the schema. Several processes may start at once.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the server cannot be reached; [`StoreError::NotDurable`] if `fsync` or
    /// `synchronous_commit` is off, or the server is a standby; [`StoreError::NewerSchema`].
    pub async fn connect(url: &str) -> Result<PostgresStore, StoreError> {
        // A pool retries until its timeout and hides the cause; one connection reports it at once.
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        PgConnection::connect(url).await.map_err(opened)?.close().await.map_err(opened)?;
        let pool = options().connect(url).await.map_err(opened)?;
        PostgresStore::with_pool(pool).await
    }

    /// Uses your own pool. Recording needs a connection at once: leave some that handlers
    /// do not take. [`close`](Store::close) closes the pool.
    ///
    /// # Errors
    /// As [`connect`](PostgresStore::connect); [`StoreError::Unavailable`] if the server cannot be
    /// reached.
    pub async fn with_pool(pool: PgPool) -> Result<PostgresStore, StoreError> {
        let store = PostgresStore::with_lazy_pool(pool);
        store.pool().await?;
        Ok(store)
    }

    /// Uses another schema than `mpesa_callbacks`, for several applications or environments on one
    /// database. It is created if it does not exist. Call this before any other method, as here:
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
    /// [`StoreError::Open`] for an invalid name. Valid: `a` to `z`, digits and `_`, at most 63
    /// characters, no digit first.
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

    /// Connects when a connection is first needed, for an application with a spool: it accepts callbacks
    /// even if it is started while the server is unavailable. Errors of
    /// [`connect`](PostgresStore::connect) occur then.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is not a PostgreSQL URL.
    pub fn connect_lazy(url: &str) -> Result<PostgresStore, StoreError> {
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        Ok(PostgresStore::with_lazy_pool(options().connect_lazy(url).map_err(opened)?))
    }

    /// Uses your own pool when a connection is first needed: see
    /// [`with_pool`](PostgresStore::with_pool) and [`connect_lazy`](PostgresStore::connect_lazy).
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

    /// Returns the pool after the schema was checked and migrated.
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

    /// Uses this server for notifications: the server itself, if the store is behind a PgBouncer in
    /// transaction mode. Otherwise processes only poll for each other's callbacks, every second.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is not a PostgreSQL URL.
    pub fn listening_at(self, url: &str) -> Result<PostgresStore, StoreError> {
        let opened = |error: sqlx::Error| StoreError::Open { place: "PostgreSQL".to_owned(), source: error.into() };
        let options: PgConnectOptions = url.parse().map_err(opened)?;
        Ok(PostgresStore { hints: Arc::new(Hints::start(options, self.schema.name())), ..self })
    }

    async fn record_once(&self, batch: &[Delivery], place: Place<'_>, is_again: bool) -> sqlx::Result<Vec<Recorded>> {
        let mut tx = Session::begin(&self.pool).await?;
        if is_again {
            // After a deadlock, one recorder at a time.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(RETRY_LOCK).execute(&mut *tx).await?;
        }
        let recorded = record::record_all(&mut tx, batch, place).await?;
        tx.commit().await?;
        Ok(recorded)
    }
}

fn options() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5))
}

/// Timeout for recording a batch, and for closing the pool.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// Replaces NUL, which JSON may contain and PostgreSQL's `text` may not.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Converts 32 bytes into a digest.
fn digest(bytes: Vec<u8>) -> Option<Digest> {
    <[u8; 32]>::try_from(bytes).ok().map(Digest::from)
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
        // The schema may have been opened before its owner was known.
        let mut tx = Session::begin(&self.pool).await.map_err(store_error)?;
        open::adopt(&mut tx, &self.schema, &wanted).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        let place = self.place().await?;
        let (began, mut tries, mut is_again) = (Instant::now(), 1, false);
        loop {
            let had_purged = place.has_purged();
            match timeout(RECORD_TIMEOUT, self.record_once(batch, place, is_again)).await {
                Ok(Ok(recorded)) => return Ok(recorded),
                // This try has found out that something was purged: see `Place::has_purged`.
                Ok(Err(_)) if !had_purged && place.has_purged() => {}
                Ok(Err(error)) if is_transient(&error) && tries < MAX_TRIES && began.elapsed() < RETRY_PERIOD => {
                    tries += 1;
                    is_again |= is_deadlock(&error);
                    sleep(RETRY_MAX_DELAY.mul_f64(fastrand::f64())).await;
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
        retry_on_deadlock!(settle::renew(pool, &self.schema, leases, lease)).map_err(store_error)
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        let pool = self.pool().await?;
        retry_on_deadlock!(settle::settle(pool, &self.schema, batch)).map_err(store_error)
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        let pool = self.pool().await?;
        retry_on_deadlock!(reclaim::reclaim_expired(pool, &self.schema, &self.clock)).map_err(store_error)
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
        retry_on_deadlock!(requeue()).map_err(store_error)
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

    async fn check_write(&self) -> Result<(), StoreError> {
        decisions::check_write(self.pool().await?, &self.schema).await.map_err(store_error)
    }

    fn notify_peers(&self) {
        self.hints.send();
    }

    async fn notified(&self) {
        self.hints.heard().await;
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.hints.stop();
        // The pool is closed at once. Connections that handlers have taken may stay open.
        let _ = timeout(RECORD_TIMEOUT, self.pool.close()).await;
        Ok(())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
