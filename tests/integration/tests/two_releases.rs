//! A release with `#[payment]` and one without it handle the same payments, one after the other: a
//! deployment, or its rollback. The first is killed after its commit, before anything was settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Entry, MemoryStore, State};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks::{Backoff, Clock, Kind, MpesaCallbacks};
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, its_confirmation, paid_push, until, until_within};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

/// Books money in `#[payment]`.
struct ByPayment;

#[mpesa_callbacks]
impl ByPayment {
    #[c2b_confirmation]
    async fn confirmed(&self, _: C2bConfirmation) {}

    #[stk]
    async fn pushed(&self, _: StkCallback) {}

    #[payment]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "paid", payment.reference.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str)).await
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "completed", payment.reference.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str)).await
    }
}

/// Books money in the handlers of callbacks.
struct ByCallback;

#[mpesa_callbacks]
impl ByCallback {
    #[stk]
    async fn pushed(&self, _: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "stk", ctx.reference()).await
    }

    #[c2b_confirmation]
    async fn confirmed(&self, _: C2bConfirmation, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "c2b", None).await
    }
}

async fn book(tx: &mut SqliteTx, by: &str, reference: Option<&str>) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO effect (what, reference) VALUES (?, ?)").bind(by).bind(reference);
    insert.execute(&mut **tx).await.map(drop)
}

struct Shop {
    store: MemoryStore,
    pool: SqlitePool,
    _directory: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE effect (what TEXT, reference TEXT)").execute(&pool).await.unwrap();
        Shop { store: MemoryStore::new(), pool, _directory: directory }
    }

    async fn start<H: MpesaCallbacks<SqliteTx> + 'static>(&self, release: H, store: FlakyStore) -> Mounted {
        self.start_ahead(release, store, Duration::ZERO).await
    }

    /// With a clock that is ahead.
    async fn start_ahead<H: MpesaCallbacks<SqliteTx> + 'static>(
        &self,
        release: H,
        store: FlakyStore,
        ahead: Duration,
    ) -> Mounted {
        let inbox = Inbox::builder(release)
            .clock(Arc::new(Ahead(ahead)))
            .max_retries(3)
            .name("shop")
            .store(store)
            .transactor(SqlxTransactor::new(self.pool.clone()))
            .secret(SECRET)
            .counterpart_timeout(Duration::ZERO)
            .lease(Duration::from_millis(500))
            .lease_check_interval(Duration::from_millis(50))
            .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)));
        Mounted::new(inbox.start().await.unwrap())
    }

    fn store(&self) -> FlakyStore {
        FlakyStore::before(Arc::new(self.store.clone()))
    }

    /// The confirmation arrives, and is booked without an order. The process ends before it has settled anything.
    async fn booked_and_killed(&self) {
        let store = self.store();
        store.lose_settlements(u32::MAX);
        let release = self.start(ByPayment, store).await;
        release.post("/c2b/confirmation", its_confirmation()).await;
        until("it is booked", async || !self.effects().await.is_empty()).await;
        drop(release);
        let now = self.start(NoHandlers, self.store()).await;
        until("its leases are reclaimed", async || {
            let entries = now.entries().await;
            entries.iter().all(|entry| matches!(entry.state, State::Ready | State::Done))
        })
        .await;
    }

    /// The push arrives, its request is closed, and its payment is not booked. The process ends before it has settled
    /// anything.
    async fn closed_and_killed(&self) {
        let store = self.store();
        store.lose_settlements(u32::MAX);
        let release = self.start(Closes(Arc::new(AtomicBool::new(true))), store).await;
        release.post_for(&Kind::Stk, "order-1", paid_push()).await;
        until("the request is closed", async || !self.effects().await.is_empty()).await;
        drop(release);
    }

    async fn effects(&self) -> Vec<(String, Option<String>)> {
        sqlx::query_as("SELECT what, reference FROM effect ORDER BY rowid").fetch_all(&self.pool).await.unwrap()
    }
}

/// A clock that is ahead.
#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.0
    }
}

/// Reclaims leases, and handles nothing that the others do.
struct NoHandlers;

#[mpesa_callbacks(no_timeouts)]
impl NoHandlers {
    #[balance_result]
    async fn balance(&self, _: BalanceResult) {}
}

async fn of_kind(mounted: &Mounted, kind: Kind) -> Option<Entry> {
    mounted.entries().await.into_iter().find(|entry| entry.kind == kind)
}

async fn is_done(mounted: &Mounted, kind: Kind) -> bool {
    of_kind(mounted, kind).await.is_some_and(|entry| entry.state == State::Done)
}

#[tokio::test]
async fn a_payment_that_one_release_has_booked_is_not_booked_by_the_next() {
    let shop = Shop::open().await;
    shop.booked_and_killed().await;
    let next = shop.start(ByCallback, shop.store()).await;
    next.post_for(&Kind::Stk, "order-1", paid_push()).await;
    // Both callbacks are left to the release that has booked the payment, which tells the order, too.
    until("both were tried", async || {
        next.entries().await.iter().filter(|entry| !entry.kind.is_payment()).all(|entry| entry.run_at.is_some())
    })
    .await;
    assert_eq!(shop.effects().await, [("paid".to_owned(), None)]);
    drop(next);
    let back = shop.start(ByPayment, shop.store()).await;
    until("the order is told", async || is_done(&back, Kind::PaymentCompleted).await).await;
    let told = ("completed".to_owned(), Some("order-1".to_owned()));
    assert_eq!(shop.effects().await, [("paid".to_owned(), None), told]);
}

/// The release with `#[payment]` is gone for good: nothing is booked twice, and nothing is polled for ever.
#[tokio::test]
async fn a_callback_whose_release_never_comes_back_is_dead_in_the_end() {
    let shop = Shop::open().await;
    shop.booked_and_killed().await;
    let last = shop.start_ahead(ByCallback, shop.store(), Duration::from_hours(2)).await;
    until("it is dead", async || last.entries().await.iter().any(|entry| entry.state == State::Dead)).await;
    let entries = last.entries().await;
    let dead = entries.iter().find(|entry| entry.state == State::Dead).unwrap();
    assert_eq!(dead.kind, Kind::C2bConfirmation);
    assert!(dead.error.as_ref().unwrap().as_str().contains("has booked its payment"));
    assert_eq!(shop.effects().await, [("paid".to_owned(), None)]);
    assert!(last.inbox.dismiss(dead.id).await.unwrap());
}

#[tokio::test]
async fn an_order_that_arrives_while_the_next_release_has_the_payment_in_hand_is_told() {
    let shop = Shop::open().await;
    shop.booked_and_killed().await;
    // The application's database is busy, so that the next release cannot begin.
    let mut busy = shop.pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *busy).await.unwrap();
    let next = shop.start(ByCallback, shop.store()).await;
    until("it has the payment in hand", async || {
        of_kind(&next, Kind::Payment).await.is_some_and(|payment| payment.state == State::Running)
    })
    .await;
    next.post_for(&Kind::Stk, "order-1", paid_push()).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *busy).await.unwrap();
    drop(busy);
    until("it gives the payment back", async || {
        of_kind(&next, Kind::Payment).await.is_some_and(|payment| payment.state == State::Ready)
    })
    .await;
    drop(next);
    let back = shop.start(ByPayment, shop.store()).await;
    until("the order is told", async || is_done(&back, Kind::PaymentCompleted).await).await;
    let told = ("completed".to_owned(), Some("order-1".to_owned()));
    assert_eq!(shop.effects().await, [("paid".to_owned(), None), told]);
}

/// The release that has booked the payment ended before its `#[stk]` had run.
#[tokio::test]
async fn a_callback_waits_for_the_release_that_has_booked_its_payment() {
    let shop = Shop::open().await;
    let (is_broken, store) = (Arc::new(AtomicBool::new(true)), shop.store());
    store.lose_settlements(u32::MAX);
    let first = shop.start(WithPush(is_broken.clone()), store).await;
    first.post_for(&Kind::Stk, "order-1", paid_push()).await;
    until("it is booked", async || !shop.effects().await.is_empty()).await;
    drop(first);
    let next = shop.start(ByCallback, shop.store()).await;
    until("the payment can be claimed", async || {
        of_kind(&next, Kind::Payment).await.is_some_and(|payment| payment.state == State::Ready)
    })
    .await;
    drop(next);
    is_broken.store(false, Ordering::SeqCst);
    let back = shop.start(WithPush(is_broken), shop.store()).await;
    until_within(Duration::from_mins(2), "its own handler has run", async || is_done(&back, Kind::Stk).await).await;
    let by: Vec<String> = shop.effects().await.into_iter().map(|(by, _)| by).collect();
    assert_eq!(by, ["paid", "request closed"]);
}

/// The first release ended between its `#[stk]`, which books no money, and its `#[payment]`.
#[tokio::test]
async fn a_payment_that_was_left_to_its_own_handler_is_not_settled_by_the_next_release() {
    let shop = Shop::open().await;
    shop.closed_and_killed().await;
    let next = shop.start(ByCallback, shop.store()).await;
    until("the push was tried", async || {
        of_kind(&next, Kind::Stk).await.is_some_and(|push| push.state == State::Ready && push.run_at.is_some())
    })
    .await;
    assert_eq!(of_kind(&next, Kind::Payment).await.unwrap().state, State::Ready);
    drop(next);
    let back = shop.start(Closes(Arc::default()), shop.store()).await;
    until("the payment is settled", async || is_done(&back, Kind::Payment).await).await;
    until_within(Duration::from_mins(2), "the push is settled", async || is_done(&back, Kind::Stk).await).await;
    let by: Vec<String> = shop.effects().await.into_iter().map(|(by, _)| by).collect();
    assert_eq!(by, ["request closed", "paid"]);
}

/// The same, and the first release is gone for good: the error says that nothing is booked.
#[tokio::test]
async fn a_payment_that_was_left_to_a_release_that_never_comes_back_is_reported() {
    let shop = Shop::open().await;
    shop.closed_and_killed().await;
    let last = shop.start_ahead(ByCallback, shop.store(), Duration::from_hours(2)).await;
    until("it is dead", async || last.entries().await.iter().any(|entry| entry.state == State::Dead)).await;
    let dead = of_kind(&last, Kind::Stk).await.unwrap();
    assert!(dead.error.as_ref().unwrap().as_str().contains("not booked its payment"), "{dead:?}");
    assert_ne!(of_kind(&last, Kind::Payment).await.unwrap().state, State::Done);
    // The person has booked it by hand. It is not booked again if the first release comes back after all.
    assert!(last.inbox.dismiss(dead.id).await.unwrap());
    assert!(is_done(&last, Kind::Payment).await);
    drop(last);
    let back = shop.start(ByPayment, shop.store()).await;
    back.post("/c2b/confirmation", its_confirmation()).await;
    until("it knows of it", async || is_done(&back, Kind::C2bConfirmation).await).await;
    back.settled().await;
    let by: Vec<String> = shop.effects().await.into_iter().map(|(by, _)| by).collect();
    assert_eq!(by, ["request closed"]);
}

/// The first release has booked the payment and is gone for good. Its other callback arrives late: it is not polled for
/// ever, and books nothing.
#[tokio::test]
async fn a_late_callback_of_a_payment_that_the_first_release_has_settled_is_dead_in_the_end() {
    let shop = Shop::open().await;
    let first = shop.start(ByPayment, shop.store()).await;
    first.post("/c2b/confirmation", its_confirmation()).await;
    until("it is booked", async || is_done(&first, Kind::Payment).await).await;
    drop(first);
    let next = shop.start(ByCallback, shop.store()).await;
    next.post_for(&Kind::Stk, "order-1", paid_push()).await;
    assert_eq!(of_kind(&next, Kind::Stk).await.unwrap().state, State::Ready, "it is left to the first release");
    drop(next);
    let last = shop.start_ahead(ByCallback, shop.store(), Duration::from_hours(2)).await;
    until("it is dead", async || of_kind(&last, Kind::Stk).await.is_some_and(|push| push.state == State::Dead)).await;
    assert_eq!(shop.effects().await, [("paid".to_owned(), None)]);
    assert!(last.inbox.dismiss(of_kind(&last, Kind::Stk).await.unwrap().id).await.unwrap());
}

/// The attempts of the first release had no effect, and a handler of the next has booked the payment
/// with its order.
#[tokio::test]
async fn a_payment_that_callbacks_accounted_for_with_its_order_is_not_completed() {
    let shop = Shop::open().await;
    let first = shop.start(Broken, shop.store()).await;
    first.post("/c2b/confirmation", its_confirmation()).await;
    until("it has failed to book the payment", async || {
        of_kind(&first, Kind::Payment).await.is_some_and(|payment| payment.attempts > 1)
    })
    .await;
    drop(first);
    let next = shop.start(PushesOnly, shop.store()).await;
    next.post_for(&Kind::Stk, "order-1", paid_push()).await;
    until("the push is settled", async || is_done(&next, Kind::Stk).await).await;
    drop(next);
    let back = shop.start(ByPayment, shop.store()).await;
    until("the order is told", async || is_done(&back, Kind::PaymentCompleted).await).await;
    assert_eq!(shop.effects().await, [("stk".to_owned(), Some("order-1".to_owned()))]);
}

/// A handler of the next release has booked the payment without its order, which arrives when the
/// first release is back.
#[tokio::test]
async fn a_payment_that_callbacks_accounted_for_without_its_order_is_completed() {
    let shop = Shop::open().await;
    let first = shop.start(Broken, shop.store()).await;
    first.post("/c2b/confirmation", its_confirmation()).await;
    until("it has failed to book the payment", async || {
        of_kind(&first, Kind::Payment).await.is_some_and(|payment| payment.attempts > 1)
    })
    .await;
    drop(first);
    let next = shop.start(ByCallback, shop.store()).await;
    until("it is booked", async || is_done(&next, Kind::Payment).await).await;
    drop(next);
    let back = shop.start(ByPayment, shop.store()).await;
    back.post_for(&Kind::Stk, "order-1", paid_push()).await;
    until("the order is told", async || is_done(&back, Kind::PaymentCompleted).await).await;
    let told = ("completed".to_owned(), Some("order-1".to_owned()));
    assert_eq!(shop.effects().await, [("c2b".to_owned(), None), told]);
}

/// A person has the next release handle a callback again, whose payment the first one could not book. The next one
/// ends after its commit.
#[tokio::test]
async fn a_payment_that_was_booked_by_a_repetition_is_not_booked_again() {
    let shop = Shop::open().await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let first = shop.start(PaysLater(is_broken.clone()), shop.store()).await;
    first.post_for(&Kind::Stk, "order-1", paid_push()).await;
    until("it has failed to book the payment", async || {
        let payment = of_kind(&first, Kind::Payment).await;
        payment.is_some_and(|payment| payment.attempts > 1) && is_done(&first, Kind::Stk).await
    })
    .await;
    drop(first);
    let store = shop.store();
    store.lose_settlements(u32::MAX);
    let next = shop.start(ByCallback, store).await;
    let push = of_kind(&next, Kind::Stk).await.unwrap();
    assert!(next.inbox.handle_again(push.id, "rolled back").await.unwrap());
    until("it is booked", async || !shop.effects().await.is_empty()).await;
    drop(next);
    is_broken.store(false, Ordering::SeqCst);
    let back = shop.start(PaysLater(is_broken), shop.store()).await;
    until("the payment is settled", async || is_done(&back, Kind::Payment).await).await;
    assert_eq!(shop.effects().await, [("stk".to_owned(), Some("order-1".to_owned()))]);
}

/// Books in `#[stk]` only.
struct PushesOnly;

#[mpesa_callbacks]
impl PushesOnly {
    #[stk]
    async fn pushed(&self, _: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "stk", ctx.reference()).await
    }
}

/// Books in `#[payment]`, and closes the request in `#[stk]`, which fails while the switch is on.
struct WithPush(Arc<AtomicBool>);

#[mpesa_callbacks]
impl WithPush {
    #[stk(max_retries = 1000)]
    async fn pushed(&self, _: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        if self.0.load(Ordering::SeqCst) {
            return Err(sqlx::Error::WorkerCrashed);
        }
        book(tx, "request closed", ctx.reference()).await
    }

    #[payment]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "paid", payment.reference.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str)).await
    }
}

/// Closes the request in `#[stk]`, and cannot book while the switch is on.
struct Closes(Arc<AtomicBool>);

#[mpesa_callbacks]
impl Closes {
    #[stk]
    async fn pushed(&self, _: StkCallback, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        book(tx, "request closed", None).await
    }

    #[payment(max_retries = 1000)]
    async fn paid(&self, _: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        if self.0.load(Ordering::SeqCst) {
            return Err(sqlx::Error::WorkerCrashed);
        }
        book(tx, "paid", None).await
    }
}

/// Cannot book while the switch is on.
struct PaysLater(Arc<AtomicBool>);

#[mpesa_callbacks]
impl PaysLater {
    #[stk]
    async fn pushed(&self, _: StkCallback) {}

    #[payment(max_retries = 1000)]
    async fn paid(&self, payment: Payment, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        if self.0.load(Ordering::SeqCst) {
            return Err(sqlx::Error::WorkerCrashed);
        }
        book(tx, "paid", payment.reference.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str)).await
    }
}

/// Never books anything.
struct Broken;

#[mpesa_callbacks]
impl Broken {
    #[c2b_confirmation(max_retries = 1000)]
    async fn confirmed(&self, _: C2bConfirmation, _tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        Err(sqlx::Error::WorkerCrashed)
    }

    #[payment(max_retries = 1000)]
    async fn paid(&self, _: Payment, _tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        Err(sqlx::Error::WorkerCrashed)
    }
}
