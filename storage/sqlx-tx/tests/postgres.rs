//! The sqlx transactor on PostgreSQL keeps the contract.
#![cfg(feature = "postgres")]

use std::pin::Pin;
use std::sync::Arc;

use mpesa_callbacks_conformance::transactor::{TransactorBench, Writing};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};
use mpesa_callbacks_sqlx_tx::{PgTx, SqlxTransactor};
use mpesa_callbacks_test_servers::Postgres as Server;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres};

const ENDINGS: [&str; 2] = ["SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())"];

struct Bench {
    pool: PgPool,
    transactor: Arc<SqlxTransactor<Postgres>>,
}

impl Bench {
    /// In a database of its own.
    async fn new(server: &Server) -> Bench {
        let (name, url) = server.next_database();
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
        sqlx::raw_sql("CREATE TABLE effect (text text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            .execute(&pool)
            .await
            .unwrap();
        Bench { transactor: Arc::new(SqlxTransactor::new(pool.clone())), pool }
    }
}

impl TransactorBench for Bench {
    type Transactor = SqlxTransactor<Postgres>;

    fn transactor(&self) -> Arc<SqlxTransactor<Postgres>> {
        self.transactor.clone()
    }

    fn write<'a>(&'a self, tx: &'a mut PgTx, text: &'a str) -> Writing<'a> {
        Box::pin(async move {
            sqlx::query("INSERT INTO effect (text) VALUES ($1)").bind(text).execute(&mut **tx).await.is_ok()
        })
    }

    fn endings(&self) -> usize {
        ENDINGS.len()
    }

    fn end<'a>(&'a self, tx: &'a mut PgTx, way: usize) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let _ = sqlx::raw_sql(ENDINGS[way]).execute(&mut **tx).await;
        })
    }

    async fn count(&self, text: &str) -> u64 {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM effect WHERE text = $1")
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

async fn begun(bench: &Bench, key: &str) -> PgTx {
    match bench.transactor.begin(&IdempotencyKey::for_test(Kind::Stk, key)).await.unwrap() {
        BeginOutcome::New(tx) => tx,
        BeginOutcome::AlreadyApplied => panic!("it was never applied"),
    }
}

/// `COMMIT` after an error rolls back, and PostgreSQL calls it a success.
#[tokio::test]
async fn an_error_that_a_handler_swallowed_is_no_success() {
    let Some(server) = Server::shared() else { return };
    let bench = Bench::new(server).await;
    bench.transactor.prepare().await.unwrap();
    let mut tx = begun(&bench, "k").await;
    assert!(bench.write(&mut tx, "effect").await);
    assert!(sqlx::query("SELECT 1/0").execute(&mut *tx).await.is_err());
    assert!(matches!(bench.transactor.commit(tx).await, Err(TransactorError::Refused(_))));
    assert_eq!(bench.count("effect").await, 0);
    // And it is run again.
    let mut tx = begun(&bench, "k").await;
    assert!(bench.write(&mut tx, "effect").await);
    bench.transactor.commit(tx).await.unwrap();
    assert_eq!(bench.count("effect").await, 1);
}

#[tokio::test]
async fn a_constraint_that_is_broken_at_the_commit_is_the_handlers_fault() {
    let Some(server) = Server::shared() else { return };
    let bench = Bench::new(server).await;
    bench.transactor.prepare().await.unwrap();
    let mut tx = begun(&bench, "k").await;
    assert!(bench.write(&mut tx, "twice").await);
    assert!(bench.write(&mut tx, "twice").await);
    assert!(matches!(bench.transactor.commit(tx).await, Err(TransactorError::Refused(_))));
    assert_eq!(bench.count("twice").await, 0);
}

#[tokio::test]
async fn a_server_that_forgets_what_it_confirmed_is_refused() {
    for (setting, name) in [("fsync=off", "fsync"), ("synchronous_commit=off", "synchronous_commit")] {
        let Some(server) = Server::start(&[setting]) else { return };
        let pool = PgPool::connect(&server.url()).await.unwrap();
        let refused = SqlxTransactor::new(pool).prepare().await.unwrap_err();
        assert!(matches!(refused, TransactorError::NotDurable { setting, .. } if setting == name), "{refused}");
    }
}
