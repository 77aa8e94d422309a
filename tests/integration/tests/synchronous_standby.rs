//! A synchronous standby is away, and the wait of a commit is cut short: the row is there, on one disk.
//! Nothing may be confirmed by it before a commit has waited.

use std::time::{Duration, SystemTime};

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Delivery, PostgresStore, Store, Verdict};
use mpesa_callbacks::transactor::{BeginOutcome, IdempotencyKey, SqlxTransactor, Transactor};
use mpesa_callbacks_test_servers::{MariaDb, Postgres};
use mpesa_callbacks_tests::until;
use sqlx::{MySqlPool, PgPool};

/// A PostgreSQL whose commits can be made to wait.
struct Primary {
    _server: Postgres,
    /// Whose own commits wait for nothing.
    control: PgPool,
    url: String,
}

impl Primary {
    async fn start() -> Option<Primary> {
        let server = Postgres::start(&[])?;
        let url = server.url();
        let control = PgPool::connect_with(url.parse().unwrap()).await.unwrap();
        Some(Primary { _server: server, control, url })
    }

    async fn set_standby(&self, name: &str) {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&self.control).await.unwrap();
        sqlx::query("SELECT pg_reload_conf()").execute(&self.control).await.unwrap();
    }

    /// From now on commits wait for a standby that does not exist.
    async fn lose_standby(&self) {
        self.set_standby("away").await;
        until("commits wait", async || {
            let url = self.url.clone();
            tokio::spawn(async move {
                let probe = PgPool::connect(&url).await.unwrap();
                let write = "SELECT pg_logical_emit_message(true, 'probe', '')";
                let _ = sqlx::query(write).execute(&probe).await;
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.waiting().await > 0
        })
        .await;
        self.cut_waits().await;
    }

    /// The standby is back.
    async fn find_standby(&self) {
        self.set_standby("").await;
    }

    async fn waiting(&self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        sqlx::query_scalar(count).fetch_one(&self.control).await.unwrap()
    }

    /// An administrator ends the sessions that wait. Their rows are visible now.
    async fn cut_waits(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        sqlx::query(end).execute(&self.control).await.unwrap();
        until("nothing waits", async || self.waiting().await == 0).await;
    }

    async fn has(&self, rows: &'static str) -> bool {
        let count: i64 = sqlx::query_scalar(rows).fetch_one(&self.control).await.unwrap();
        count > 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_on_one_disk_is_not_acknowledged_when_it_is_recorded_again() {
    let Some(primary) = Primary::start().await else { return };
    let store = PostgresStore::connect(&primary.url).await.unwrap();
    let body = br#"{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1","ResultCode":1032}}}"#;
    let delivery = Delivery::parse(&Kind::Stk, body, SystemTime::now()).unwrap();
    primary.lose_standby().await;
    let recording = tokio::spawn(async move {
        loop {
            // As the spool does, until it is recorded.
            if let Ok(recorded) = store.record(std::slice::from_ref(&delivery)).await {
                return recorded[0].verdict;
            }
        }
    });
    until("the first commit waits", async || primary.waiting().await > 0).await;
    primary.cut_waits().await;
    assert!(primary.has("SELECT count(*) FROM mpesa_callbacks.callback").await, "it is on one disk");
    until("it waits again, or was acknowledged", async || primary.waiting().await > 0 || recording.is_finished()).await;
    assert!(!recording.is_finished(), "acknowledged by a transaction that wrote nothing");
    primary.find_standby().await;
    assert_eq!(recording.await.unwrap(), Verdict::First);
}

fn key() -> IdempotencyKey {
    IdempotencyKey::for_test(Kind::Stk, "k")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_one_disk_of_postgresql_settles_nothing() {
    let Some(primary) = Primary::start().await else { return };
    let transactor = SqlxTransactor::new(PgPool::connect(&primary.url).await.unwrap());
    transactor.prepare().await.unwrap();
    primary.lose_standby().await;
    let applying = transactor.clone();
    let applying = tokio::spawn(async move {
        let Ok(BeginOutcome::New(tx)) = applying.begin(&key()).await else { panic!("it is new") };
        applying.commit(tx).await
    });
    until("the commit waits", async || primary.waiting().await > 0).await;
    primary.cut_waits().await;
    applying.await.unwrap().unwrap_err();
    assert!(primary.has("SELECT count(*) FROM mpesa_callbacks_applied").await, "it is on one disk");
    let again = tokio::spawn(async move { transactor.begin(&key()).await });
    until("it waits, or was confirmed", async || primary.waiting().await > 0 || again.is_finished()).await;
    assert!(!again.is_finished(), "confirmed by a transaction that wrote nothing");
    primary.find_standby().await;
    assert!(matches!(again.await.unwrap(), Ok(BeginOutcome::AlreadyApplied)));
}

/// MariaDB with semi-synchronous replication, and no replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_one_disk_of_mariadb_settles_nothing() {
    let Some(server) = MariaDb::start(&["log-bin", "server-id=1", "sync-binlog=1"]) else { return };
    let control = MySqlPool::connect(&server.url()).await.unwrap();
    let transactor = SqlxTransactor::new(MySqlPool::connect(&server.url()).await.unwrap());
    transactor.prepare().await.unwrap();
    let on = "SET GLOBAL rpl_semi_sync_master_timeout = 3600000; SET GLOBAL rpl_semi_sync_master_enabled = ON";
    sqlx::raw_sql(on).execute(&control).await.unwrap();
    let waiting = async || -> Vec<i64> {
        let waits =
            "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync%'";
        sqlx::query_scalar(waits).fetch_all(&control).await.unwrap()
    };
    let applying = transactor.clone();
    let applying = tokio::spawn(async move {
        let Ok(BeginOutcome::New(tx)) = applying.begin(&key()).await else { panic!("it is new") };
        applying.commit(tx).await
    });
    until("the commit waits", async || !waiting().await.is_empty()).await;
    for id in waiting().await {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("KILL {id}"))).execute(&control).await.unwrap();
    }
    until("nothing waits", async || waiting().await.is_empty()).await;
    // Whatever it was told.
    let _ = applying.await.unwrap();
    let again = tokio::spawn(async move { transactor.begin(&key()).await });
    until("it waits, or was confirmed", async || !waiting().await.is_empty() || again.is_finished()).await;
    assert!(!again.is_finished(), "confirmed by a transaction that changed nothing");
    sqlx::raw_sql("SET GLOBAL rpl_semi_sync_master_enabled = OFF").execute(&control).await.unwrap();
    assert!(matches!(again.await.unwrap(), Ok(BeginOutcome::AlreadyApplied)));
}
