//! `#[payment]` and `#[payment_completed]` of one payment: in this order, and each fact once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks::{Backoff, Kind};
use mpesa_callbacks_tests::{Mounted, SECRET, its_confirmation, paid_push, until};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

/// Books a payment, and the order when it is known.
struct Books {
    /// Attempts fail, after they have written.
    is_broken: Arc<AtomicBool>,
}

#[mpesa_callbacks]
impl Books {
    #[payment(max_retries = 1000)]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        write(tx, "paid", &payment).await?;
        if self.is_broken.load(Ordering::SeqCst) { Err(sqlx::Error::WorkerCrashed) } else { Ok(()) }
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        write(tx, "completed", &payment).await
    }
}

async fn write(tx: &mut SqliteTx, what: &str, payment: &Payment) -> Result<(), sqlx::Error> {
    let reference = payment.reference.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str);
    let insert = sqlx::query("INSERT INTO effect (what, reference) VALUES (?, ?)").bind(what).bind(reference);
    insert.execute(&mut **tx).await.map(drop)
}

struct Shop {
    mounted: Mounted,
    pool: SqlitePool,
    is_broken: Arc<AtomicBool>,
    _directory: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE effect (what TEXT, reference TEXT)").execute(&pool).await.unwrap();
        let is_broken = Arc::new(AtomicBool::new(true));
        let inbox = Inbox::builder(Books { is_broken: is_broken.clone() })
            .store(MemoryStore::new())
            .transactor(SqlxTransactor::new(pool.clone()))
            .secret(SECRET)
            .counterpart_timeout(Duration::ZERO)
            .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)));
        let mounted = Mounted::new(inbox.start().await.unwrap());
        Shop { mounted, pool, is_broken, _directory: directory }
    }

    async fn effects(&self) -> Vec<(String, Option<String>)> {
        sqlx::query_as("SELECT what, reference FROM effect ORDER BY rowid").fetch_all(&self.pool).await.unwrap()
    }

    async fn is_attempted(&self) -> bool {
        let entries = self.mounted.entries().await;
        entries.iter().any(|entry| entry.kind == Kind::Payment && entry.attempts > 1)
    }
}

#[tokio::test]
async fn an_order_that_arrives_between_two_attempts_is_told_once() {
    let shop = Shop::open().await;
    shop.mounted.post("/c2b/confirmation", its_confirmation()).await;
    until("the first attempt failed", async || shop.is_attempted().await).await;
    assert_eq!(shop.mounted.post_for(&Kind::Stk, "order-1", paid_push()).await.status, 200);
    until("its order is known", async || {
        shop.mounted.entries().await.iter().any(|entry| entry.kind == Kind::PaymentCompleted)
    })
    .await;
    // `payment_completed` is due, and waits: the payment is not booked yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(shop.effects().await.is_empty(), "it does not overtake the payment");
    shop.is_broken.store(false, Ordering::SeqCst);
    until("all are done", async || shop.mounted.entries().await.iter().all(|entry| entry.state == State::Done)).await;
    assert_eq!(shop.effects().await, [("paid".to_owned(), Some("order-1".to_owned()))]);
}

#[tokio::test]
async fn an_order_that_arrives_after_the_payment_was_booked_is_told_once() {
    let shop = Shop::open().await;
    shop.is_broken.store(false, Ordering::SeqCst);
    shop.mounted.post("/c2b/confirmation", its_confirmation()).await;
    until("it is booked", async || !shop.effects().await.is_empty()).await;
    assert_eq!(shop.mounted.post_for(&Kind::Stk, "order-1", paid_push()).await.status, 200);
    until("all are done", async || {
        let entries = shop.mounted.entries().await;
        entries.iter().any(|entry| entry.kind == Kind::PaymentCompleted)
            && entries.iter().all(|entry| entry.state == State::Done)
    })
    .await;
    let expected = [("paid".to_owned(), None), ("completed".to_owned(), Some("order-1".to_owned()))];
    assert_eq!(shop.effects().await, expected);
}
