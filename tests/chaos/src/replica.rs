//! One replica: an ordinary application whose handlers sometimes fail, are slow or panic.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{PostgresStore, SqliteSpool, SqliteStore};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks::{Backoff, Clock, InboxBuilder, MpesaCallbacks};
use tokio::time::sleep;

use crate::place::Place;
use crate::serving::Framework;

/// The secret of all replicas.
pub const SECRET: &str = "00112233445566778899aabbccddeeff";

/// The arguments of a replica.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Its store.
    #[arg(long)]
    pub place: String,
    /// Where it listens, on 127.0.0.1.
    #[arg(long)]
    pub port: u16,
    /// For how long it has a callback, in milliseconds.
    #[arg(long)]
    pub lease: u64,
    /// Where callbacks go while the store is away.
    #[arg(long)]
    pub spool: Option<PathBuf>,
    /// Handlers succeed at once.
    #[arg(long)]
    pub good: bool,
    /// Handlers never end.
    #[arg(long)]
    pub hangs: bool,
    /// The newer release: it books by payments, and not by pushes.
    #[arg(long)]
    pub payments: bool,
    /// The web framework that serves it.
    #[arg(long, default_value = "axum")]
    pub framework: Framework,
}

/// How handlers misbehave.
#[derive(Clone, Copy, Debug)]
struct Mood {
    lease: Duration,
    good: bool,
    hangs: bool,
}

impl Mood {
    /// Of a thousand attempts fifty fail after they have written, two take longer than a lease, and two panic.
    async fn shows(self, ctx: &CallbackContext) -> Result<(), Trouble> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let mut hasher = DefaultHasher::new();
        (ctx.key(), ctx.attempt()).hash(&mut hasher);
        match hasher.finish() % 1000 {
            _ if self.good => {}
            0..50 => return Err(Trouble::Failed),
            50..52 => sleep(self.lease * 3 / 2).await,
            52..54 => panic!("a handler panics"),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Trouble {
    Failed,
    Database(sqlx::Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Failed => f.write_str("failed"),
            Trouble::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

/// Whether a payment is welcome: some merchants take their time, and some take too much.
async fn decide(request: &C2bValidation) -> Validation {
    sleep(thinks(&request.trans_id)).await;
    Validation::accept()
}

/// How long the merchant thinks about this payment: up to five seconds.
pub fn thinks(trans_id: &str) -> Duration {
    Duration::from_millis(trans_id.bytes().map(u64::from).sum::<u64>() * 7 % 50 * 100)
}

/// Records the money of a receipt; the same in every version.
async fn book_on_sqlite(tx: &mut SqliteTx, receipt: &str) -> Result<(), Trouble> {
    let write = sqlx::query("INSERT INTO effect (receipt) VALUES (?)").bind(receipt);
    write.execute(&mut **tx).await.map(drop).map_err(Trouble::Database)
}

/// The same.
async fn book_on_postgres(tx: &mut PgTx, receipt: &str) -> Result<(), Trouble> {
    let write = sqlx::query("INSERT INTO effect (receipt) VALUES ($1)").bind(receipt);
    write.execute(&mut **tx).await.map(drop).map_err(Trouble::Database)
}

/// The older release, which books by pushes.
struct OnSqlite(Mood);

#[mpesa_callbacks]
impl OnSqlite {
    #[stk]
    async fn pushed(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), Trouble> {
        if let Some(receipt) = &callback.receipt {
            book_on_sqlite(tx, receipt).await?;
        }
        self.0.shows(ctx).await
    }

    #[c2b_validation(timeout = "1s")]
    async fn check(&self, request: C2bValidation) -> Validation {
        decide(&request).await
    }
}

/// The newer release, which books by payments.
struct PaymentsOnSqlite(Mood);

#[mpesa_callbacks]
impl PaymentsOnSqlite {
    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), Trouble> {
        book_on_sqlite(tx, &payment.receipt).await?;
        self.0.shows(ctx).await
    }
}

/// The older release on PostgreSQL.
struct OnPostgres(Mood);

#[mpesa_callbacks]
impl OnPostgres {
    #[stk]
    async fn pushed(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut PgTx) -> Result<(), Trouble> {
        if let Some(receipt) = &callback.receipt {
            book_on_postgres(tx, receipt).await?;
        }
        self.0.shows(ctx).await
    }

    #[c2b_validation(timeout = "1s")]
    async fn check(&self, request: C2bValidation) -> Validation {
        decide(&request).await
    }
}

/// The newer release on PostgreSQL.
struct PaymentsOnPostgres(Mood);

#[mpesa_callbacks]
impl PaymentsOnPostgres {
    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext, tx: &mut PgTx) -> Result<(), Trouble> {
        book_on_postgres(tx, &payment.receipt).await?;
        self.0.shows(ctx).await
    }
}

/// A clock that is set an hour forth and back every few seconds. Leases use the clock of the store.
#[derive(Debug)]
struct Unsteady;

impl Clock for Unsteady {
    fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match seconds / 3 % 3 {
            0 => now,
            1 => now + Duration::from_hours(1),
            _ => now - Duration::from_hours(1),
        }
    }
}

/// Runs until SIGTERM, or until it is killed.
///
/// # Errors
/// When it cannot start.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mood = Mood { lease: Duration::from_millis(options.lease), good: options.good, hangs: options.hangs };
    let inbox = match Place::parse(&options.place) {
        place @ Place::Sqlite(_) => {
            let Place::Sqlite(directory) = &place else { unreachable!("it was just looked at") };
            let store = SqliteStore::open(directory.join("inbox.db"))?;
            let transactor = SqlxTransactor::new(place.sqlite().await?);
            match options.payments {
                false => start(Inbox::builder(OnSqlite(mood)).store(store).transactor(transactor), &options).await?,
                true => {
                    start(Inbox::builder(PaymentsOnSqlite(mood)).store(store).transactor(transactor), &options).await?
                }
            }
        }
        place @ Place::Postgres(_) => {
            let store = PostgresStore::connect(&place.argument()).await?;
            let transactor = SqlxTransactor::new(place.postgres().await?);
            match options.payments {
                false => start(Inbox::builder(OnPostgres(mood)).store(store).transactor(transactor), &options).await?,
                true => {
                    start(Inbox::builder(PaymentsOnPostgres(mood)).store(store).transactor(transactor), &options)
                        .await?
                }
            }
        }
    };
    options.framework.serve(inbox, options.port).await
}

async fn start<H, L>(builder: InboxBuilder<H, L>, options: &Options) -> anyhow::Result<Inbox>
where
    H: MpesaCallbacks<L::Tx> + 'static,
    L: mpesa_callbacks::transactor::Transactor,
{
    let lease = Duration::from_millis(options.lease);
    let mut builder = builder
        .name("chaos")
        .secret(SECRET)
        .counterpart_timeout(Duration::from_millis(50))
        .clock(Arc::new(Unsteady))
        .lease(lease)
        .lease_check_interval(lease / 6)
        .max_retries(10_000)
        .recording_timeout(Duration::from_secs(2))
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(200)));
    if let Some(spool) = &options.spool {
        builder = builder.spool(SqliteSpool::open(spool)?);
    }
    Ok(builder.start().await?)
}
