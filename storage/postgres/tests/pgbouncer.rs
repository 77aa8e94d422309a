//! The contract again, through a PgBouncer that gives a connection away with each transaction.

use std::sync::LazyLock;

use mpesa_callbacks_postgres::PostgresStore;
use mpesa_callbacks_test_servers::{PgBouncer, Postgres};
use sqlx::{Connection, PgConnection};

/// One for all tests, in front of the cluster that they share.
static BOUNCER: LazyLock<Option<(&'static Postgres, PgBouncer)>> = LazyLock::new(|| {
    let server = Postgres::shared()?;
    Some((server, PgBouncer::before(server)?))
});

/// A store in a database of its own; it hears other processes' hints at the server itself.
async fn store((server, bouncer): &(&'static Postgres, PgBouncer)) -> PostgresStore {
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let pooled = url.replace(&server.port().to_string(), &bouncer.port().to_string());
    PostgresStore::connect(&pooled).await.unwrap().listening_at(&url).unwrap()
}

mpesa_callbacks_conformance::store_tests!(match &*BOUNCER {
    Some(bouncer) => store(bouncer).await,
    None => return,
});
