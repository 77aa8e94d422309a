//! A merchant's month, through the public API: releases roll forward and back, processes crash, the database is away, the clock is ahead
//! and set back, validations are slow, a URL leaked. At the end every genuine payment was handled once, for its own order and without a
//! person; forged and contradictory callbacks are held; nothing else is.
//!
//! `PAYMENTS=20000 SEED=7 cargo test -p mpesa-callbacks-tests --release --test integration merchant_month` plays a long one.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, Lookup, PostgresStore, SqliteSpool, SqliteStore, State, Store};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks::{Backoff, Clock, InboxBuilder, MpesaCallbacks};
use mpesa_callbacks_test_servers::Postgres;
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, push, push_described, question, unpaid_push, until_within};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::runtime::Runtime;

const DAYS: usize = 30;

/// How long a backlog may take on a slow machine.
const LIMIT: Duration = Duration::from_mins(3);

/// The writes of both versions to the merchant's own tables.
async fn book(tx: &mut SqliteConnection, receipt: &str, part: &str, order: Option<&str>) -> sqlx::Result<()> {
    let insert = sqlx::query("INSERT INTO booked (receipt, part, for_order) VALUES (?, ?, ?)");
    insert.bind(receipt).bind(part).bind(order).execute(tx).await.map(drop)
}

/// The version with `#[payment]`.
struct Newer;

#[mpesa_callbacks(no_timeouts)]
impl Newer {
    #[payment]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> sqlx::Result<()> {
        book(tx, &payment.receipt, "payment", payment.order()).await
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment, tx: &mut SqliteTx) -> sqlx::Result<()> {
        book(tx, &payment.receipt, "completed", payment.order()).await
    }

    #[c2b_validation(timeout = "300ms", fallback = "accept")]
    async fn is_welcome(&self, _: C2bValidation) -> Validation {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Validation::accept()
    }

    #[overdue]
    async fn ask(&self, _: Expectation) {}
}

/// The one before, which accounts for pushes and confirmations itself.
struct Older;

#[mpesa_callbacks(no_timeouts)]
impl Older {
    #[stk]
    async fn pushed(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> sqlx::Result<()> {
        match &callback.receipt {
            Some(receipt) => book(tx, receipt, "stk", ctx.reference()).await,
            None => Ok(()),
        }
    }

    #[c2b_confirmation]
    async fn confirmed(&self, confirmation: C2bConfirmation, tx: &mut SqliteTx) -> sqlx::Result<()> {
        book(tx, &confirmation.trans_id, "c2b", None).await
    }

    #[c2b_validation(timeout = "300ms", fallback = "accept")]
    async fn is_welcome(&self, _: C2bValidation) -> Validation {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Validation::accept()
    }

    #[overdue]
    async fn ask(&self, _: Expectation) {}
}

/// A clock that may be ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// Where the month is played: files, and a database, that outlive every process.
struct Place {
    directory: tempfile::TempDir,
    postgres: Option<String>,
    clock: Arc<Ahead>,
}

/// A process of the application: all that it does ends with its runtime.
struct Process {
    runtime: Runtime,
    mounted: Mounted,
    store: FlakyStore,
    pool: SqlitePool,
}

impl Place {
    fn start(&self, is_newer: bool) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (mounted, store, pool) = runtime.block_on(async {
            let pool = books(self.directory.path()).await;
            let store: Arc<dyn Store> = match &self.postgres {
                Some(url) => Arc::new(PostgresStore::connect(url).await.unwrap()),
                None => Arc::new(SqliteStore::open_with_clock(self.file("inbox.db"), self.clock.clone()).unwrap()),
            };
            let store = FlakyStore::before(store);
            let inbox = match is_newer {
                true => self.configured(Inbox::builder(Newer), &store, &pool).start().await,
                false => self.configured(Inbox::builder(Older), &store, &pool).start().await,
            };
            (Mounted::new(inbox.unwrap()), store, pool)
        });
        Process { runtime, mounted, store, pool }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configured<H: MpesaCallbacks<SqliteTx> + 'static>(
        &self,
        builder: InboxBuilder<H, mpesa_callbacks::transactor::NoTransactor>,
        store: &FlakyStore,
        pool: &SqlitePool,
    ) -> InboxBuilder<H, SqlxTransactor<Sqlite>> {
        builder
            .name("merchant")
            .store(store.clone())
            .transactor(SqlxTransactor::new(pool.clone()))
            .spool(spool(&self.file("spool")))
            .secret(SECRET)
            .clock(self.clock.clone())
            .counterpart_timeout(Duration::from_millis(200))
            .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(200)))
            .lease(Duration::from_millis(1500))
            .lease_check_interval(Duration::from_millis(100))
    }
}

/// A process that crashed has it until its last thread is gone.
fn spool(directory: &Path) -> SqliteSpool {
    let began = Instant::now();
    loop {
        match SqliteSpool::open(directory) {
            Ok(spool) => return spool,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn books(directory: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(directory.join("books.db")).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(20));
    let options = options.synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    let schema = "CREATE TABLE IF NOT EXISTS booked (receipt TEXT NOT NULL, part TEXT NOT NULL, for_order TEXT)";
    sqlx::raw_sql(schema).execute(&pool).await.unwrap();
    pool
}

impl Process {
    /// As `kill -9` would end it.
    fn crash(self) {
        self.runtime.shutdown_background();
    }

    /// In good order, and handlers that run come to their end.
    fn stop(self) {
        self.runtime.block_on(async {
            until_within(LIMIT, "handlers end", async || self.mounted.inbox.counts().await.unwrap().running == 0).await;
            self.mounted.inbox.shutdown(Duration::from_secs(30)).await.unwrap();
        });
    }

    async fn post(&self, path: &str, body: &str) {
        let answer = self.mounted.post(path, body.to_owned()).await;
        assert_eq!(answer.status, 200, "{path} {body}");
    }

    async fn post_for(&self, order: &str, body: &str) {
        let answer = self.mounted.post_for(&Kind::Stk, order, body.to_owned()).await;
        assert_eq!(answer.status, 200, "{order} {body}");
    }
}

fn confirmation(receipt: &str, account: &str, msisdn: &str) -> String {
    format!(
        r#"{{"TransactionType":"Pay Bill","TransID":"{receipt}","TransTime":"20261101120000","TransAmount":"10.00",
        "BusinessShortCode":"600638","BillRefNumber":"{account}","MSISDN":"{msisdn}","FirstName":"Jane"}}"#
    )
}

/// The expected result of each customer, and the callbacks that must be held.
#[derive(Default)]
struct Truth {
    order_of: HashMap<String, String>,
    held: BTreeSet<String>,
}

impl Truth {
    /// A customer pays, in one of the ways that Daraja reports.
    async fn pay(&mut self, process: &Process, number: usize, random: &mut fastrand::Rng) {
        let (order, id, receipt) = (format!("ORDER-{number}"), format!("ws_{number}"), format!("RCPT{number:07}"));
        self.order_of.insert(receipt.clone(), order.clone());
        let paid = push(&id, &receipt, "10.00");
        let till = confirmation(&receipt, "", "2547 ***** 149");
        match random.u8(0..8) {
            0 => process.post_for(&order, &paid).await,
            1 => {
                let (push, confirmation) = (process.post_for(&order, &paid), process.post("/c2b/confirmation", &till));
                if random.bool() {
                    tokio::join!(push, confirmation)
                } else {
                    tokio::join!(confirmation, push)
                };
            }
            2 => process.post("/c2b/confirmation", &confirmation(&receipt, &order, "254708374149")).await,
            3 => {
                process.post_for(&order, &unpaid_push(&id, 1037)).await;
                process.post_for(&order, &paid).await;
                process.post_for(&order, &paid).await;
                process.post_for(&order, &unpaid_push(&id, 1037)).await;
            }
            4 => {
                let expected = Expectation::new(Kind::Stk, order.as_str()).amount(Amount::from_shillings(10));
                process.mounted.inbox.expect_callback(&expected.timeout(Duration::from_hours(24))).await.unwrap();
                process.post("/stk", &paid).await;
                process.mounted.inbox.link_request_id(&Kind::Stk, &order, &id).await.unwrap();
            }
            5 => {
                process.post_for(&order, &paid).await;
                process
                    .post_for(&order, &push_described(&id, &receipt, "10", "The service request is processed."))
                    .await;
            }
            6 => {
                process.post("/c2b/confirmation", &confirmation(&receipt, &order, "254708374149")).await;
                process.post("/c2b/confirmation", &confirmation(&receipt, &order, "2547 ***** 149")).await;
            }
            _ => process.post_for(&order, &format!("[{}]", push_described(&id, &receipt, "1.0e1", "by a relay"))).await,
        }
    }

    /// An attacker has the URL of an order; and one that was cancelled is paid.
    async fn deceive(&mut self, process: &Process, number: usize) {
        let order = format!("ORDER-{number}");
        let expected = Expectation::new(Kind::Stk, order.as_str()).amount(Amount::from_shillings(10));
        process.mounted.inbox.expect_callback(&expected.timeout(Duration::from_hours(24))).await.unwrap();
        process.mounted.inbox.link_request_id(&Kind::Stk, &order, &format!("ws_{number}")).await.unwrap();
        let forged = format!("forged_{number}");
        process.post_for(&order, &push(&forged, &format!("FORGED{number}"), "10.00")).await;
        self.held.insert(forged);
        let other = format!("ORDER-{number}-cancelled");
        let id = format!("ws_{number}_cancelled");
        process.post_for(&other, &unpaid_push(&id, 1032)).await;
        process.post_for(&other, &push(&id, &format!("LATE{number}"), "10.00")).await;
        self.held.insert(id);
    }
}

fn play(place: &Place) {
    let number = |name: &str, usual: usize| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (payments, seed) = (number("PAYMENTS", 1_500), number("SEED", 1));
    println!("PAYMENTS={payments} SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let (mut truth, mut is_newer, mut next) = (Truth::default(), false, 0);
    let mut process = place.start(is_newer);
    for day in 0..DAYS {
        let until_tonight = payments * (day + 1) / DAYS;
        let noon = usize::midpoint(next, until_tonight);
        let send = |process: &Process, truth: &mut Truth, next: &mut usize, end: usize, random: &mut fastrand::Rng| {
            while *next < end {
                process.runtime.block_on(truth.pay(process, *next, random));
                *next += 1;
            }
        };
        send(&process, &mut truth, &mut next, noon, &mut random);
        match day % 6 {
            // A deployment, forward or back.
            1 => {
                process.stop();
                is_newer = !is_newer;
                process = place.start(is_newer);
            }
            // A crash loop, as from a lack of memory.
            2 => {
                for _ in 0..3 {
                    let end = (next + 5).min(until_tonight);
                    send(&process, &mut truth, &mut next, end, &mut random);
                    process.crash();
                    process = place.start(is_newer);
                }
            }
            // The database's disk is full; callbacks go to the spool.
            3 => {
                process.store.go_away(true);
                let end = (next + 10).min(until_tonight);
                let mut sent = next;
                while sent < end {
                    let (order, receipt) = (format!("ORDER-{sent}"), format!("RCPT{sent:07}"));
                    let paid = push(&format!("ws_{sent}"), &receipt, "10.00");
                    process.runtime.block_on(process.post_for(&order, &paid));
                    truth.order_of.insert(receipt, order);
                    sent += 1;
                }
                next = sent;
                process.store.go_away(false);
            }
            // The clock is two days ahead, and set back.
            4 => {
                place.clock.0.store(2 * 24 * 3600, Ordering::SeqCst);
                let end = (next + 10).min(until_tonight);
                send(&process, &mut truth, &mut next, end, &mut random);
                place.clock.0.store(0, Ordering::SeqCst);
            }
            // Validations that dawdle, and a leaked URL.
            5 => process.runtime.block_on(async {
                let asked: Vec<String> = (0..20).map(|nth| format!("ASKED{day}x{nth}")).collect();
                let mut asking = Vec::new();
                for id in &asked {
                    let (mounted, body) = (process.mounted.clone(), question(id, "10.00", "ORDER-1"));
                    asking.push(tokio::spawn(async move { mounted.post("/c2b/validation", body).await.status }));
                }
                truth.deceive(&process, 1_000_000 + day).await;
                for one in asking {
                    assert_eq!(one.await.unwrap(), 200);
                }
            }),
            _ => {}
        }
        send(&process, &mut truth, &mut next, until_tonight, &mut random);
    }
    // The last version is the one with `#[payment]`.
    process.stop();
    let process = place.start(true);
    process.runtime.block_on(check(&process, &truth));
    process.stop();
}

async fn check(process: &Process, truth: &Truth) {
    let booked = async || -> Vec<(String, String, Option<String>)> {
        let rows = sqlx::query_as("SELECT receipt, part, for_order FROM booked");
        rows.fetch_all(&process.pool).await.unwrap()
    };
    let receipts = async || booked().await.into_iter().map(|(receipt, ..)| receipt).collect::<BTreeSet<_>>();
    let all: BTreeSet<String> = truth.order_of.keys().cloned().collect();
    let began = Instant::now();
    while !receipts().await.is_superset(&all) {
        if began.elapsed() > Duration::from_mins(1) {
            let missing: Vec<_> = all.difference(&receipts().await).cloned().collect();
            let lookup = [Lookup::Receipt(missing[0].clone())];
            let found = process.mounted.inbox.find(&lookup).await.unwrap();
            panic!("{} were not handled, the first of them: {found:#?}", missing.len());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // `payment_completed` runs a little later.
    until_within(LIMIT, "what was completed is told", async || {
        let waiting = process.mounted.inbox.waiting().await.unwrap();
        waiting.iter().all(|waiting| !matches!(waiting.kind, Kind::Payment | Kind::PaymentCompleted))
    })
    .await;
    let mut parts: HashMap<String, Vec<(String, Option<String>)>> = HashMap::new();
    for (receipt, part, order) in booked().await {
        parts.entry(receipt).or_default().push((part, order));
    }
    let mut told = 0;
    for (receipt, order) in &truth.order_of {
        let parts = parts.remove(receipt).unwrap_or_default();
        let count = |name: &str| parts.iter().filter(|(part, _)| part == name).count();
        let by_older = count("stk") <= 1 && count("c2b") <= 1 && count("stk") + count("c2b") > 0;
        assert_eq!(count("payment") + usize::from(by_older), 1, "{receipt} for {order}: {parts:?}");
        if count("payment") == 1 {
            told += 1;
            let known = parts.iter().rev().find_map(|(_, order)| order.as_ref());
            assert_eq!(known, Some(order), "{receipt}: {parts:?}");
        }
    }
    assert!(parts.is_empty(), "handled, and never paid: {parts:?}");
    assert!(told > truth.order_of.len() / 4, "the newer release had its share");
    let held = process.mounted.inbox.list(&Filter::default().state(State::Held).limit(10_000)).await.unwrap();
    let held: BTreeSet<String> = held.iter().map(|entry| entry.key.as_str().to_owned()).collect();
    assert_eq!(held, truth.held, "what is forged or contradicts is held, and nothing else");
    let depth = process.mounted.inbox.counts().await.unwrap();
    assert_eq!((depth.dead, depth.quarantined), (0, 0), "{depth:?}");
}

#[test]
fn a_months_payments_on_sqlite_need_no_person() {
    play(&Place { directory: tempfile::tempdir().unwrap(), postgres: None, clock: Arc::default() });
}

#[test]
fn a_months_payments_on_postgresql_need_no_person() {
    let Some(server) = Postgres::shared() else { return };
    let (name, url) = server.next_database();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let all = sqlx::PgPool::connect(&server.url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&all).await.unwrap();
    });
    play(&Place { directory: tempfile::tempdir().unwrap(), postgres: Some(url), clock: Arc::default() });
}
