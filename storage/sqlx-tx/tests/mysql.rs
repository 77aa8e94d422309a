//! The sqlx transactor on MySQL keeps the contract; shown on MariaDB.
#![cfg(feature = "mysql")]

use std::pin::Pin;
use std::sync::Arc;

use mpesa_callbacks_conformance::transactor::{TransactorBench, Writing};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use mpesa_callbacks_sqlx_tx::{MySqlTx, SqlxTransactor};
use mpesa_callbacks_test_servers::MariaDb as Server;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{Connection, MySql, MySqlConnection, MySqlPool};

/// The last one stands for a deadlock: MySQL ends the transaction, and the connection goes on without one.
const ENDINGS: [&str; 2] = ["KILL CONNECTION_ID()", "ROLLBACK"];

struct Bench {
    pool: MySqlPool,
    transactor: Arc<SqlxTransactor<MySql>>,
}

impl Bench {
    /// In a database of its own.
    async fn new(server: &Server) -> Bench {
        let (name, url) = server.next_database();
        let mut connection = MySqlConnection::connect(&server.url()).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let pool = MySqlPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
        sqlx::raw_sql("CREATE TABLE effect (text varchar(255)); CREATE TABLE shelf (id int PRIMARY KEY, stock int)")
            .execute(&pool)
            .await
            .unwrap();
        sqlx::raw_sql("INSERT INTO shelf VALUES (1, 0), (2, 0)").execute(&pool).await.unwrap();
        Bench { transactor: Arc::new(SqlxTransactor::new(pool.clone())), pool }
    }
}

impl TransactorBench for Bench {
    type Transactor = SqlxTransactor<MySql>;

    fn transactor(&self) -> Arc<SqlxTransactor<MySql>> {
        self.transactor.clone()
    }

    fn write<'a>(&'a self, tx: &'a mut MySqlTx, text: &'a str) -> Writing<'a> {
        Box::pin(async move {
            sqlx::query("INSERT INTO effect (text) VALUES (?)").bind(text).execute(&mut **tx).await.is_ok()
        })
    }

    fn endings(&self) -> usize {
        ENDINGS.len()
    }

    fn end<'a>(&'a self, tx: &'a mut MySqlTx, way: usize) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let _ = sqlx::raw_sql(ENDINGS[way]).execute(&mut **tx).await;
        })
    }

    async fn count(&self, text: &str) -> u64 {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM effect WHERE text = ?")
            .bind(text)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        count.unsigned_abs()
    }
}

mpesa_callbacks_conformance::transactor_tests!(match Server::shared() {
    Some(server) => Bench::new(server).await,
    None => return,
});

async fn begun(bench: &Bench, key: &str) -> MySqlTx {
    match bench.transactor.begin(&IdempotencyKey::for_test(Kind::Stk, key)).await.unwrap() {
        BeginOutcome::New(tx) => tx,
        BeginOutcome::AlreadyApplied => panic!("it was never applied"),
    }
}

/// After a deadlock the transaction is gone, mark and all, and MySQL goes on as if nothing were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_goes_on_after_a_deadlock_is_run_again() {
    let Some(server) = Server::shared() else { return };
    let bench = Bench::new(server).await;
    bench.transactor.prepare().await.unwrap();
    let take = |id: i32| sqlx::query("UPDATE shelf SET stock = stock + 1 WHERE id = ?").bind(id);
    let mut tx = begun(&bench, "k").await;
    take(1).execute(&mut *tx).await.unwrap();
    let mut other = bench.pool.begin().await.unwrap();
    // The heavier one survives.
    for _ in 0..100 {
        sqlx::query("INSERT INTO effect (text) VALUES ('heavy')").execute(&mut *other).await.unwrap();
    }
    take(2).execute(&mut *other).await.unwrap();
    let other = tokio::spawn(async move {
        take(1).execute(&mut *other).await.unwrap();
        other.rollback().await.unwrap();
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let broken = take(2).execute(&mut *tx).await;
    assert!(broken.is_err_and(|error| error.to_string().contains("Deadlock")));
    other.await.unwrap();
    assert!(matches!(bench.transactor.commit(tx).await, Err(TransactorError::Refused(_))));
    let mut tx = begun(&bench, "k").await;
    assert!(bench.write(&mut tx, "effect").await);
    bench.transactor.commit(tx).await.unwrap();
    assert_eq!(bench.count("effect").await, 1);
}

#[tokio::test]
async fn waiting_for_a_mark_leaves_the_connection_as_it_was() {
    let Some(server) = Server::shared() else { return };
    let bench = Bench::new(server).await;
    bench.transactor.prepare().await.unwrap();
    let first = begun(&bench, "k").await;
    let second = bench.transactor.begin(&IdempotencyKey::for_test(Kind::Stk, "k")).await;
    assert!(matches!(second, Err(TransactorError::Unavailable(_))), "{second:?}");
    bench.transactor.rollback(first).await.unwrap();
    for _ in 0..8 {
        let wait: u64 = sqlx::query_scalar("SELECT CAST(@@innodb_lock_wait_timeout AS UNSIGNED)")
            .fetch_one(&bench.pool)
            .await
            .unwrap();
        assert!(wait > 2, "{wait}");
    }
}

#[tokio::test]
async fn a_server_that_forgets_what_it_confirmed_is_refused() {
    for (options, name) in [
        (&["innodb-flush-log-at-trx-commit=2"][..], "innodb_flush_log_at_trx_commit"),
        (&["log-bin", "sync-binlog=0"], "sync_binlog"),
    ] {
        let Some(server) = Server::start(options) else { return };
        let pool = MySqlPool::connect(&server.url()).await.unwrap();
        let refused = SqlxTransactor::new(pool).prepare().await.unwrap_err();
        assert!(matches!(refused, TransactorError::NotDurable { setting, .. } if setting == name), "{refused}");
    }
}
