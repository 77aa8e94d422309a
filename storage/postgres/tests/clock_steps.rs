//! The server's clock is set back. A test cannot set it, so it replaces the function by which the store reads it.

use std::sync::Arc;
use std::time::Duration;

use mpesa_callbacks_conformance::store::clock_steps::rows_scheduled_by_a_clock_that_was_ahead_are_rescheduled;
use mpesa_callbacks_postgres::PostgresStore;
use mpesa_callbacks_test_servers::Postgres;
use sqlx::postgres::PgPoolOptions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_recovers_from_a_server_clock_that_was_ahead() {
    let Some(server) = Postgres::shared() else { return };
    let (name, url) = server.next_database();
    let pool = PgPoolOptions::new().connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let pool = PgPoolOptions::new().connect(&url).await.unwrap();
    let clock = "CREATE TABLE mpesa_callbacks.ahead AS SELECT 0::bigint AS us;
        CREATE OR REPLACE FUNCTION mpesa_callbacks.now_us() RETURNS bigint LANGUAGE sql STABLE AS
        $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + us FROM mpesa_callbacks.ahead $$";
    sqlx::raw_sql(clock).execute(&pool).await.unwrap();
    let set_ahead = async |by: Duration| {
        let micros = i64::try_from(by.as_micros()).unwrap();
        sqlx::query("UPDATE mpesa_callbacks.ahead SET us = $1").bind(micros).execute(&pool).await.unwrap();
    };
    rows_scheduled_by_a_clock_that_was_ahead_are_rescheduled(Arc::new(store), set_ahead).await;
}
