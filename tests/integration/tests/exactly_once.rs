//! Handlers with a transaction take effect exactly once in the application's own database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mpesa_callbacks::Backoff;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{SqliteStore, State, Store};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, cancelled_push, until};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Row, SqlitePool};

#[derive(Clone)]
struct Books {
    runs: Arc<AtomicU32>,
    /// Ends the transaction that dawdles.
    goes_on: Arc<AtomicBool>,
}

#[mpesa_callbacks]
impl Books {
    #[stk(max_retries = 3)]
    async fn stk(&self, _: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> sqlx::Result<()> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        sqlx::query("INSERT INTO effect (key) VALUES (?)").bind(ctx.key()).execute(&mut **tx).await?;
        match ctx.key() {
            "fails-first" if run == 0 => Err(sqlx::Error::WorkerCrashed),
            "panics-first" if run == 0 => panic!("as it does"),
            "violates" => {
                sqlx::query("INSERT INTO child (parent) VALUES ('nobody')").execute(&mut **tx).await?;
                Ok(())
            }
            "dawdles" => {
                while !self.goes_on.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[c2b_confirmation]
    async fn plain(&self, _: C2bConfirmation) {
        self.runs.fetch_add(1, Ordering::SeqCst);
    }
}

/// Short enough to wait for, and long enough that a busy machine renews it in time.
const LEASE: Duration = Duration::from_millis(1500);

struct Shop {
    mounted: Mounted,
    books: Books,
    pool: SqlitePool,
    _directory: tempfile::TempDir,
}

impl Shop {
    async fn new(store: impl FnOnce(&std::path::Path) -> Arc<dyn Store>) -> Shop {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options.foreign_keys(true)).await.unwrap();
        let schema = "CREATE TABLE effect (key TEXT);
            CREATE TABLE parent (name TEXT PRIMARY KEY);
            CREATE TABLE child (parent TEXT REFERENCES parent (name) DEFERRABLE INITIALLY DEFERRED);";
        sqlx::raw_sql(schema).execute(&pool).await.unwrap();
        let books = Books { runs: Arc::default(), goes_on: Arc::default() };
        let inbox = Inbox::builder(books.clone())
            .store(store(directory.path()))
            .transactor(SqlxTransactor::new(pool.clone()))
            .secret(SECRET)
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
            .lease(LEASE)
            .lease_check_interval(Duration::from_millis(50))
            .start()
            .await
            .unwrap();
        Shop { mounted: Mounted::new(inbox), books, pool, _directory: directory }
    }

    async fn effects(&self, key: &str) -> i64 {
        sqlx::query("SELECT count(*) FROM effect WHERE key = ?").bind(key).fetch_one(&self.pool).await.unwrap().get(0)
    }

    async fn state(&self) -> State {
        self.mounted.entries().await[0].state
    }

    async fn until_it_is(&self, state: State) {
        let began = Instant::now();
        while self.state().await != state {
            assert!(began.elapsed() < Duration::from_secs(30), "it is {:?}", self.state().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn sqlite(directory: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(directory.join("inbox.db")).unwrap())
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_after_writing_leaves_nothing_and_is_run_again() {
    for key in ["fails-first", "panics-first"] {
        let shop = Shop::new(sqlite).await;
        shop.mounted.post("/stk", cancelled_push(key)).await;
        shop.until_it_is(State::Done).await;
        assert_eq!(shop.books.runs.load(Ordering::SeqCst), 2, "{key}");
        assert_eq!(shop.effects(key).await, 1, "{key}");
    }
}

#[tokio::test]
async fn a_process_that_dies_between_commit_and_settlement_does_not_apply_twice() {
    let store = FlakyStore::default();
    let shop = Shop::new(|_| Arc::new(store.clone())).await;
    store.lose_settlements(2);
    shop.mounted.post("/stk", cancelled_push("k")).await;
    shop.until_it_is(State::Done).await;
    assert_eq!(shop.mounted.entries().await[0].attempts, 1, "an interruption costs no attempt");
    assert_eq!(shop.books.runs.load(Ordering::SeqCst), 1, "the key says that it was applied");
    assert_eq!(shop.effects("k").await, 1);
}

#[tokio::test]
async fn what_the_database_refuses_to_commit_is_a_failure_of_the_handler() {
    let shop = Shop::new(sqlite).await;
    shop.mounted.post("/stk", cancelled_push("violates")).await;
    shop.until_it_is(State::Dead).await;
    assert_eq!(shop.books.runs.load(Ordering::SeqCst), 4);
    assert_eq!(shop.effects("violates").await, 0);
    let error = shop.mounted.entries().await[0].error.clone().unwrap();
    assert!(error.as_str().contains("FOREIGN KEY"), "{}", error.as_str());
}

#[tokio::test]
async fn while_the_ledger_is_away_nothing_is_lost_and_no_attempt_is_counted() {
    let shop = Shop::new(sqlite).await;
    shop.pool.close().await;
    shop.mounted.post("/stk", cancelled_push("k")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let entry = &shop.mounted.entries().await[0];
    assert!(matches!(entry.state, State::Ready | State::Running));
    assert!(entry.attempts <= 1, "{} attempts were counted", entry.attempts);
    assert_eq!(shop.books.runs.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_dawdles_delays_no_other_callback() {
    let (shop, alone) = (Shop::new(sqlite).await, Shop::new(sqlite).await);
    shop.mounted.post("/stk", cancelled_push("dawdles")).await;
    until("it runs", async || shop.books.runs.load(Ordering::SeqCst) > 0).await;
    // By the same load while no transaction is open: how fast a machine is changes nothing.
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let open = acknowledgements(&shop, &format!("open{round}")).await;
        until("all others are handled while the transaction is open", async || {
            shop.books.runs.load(Ordering::SeqCst) > LOAD * (round + 1)
        })
        .await;
        let closed = acknowledgements(&alone, &format!("closed{round}")).await;
        ratios.push(open.as_secs_f64() / closed.as_secs_f64());
    }
    assert_eq!(shop.effects("dawdles").await, 0, "it is still open");
    assert!(ratios.iter().any(|ratio| *ratio < 3.0), "acknowledgements take longer by {ratios:?}");
    shop.books.goes_on.store(true, Ordering::SeqCst);
    shop.until_it_is(State::Done).await;
    assert_eq!(shop.effects("dawdles").await, 1);
}

/// Something slow on the machine may spoil a round.
const ROUNDS: u32 = 3;

/// Confirmations per round, from ten clients.
const LOAD: u32 = 1000;

/// Posts a round of confirmations, and returns the 99th percentile of the time until they are acknowledged.
async fn acknowledgements(shop: &Shop, name: &str) -> Duration {
    let posts = (0..10).map(|lane| {
        let (mounted, name) = (shop.mounted.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut took = Vec::new();
            for i in 0..LOAD / 10 {
                let body = format!(r#"{{"TransID":"{name}{lane}N{i}","TransAmount":"1.00"}}"#);
                let began = Instant::now();
                assert_eq!(mounted.post("/c2b/confirmation", body).await.status, 200);
                took.push(began.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        took.extend(post.await.unwrap());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}
