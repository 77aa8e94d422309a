//! Several replicas of an application, one PostgreSQL.

use std::time::{Duration, Instant};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, PostgresStore, Verdict};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks::{Backoff, Kind};
use mpesa_callbacks_test_servers::Postgres;
use mpesa_callbacks_tests::{Mounted, SECRET};
use sqlx::PgPool;

struct Shop {
    replica: i32,
    /// Handlers of this replica never end.
    hangs: bool,
}

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment, ctx: &CallbackContext, tx: &mut PgTx) -> Result<(), sqlx::Error> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        sqlx::query("INSERT INTO effect (key, replica) VALUES ($1, $2)")
            .bind(ctx.key())
            .bind(self.replica)
            .execute(&mut **tx)
            .await?;
        // One in five fails the first time, after it has written.
        if ctx.attempt() == 1 && ctx.id().number() % 5 == 0 {
            return Err(sqlx::Error::RowNotFound);
        }
        Ok(())
    }
}

async fn database(server: &Postgres) -> PgPool {
    let (name, url) = server.next_database();
    let all = PgPool::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&all).await.unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effect (key text NOT NULL, replica int NOT NULL)").execute(&pool).await.unwrap();
    pool
}

async fn replica(pool: &PgPool, replica: i32, hangs: bool) -> Mounted {
    // Hanging handlers keep their connections, and must leave some for recording.
    let own = PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let inbox = Inbox::builder(Shop { replica, hangs })
        .store(PostgresStore::with_pool(own).await.unwrap())
        .transactor(SqlxTransactor::new(pool.clone()))
        .secret(SECRET)
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(50)))
        .lease(Duration::from_millis(600))
        .lease_check_interval(Duration::from_millis(100));
    Mounted::new(inbox.start().await.unwrap())
}

fn push(number: usize) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"ws_CO_{number:06}","ResultCode":0,"CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":10}},{{"Name":"MpesaReceiptNumber","Value":"R{number:06}"}}]}}}}}}}}"#
    )
}

fn confirmation(number: usize) -> String {
    format!(r#"{{"TransID":"R{number:06}","TransAmount":"10.00","BillRefNumber":"account"}}"#)
}

/// Each callback twice, its confirmation too, to whichever replica comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whichever_replica_hears_of_a_payment_it_takes_effect_once() {
    const PAYMENTS: usize = 150;
    let Some(server) = Postgres::shared() else { return };
    let pool = database(server).await;
    let replicas = [replica(&pool, 0, false).await, replica(&pool, 1, false).await, replica(&pool, 2, false).await];
    let mut sending = Vec::new();
    for number in 0..PAYMENTS {
        for turn in 0..4 {
            let replica = replicas[(number + turn) % 3].clone();
            sending.push(tokio::spawn(async move {
                let (path, body) =
                    if turn % 2 == 0 { ("/stk", push(number)) } else { ("/c2b/confirmation", confirmation(number)) };
                assert_eq!(replica.post(path, body).await.status, 200);
            }));
        }
    }
    for sent in sending {
        sent.await.unwrap();
    }
    replicas[0].settled().await;
    let (effects, receipts, helpers): (i64, i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT key), count(DISTINCT replica) FROM effect")
            .fetch_one(&pool)
            .await
            .unwrap();
    let payments = i64::try_from(PAYMENTS).unwrap();
    assert_eq!((effects, receipts), (payments, payments));
    assert!(helpers > 1, "one replica did everything");
    let all = replicas[1].inbox.list(&Filter::default().limit(10_000)).await.unwrap();
    let count = |kind: Kind, verdict| all.iter().filter(|entry| entry.kind == kind && entry.verdict == verdict).count();
    assert_eq!(count(Kind::Stk, Verdict::First), PAYMENTS);
    assert_eq!(count(Kind::C2bConfirmation, Verdict::First), PAYMENTS);
    assert_eq!((count(Kind::Payment, Verdict::First), count(Kind::Payment, Verdict::Conflict)), (PAYMENTS, 0));
}

/// A replica goes away in the middle and releases nothing: its leases run out, and another takes over.
#[test]
fn what_a_lost_replica_had_in_hand_is_taken_over() {
    let Some(server) = Postgres::shared() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool = runtime.block_on(database(server));
    let url = pool.connect_options();
    // On a runtime of its own, which is thrown away in the middle: nothing is released, nothing is renewed.
    let lost = tokio::runtime::Runtime::new().unwrap();
    lost.block_on(async {
        let pool = PgPool::connect_with((*url).clone()).await.unwrap();
        let mounted = replica(&pool, 0, true).await;
        for number in 0..20 {
            assert_eq!(mounted.post("/stk", push(number)).await.status, 200);
        }
        let began = Instant::now();
        while mounted.inbox.counts().await.unwrap().running < 5 {
            assert!(began.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::mem::forget(mounted);
    });
    lost.shutdown_background();
    runtime.block_on(async {
        let mounted = replica(&pool, 1, false).await;
        mounted.settled().await;
        let effects: Vec<(i64, i32)> =
            sqlx::query_as("SELECT count(*), replica FROM effect GROUP BY replica").fetch_all(&pool).await.unwrap();
        assert_eq!(effects, [(20, 1)]);
    });
}
