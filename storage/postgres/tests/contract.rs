//! The PostgreSQL store keeps the contract.

use mpesa_callbacks_postgres::PostgresStore;
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};

/// A store in a database of its own.
async fn store(server: &Postgres) -> PostgresStore {
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    PostgresStore::connect(&url).await.unwrap()
}

mpesa_callbacks_conformance::store_tests!(match Postgres::shared() {
    Some(server) => store(server).await,
    None => return,
});
