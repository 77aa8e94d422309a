//! The sqlx transactor on SQLite keeps the contract.
#![cfg(feature = "sqlite")]

use std::pin::Pin;
use std::sync::Arc;

use mpesa_callbacks_conformance::transactor::{TransactorBench, Writing};
use mpesa_callbacks_sqlx_tx::{SqliteTx, SqlxTransactor};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool};

/// The last one stands for a full disk, too: SQLite ends the transaction, and the connection goes on without one.
const ENDINGS: [&str; 4] =
    ["INSERT OR ROLLBACK INTO shelf (id) VALUES (1)", "INSERT INTO shelf (id) VALUES (13)", "COMMIT", "ROLLBACK"];

struct Bench {
    pool: SqlitePool,
    transactor: Arc<SqlxTransactor<Sqlite>>,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE effect (text TEXT);
             CREATE TABLE shelf (id INTEGER PRIMARY KEY);
             INSERT INTO shelf VALUES (1);
             CREATE TRIGGER unlucky BEFORE INSERT ON shelf WHEN NEW.id = 13 BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
        )
        .execute(&pool)
        .await
        .unwrap();
        Bench { transactor: Arc::new(SqlxTransactor::new(pool.clone())), pool, _directory: directory }
    }
}

impl TransactorBench for Bench {
    type Transactor = SqlxTransactor<Sqlite>;

    fn transactor(&self) -> Arc<SqlxTransactor<Sqlite>> {
        self.transactor.clone()
    }

    fn write<'a>(&'a self, tx: &'a mut SqliteTx, text: &'a str) -> Writing<'a> {
        Box::pin(async move {
            sqlx::query("INSERT INTO effect (text) VALUES (?)").bind(text).execute(&mut **tx).await.is_ok()
        })
    }

    fn endings(&self) -> usize {
        ENDINGS.len()
    }

    fn end<'a>(&'a self, tx: &'a mut SqliteTx, way: usize) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
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

mpesa_callbacks_conformance::transactor_tests!(Bench::new().await);
