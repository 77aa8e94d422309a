//! A store's clock runs two days ahead for a while and is then set back. Retries and expired leases
//! that were scheduled by the wrong time become due again, in minutes at most, not in two days.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mpesa_callbacks_core::store::{Claim, Claimed, Completion, Delivery, MemoryStore, Settlement, Store};
use mpesa_callbacks_core::{Clock, Kind};
use mpesa_callbacks_stores::postgres::PostgresStore;
use mpesa_callbacks_stores::sqlite::SqliteStore;
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};

const AHEAD: Duration = Duration::from_secs(48 * 60 * 60);
const SHORT: Duration = Duration::from_millis(50);

/// The machine's clock, and how many seconds it is ahead.
#[derive(Debug, Default)]
struct Stepped(AtomicU64);

impl Stepped {
    fn set_ahead(&self, by: Duration) {
        self.0.store(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Stepped {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

fn cancelled(key: &str) -> Delivery {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":1032,"ResultDesc":"cancelled"}}}}}}"#
    );
    Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
}

async fn claim(store: &dyn Store, limit: usize) -> Vec<Claimed> {
    store.claim(&Claim::new(&[Kind::Stk], limit, SHORT)).await.unwrap()
}

/// While the clock is ahead: one callback is to be retried, one is leased by a process that dies.
async fn schedule_ahead(store: &dyn Store) {
    store.record(&[cancelled("retried"), cancelled("leased")]).await.unwrap();
    let claimed = claim(store, 2).await;
    assert_eq!(claimed.len(), 2);
    let retried = claimed.iter().find(|claimed| claimed.key == "retried").expect("claimed");
    let retry = Completion::Retry { after: SHORT, error: "no bread".into() };
    store.settle(&[Settlement::new(retried.lease, retry)]).await.unwrap();
}

/// After it is set back: both are claimed again.
async fn is_due_again(store: &dyn Store) {
    tokio::time::sleep(SHORT * 2).await;
    assert!(claim(store, 2).await.is_empty(), "the clock was not ahead");
    let (started, mut claimed) = (Instant::now(), Vec::new());
    while claimed.len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(120), "only {claimed:?} are due again");
        store.reclaim_expired().await.unwrap();
        for one in claim(store, 2).await {
            store.settle(&[Settlement::new(one.lease, Completion::Done)]).await.unwrap();
            claimed.push(one.key.as_str().to_owned());
        }
        tokio::time::sleep(SHORT).await;
    }
    claimed.sort();
    assert_eq!(claimed, ["leased", "retried"]);
}

#[tokio::test]
async fn the_memory_store_recovers_from_a_clock_that_was_ahead() {
    let clock = Arc::new(Stepped::default());
    let store = MemoryStore::with_clock(clock.clone());
    clock.set_ahead(AHEAD);
    schedule_ahead(&store).await;
    clock.set_ahead(Duration::ZERO);
    is_due_again(&store).await;
}

#[tokio::test]
async fn sqlite_recovers_from_a_clock_that_was_ahead() {
    let (clock, directory) = (Arc::new(Stepped::default()), tempfile::tempdir().unwrap());
    let store = SqliteStore::open_with_clock(directory.path().join("inbox.db"), clock.clone()).unwrap();
    clock.set_ahead(AHEAD);
    schedule_ahead(&store).await;
    clock.set_ahead(Duration::ZERO);
    is_due_again(&store).await;
}

/// The server's clock cannot be set in a test: the function by which the store reads it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_recovers_from_a_server_clock_that_was_ahead() {
    let Some(server) = Postgres::shared() else { return };
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let clock = "CREATE TABLE mpesa_callbacks.ahead AS SELECT 0::bigint AS us;
        CREATE OR REPLACE FUNCTION mpesa_callbacks.now_us() RETURNS bigint LANGUAGE sql STABLE AS
        $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + us FROM mpesa_callbacks.ahead $$";
    sqlx::raw_sql(clock).execute(&mut connection).await.unwrap();
    let set_ahead = "UPDATE mpesa_callbacks.ahead SET us = $1";
    let ahead = i64::try_from(AHEAD.as_micros()).unwrap();
    sqlx::query(set_ahead).bind(ahead).execute(&mut connection).await.unwrap();
    schedule_ahead(&store).await;
    store.reclaim_expired().await.unwrap();
    sqlx::query(set_ahead).bind(0_i64).execute(&mut connection).await.unwrap();
    is_due_again(&store).await;
}
