//! A database server that goes silent without closing its connections, as a machine does that lost
//! its power, must not stop an inbox for good once it is back.

use std::time::Duration;

use mpesa_callbacks::Backoff;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{PostgresStore, State};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks_test_servers::{Postgres, Proxy};
use mpesa_callbacks_tests::{Mounted, SECRET, push, until_within};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// How long it may take until everything has noticed.
const NOTICED: Duration = Duration::from_mins(3);

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, payment: Payment, tx: &mut PgTx) -> Result<(), sqlx::Error> {
        // Long enough to be in the middle of it when the server goes silent.
        sqlx::query("SELECT pg_sleep(0.3)").execute(&mut **tx).await?;
        sqlx::query("INSERT INTO effect (receipt) VALUES ($1)")
            .bind(payment.receipt.as_str())
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

#[tokio::test]
async fn an_inbox_goes_on_after_its_server_was_silent() {
    let Some(server) = Postgres::start(&[]) else { return };
    let (name, _) = server.next_database();
    let all = PgPool::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&all).await.unwrap();
    let direct = PgPool::connect_with((*all.connect_options()).clone().database(&name)).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effect (receipt text NOT NULL)").execute(&direct).await.unwrap();

    let proxy = Proxy::before(server.port()).await;
    let options = (*direct.connect_options()).clone().host("127.0.0.1").port(proxy.port());
    let pool = |size| PgPoolOptions::new().max_connections(size).acquire_timeout(Duration::from_secs(1));
    let transactions = pool(1).connect_with(options.clone()).await.unwrap();
    let store = PostgresStore::with_pool(pool(2).connect_with(options).await.unwrap()).await.unwrap();
    let inbox = Inbox::builder(Shop)
        .store(store)
        .transactor(SqlxTransactor::new(transactions))
        .secret(SECRET)
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(50)))
        .lease(Duration::from_secs(3))
        .lease_check_interval(Duration::from_millis(100));
    let mounted = Mounted::new(inbox.start().await.unwrap());

    // More often than either pool has connections.
    for round in 0..3 {
        for number in 0..3 {
            let body = push(&format!("ws_{round}_{number}"), &format!("RCPT{round}{number}"), 100);
            until_within(NOTICED, "acknowledged", async || mounted.post("/stk", body.clone()).await.status == 200)
                .await;
        }
        proxy.silence();
    }
    until_within(NOTICED, "all are done", async || {
        // Queried on a connection of its own: those of the inbox may still be silent.
        let open = "SELECT count(*) FROM mpesa_callbacks.work WHERE state <> 2";
        sqlx::query_scalar::<_, i64>(open).fetch_one(&direct).await.unwrap() == 0
    })
    .await;
    let effects: Vec<String> =
        sqlx::query_scalar("SELECT receipt FROM effect ORDER BY receipt").fetch_all(&direct).await.unwrap();
    assert_eq!(effects.len(), 9, "each once: {effects:?}");
    assert!(mounted.entries().await.iter().all(|entry| entry.state == State::Done));
}
