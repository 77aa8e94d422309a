//! The disk of the application's own database fills up. More attempts fail than the pool has
//! connections, every booking stays atomic, and every payment is booked once there is room again,
//! without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mpesa_callbacks::Backoff;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::MemoryStore;
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks_test_servers::{MariaDb, Postgres};
use mpesa_callbacks_tests::{Mounted, SECRET, Tmpfs, push, until_within};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

const DISK: usize = 16 << 20;

/// Bytes left free on the disk: enough for some of the payments.
const ROOM: usize = 1 << 19;

const PAYMENTS: usize = 40;

/// Rows that each payment writes.
const ROWS: usize = 25;

/// Bytes in each row. A row fits on a page: InnoDB stops the server when the disk has no room to
/// roll back a larger value (seen with MariaDB's `longblob` of 100 kB).
const BYTES: usize = 1500;

const CONNECTIONS: u32 = 4;

/// Timeout on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// Random, so that no database compresses them.
fn bytes() -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(BYTES).collect()
}

/// Books in three steps, the second of which needs room. Every other handler ignores its errors and
/// goes on.
macro_rules! booking {
    ($handlers:ident, $tx:ty, $before:literal, $filler:literal, $after:literal) => {
        struct $handlers(Arc<AtomicUsize>);

        #[mpesa_callbacks(no_timeouts)]
        impl $handlers {
            #[payment]
            async fn paid(&self, payment: Payment, tx: &mut $tx) -> sqlx::Result<()> {
                self.0.fetch_add(1, Ordering::SeqCst);
                sqlx::query($before).bind(&payment.receipt).execute(&mut **tx).await?;
                for _ in 0..ROWS {
                    let written = sqlx::query($filler).bind(bytes()).execute(&mut **tx).await;
                    if payment.receipt.ends_with(['0', '2', '4', '6', '8']) {
                        written?;
                    }
                }
                sqlx::query($after).bind(&payment.receipt).execute(&mut **tx).await.map(drop)
            }
        }
    };
}

booking!(
    OnSqlite,
    SqliteTx,
    "INSERT INTO begun (receipt) VALUES (?)",
    "INSERT INTO filler (bytes) VALUES (?)",
    "INSERT INTO ended (receipt) VALUES (?)"
);
booking!(
    OnPostgres,
    PgTx,
    "INSERT INTO begun (receipt) VALUES ($1)",
    "INSERT INTO filler (bytes) VALUES ($1)",
    "INSERT INTO ended (receipt) VALUES ($1)"
);
booking!(
    OnMySql,
    MySqlTx,
    "INSERT INTO begun (receipt) VALUES (?)",
    "INSERT INTO filler (bytes) VALUES (?)",
    "INSERT INTO ended (receipt) VALUES (?)"
);

/// Returns the booked receipts in order. Panics if one was begun and not ended, or the reverse.
macro_rules! booked {
    ($pool:expr) => {
        async || {
            let both = "SELECT 'begun', receipt FROM begun UNION ALL SELECT 'ended', receipt FROM ended ORDER BY 2, 1";
            let rows: Vec<(String, String)> = sqlx::query_as(both).fetch_all($pool).await.unwrap();
            for halves in rows.chunks(2) {
                assert!(halves.len() == 2 && halves[0].1 == halves[1].1 && halves[0].0 != halves[1].0, "{halves:?}");
            }
            rows.into_iter().step_by(2).map(|(_, receipt)| receipt).collect::<Vec<_>>()
        }
    };
}

async fn plays<H, L>(
    disk: &Tmpfs,
    handlers: impl FnOnce(Arc<AtomicUsize>) -> H,
    transactor: L,
    booked: impl AsyncFn() -> Vec<String>,
) where
    H: mpesa_callbacks::MpesaCallbacks<L::Tx> + 'static,
    L: mpesa_callbacks::transactor::Transactor,
{
    let attempts = Arc::new(AtomicUsize::new(0));
    let builder =
        Inbox::builder(handlers(attempts.clone())).store(MemoryStore::new()).transactor(transactor).secret(SECRET);
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    let builder = builder.counterpart_timeout(Duration::ZERO).max_retries(10_000).backoff(backoff);
    let mounted = Mounted::new(builder.start().await.unwrap());
    disk.fill_all_but(ROOM);
    let receipts: Vec<_> = (0..PAYMENTS).map(|number| format!("R{number:09}")).collect();
    for receipt in &receipts {
        let answer = mounted.post("/stk", push(&format!("ws_CO_{receipt}"), receipt, 10).into_bytes()).await;
        assert_eq!(answer.status, 200);
    }
    let connections = usize::try_from(CONNECTIONS).unwrap();
    until_within(LIMIT, "more attempts failed than the pool has connections", async || {
        attempts.load(Ordering::SeqCst) > PAYMENTS + connections * 5
    })
    .await;
    assert!(booked().await.len() < PAYMENTS, "there was room for all");
    disk.make_room();
    until_within(LIMIT, "all is booked", async || booked().await.len() >= PAYMENTS).await;
    assert_eq!(booked().await, receipts, "each once");
    mounted.inbox.shutdown(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let Some(disk) = Tmpfs::mount(DISK) else { return };
    let options = SqliteConnectOptions::new().filename(disk.path().join("shop.db")).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    // Too few pages for a booking: SQLite writes some before the commit, meets the full disk in the
    // middle of a handler, and rolls back by itself.
    let options = options.pragma("cache_size", "4");
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await.unwrap();
    let tables =
        "CREATE TABLE begun (receipt TEXT); CREATE TABLE filler (bytes BLOB); CREATE TABLE ended (receipt TEXT)";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    plays(&disk, OnSqlite, SqlxTransactor::new(pool.clone()), booked!(&pool)).await;
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let Some(server) = Postgres::shared() else { return };
    let Some(disk) = Tmpfs::mount(DISK) else { return };
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let space = disk.path().join("space");
    // PostgreSQL makes the directory itself: it must own it, and it runs as another user.
    let prepare = [
        format!("CREATE DATABASE {name}"),
        format!("COPY (SELECT 1) TO PROGRAM 'mkdir {}'", space.display()),
        format!("CREATE TABLESPACE small LOCATION '{}'", space.display()),
    ];
    for sql in prepare {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await.unwrap();
    let tables = "CREATE TABLE begun (receipt text); CREATE TABLE filler (bytes bytea) TABLESPACE small; CREATE TABLE ended (receipt text)";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    plays(&disk, OnPostgres, SqlxTransactor::new(pool.clone()), booked!(&pool)).await;
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb() {
    let Some(server) = MariaDb::shared() else { return };
    let Some(disk) = Tmpfs::mount(DISK) else { return };
    let (name, url) = server.next_database();
    let mut connection = MySqlConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await.unwrap();
    let filler = format!("CREATE TABLE filler (bytes varbinary(2000)) DATA DIRECTORY = '{}'", disk.path().display());
    for sql in ["CREATE TABLE begun (receipt varchar(20))", &filler, "CREATE TABLE ended (receipt varchar(20))"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap();
    }
    plays(&disk, OnMySql, SqlxTransactor::new(pool.clone()), booked!(&pool)).await;
    pool.close().await;
}
