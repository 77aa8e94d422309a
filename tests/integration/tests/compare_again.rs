//! A callback and its expectation are recorded at the same moment, and the comparison that follows
//! fails. Money must not stay held until a person looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State};
use mpesa_callbacks::{Clock, ExpectError, Kind};
use mpesa_callbacks_tests::{CapturedLog, FlakyStore, Mounted, SECRET, paid_push, push, until};

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[c2b_confirmation]
    async fn confirmed(&self, _: C2bConfirmation) {}

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        Ok(())
    }
}

/// A clock that a test sets.
#[derive(Clone, Debug)]
struct SetClock(Arc<AtomicU64>);

impl SetClock {
    fn new() -> SetClock {
        SetClock(Arc::new(AtomicU64::new(1_800_000_000)))
    }
}

impl Clock for SetClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A confirmation that answers nothing.
fn other_confirmation(number: usize) -> String {
    format!(
        r#"{{"TransID":"T{number}","TransAmount":"10.00","BillRefNumber":"other","BusinessShortCode":"600638","TransTime":"20191122063845"}}"#
    )
}

async fn replica(store: FlakyStore) -> Mounted {
    replica_at(store, SetClock::new()).await
}

async fn replica_at(store: FlakyStore, clock: SetClock) -> Mounted {
    let inbox = Inbox::builder(Shop)
        .store(store)
        .secret(SECRET)
        .clock(Arc::new(clock))
        .lease_check_interval(Duration::from_millis(20))
        .require_expected([Kind::Stk]);
    Mounted::new(inbox.start().await.unwrap())
}

async fn state(mounted: &Mounted) -> State {
    mounted.entries().await.iter().find(|entry| entry.kind == Kind::Stk).expect("the callback").state
}

/// Two replicas: one receives the callback and cannot compare it again, the other has recorded the expectation.
async fn race(clock: &SetClock) -> Race {
    let inner = MemoryStore::new();
    let flaky = FlakyStore::before(Arc::new(inner.clone()));
    let receiving = replica_at(flaky.clone(), clock.clone()).await;
    let asking = replica_at(FlakyStore::before(Arc::new(inner.clone())), clock.clone()).await;
    // Neither has anything to compare from its start.
    tokio::time::sleep(Duration::from_millis(100)).await;
    flaky.go_blind_after_recording();
    assert_eq!(receiving.post_for(&Kind::Stk, "order-1", paid_push()).await.status, 200);
    assert_eq!(state(&receiving).await, State::Held, "nobody had asked for it");
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
    asking.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
    Race { inner, flaky, receiving, asking }
}

struct Race {
    inner: MemoryStore,
    flaky: FlakyStore,
    receiving: Mounted,
    asking: Mounted,
}

#[tokio::test]
async fn a_callback_is_compared_again_when_the_store_is_back() {
    let Race { flaky, receiving, .. } = race(&SetClock::new()).await;
    flaky.see();
    until("it is released and handled", async || state(&receiving).await == State::Done).await;
}

#[tokio::test]
async fn a_callback_is_compared_again_by_the_next_process() {
    // The first one stays as it is: it finds nothing.
    let Race { inner, receiving, .. } = race(&SetClock::new()).await;
    let next = replica(FlakyStore::before(Arc::new(inner))).await;
    until("it is released and handled", async || state(&next).await == State::Done).await;
    drop(receiving);
}

/// A clock is set back, or a spool is replayed, which keeps the times of receipt.
#[tokio::test]
async fn a_callback_is_compared_again_behind_many_that_were_received_earlier() {
    let clock = SetClock::new();
    let Race { flaky, receiving, asking, .. } = race(&clock).await;
    clock.0.fetch_sub(3600, Ordering::SeqCst);
    for number in 0..250 {
        asking.post("/c2b/confirmation", other_confirmation(number)).await;
    }
    flaky.see();
    until("it is released and handled", async || state(&receiving).await == State::Done).await;
}

#[tokio::test]
async fn a_callback_is_compared_again_by_a_process_that_starts_long_after() {
    let clock = SetClock::new();
    let Race { inner, asking, receiving, .. } = race(&clock).await;
    for number in 0..250 {
        clock.0.fetch_add(3, Ordering::SeqCst);
        asking.post("/c2b/confirmation", other_confirmation(number)).await;
    }
    let next = replica_at(FlakyStore::before(Arc::new(inner)), clock).await;
    until("it is released and handled", async || state(&next).await == State::Done).await;
    drop(receiving);
}

/// An account is topped up again and again by its own URL. Nothing was expected, so nothing is odd.
#[tokio::test]
async fn repeated_payments_of_an_account_are_not_reported() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let inbox = Inbox::builder(Shop).store(MemoryStore::new()).secret(SECRET);
    let mounted = Mounted::new(inbox.start().await.unwrap());
    mounted.post_for(&Kind::Stk, "account-7", push("ws_CO_1", "RCPT1", 100)).await;
    mounted.post_for(&Kind::Stk, "account-7", push("ws_CO_2", "RCPT2", 100)).await;
    mounted.settled().await;
    assert!(!log.text().contains("at the same moment"), "{}", log.text());
}

/// The comparison before recording sees neither of them. The log must contain an error.
#[tokio::test]
async fn two_payers_at_the_same_moment_are_reported() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // The default of this thread, on which the runtime of this test runs all its tasks.
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let inner = MemoryStore::new();
    let slow = FlakyStore::before(Arc::new(inner.clone()));
    let (one, other) = (replica(slow.clone()).await, replica(FlakyStore::before(Arc::new(inner))).await);
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
    one.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
    slow.hold_up_recording(true);
    let first = {
        let one = one.clone();
        tokio::spawn(async move { one.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await })
    };
    until("the first was compared, and waits to be recorded", async || slow.holds_something_up()).await;
    assert_eq!(other.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await.status, 200);
    slow.hold_up_recording(false);
    assert_eq!(first.await.unwrap().status, 200);
    until("it is reported", async || log.text().contains("paid one request at the same moment")).await;
}

/// Money that was held long ago waits for a person, although its account is expected today.
#[tokio::test]
async fn old_money_that_is_held_is_not_released_by_a_restart() {
    let (clock, inner) = (SetClock::new(), MemoryStore::new());
    let first = replica_at(FlakyStore::before(Arc::new(inner.clone())), clock.clone()).await;
    first.post_for(&Kind::Stk, "order-1", paid_push()).await;
    assert_eq!(state(&first).await, State::Held);
    clock.0.fetch_add(90 * 24 * 3600, Ordering::SeqCst);
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
    first.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
    let next = replica_at(FlakyStore::before(Arc::new(inner)), clock).await;
    // It compares at its start.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(state(&next).await, State::Held);
}

/// A late duplicate of an old callback, whose comparison fails: not everything since then is compared.
#[tokio::test]
async fn a_late_duplicate_is_not_compared_with_everything_since() {
    let clock = SetClock::new();
    let store = FlakyStore::default();
    let replica = replica_at(store.clone(), clock).await;
    for number in 0..1000 {
        replica.post("/c2b/confirmation", other_confirmation(number)).await;
    }
    replica.settled().await;
    store.go_blind_after_recording();
    replica.post("/c2b/confirmation", other_confirmation(0)).await;
    let before = store.read();
    store.see();
    // Many turns of the maintenance.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(store.read() - before < 700, "{} entries were read", store.read() - before);
}

/// The expectation is recorded between the two comparisons: no hook is called for a callback that was held for a moment.
#[tokio::test]
async fn a_callback_that_is_released_at_once_is_not_reported() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let (inner, clock) = (MemoryStore::new(), SetClock::new());
    let slow = FlakyStore::before(Arc::new(inner.clone()));
    let receiving = replica_at(slow.clone(), clock.clone()).await;
    let asking = replica_at(FlakyStore::before(Arc::new(inner)), clock).await;
    slow.hold_up_recording(true);
    let posting = async { receiving.post_for(&Kind::Stk, "order-1", paid_push()).await };
    let expecting = async {
        until("it was compared", async || slow.holds_something_up()).await;
        let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
        asking.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
        slow.hold_up_recording(false);
    };
    let (answer, ()) = tokio::join!(posting, expecting);
    assert_eq!(answer.status, 200);
    until("it is handled", async || state(&receiving).await == State::Done).await;
    assert!(!log.text().contains("is held"), "{}", log.text());
}
