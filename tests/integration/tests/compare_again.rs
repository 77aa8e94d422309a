//! A callback and its expectation are recorded at the same moment, and the comparison that follows
//! fails. Money must not stay held until a person looks.

use std::sync::Arc;
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State};
use mpesa_callbacks::{ExpectError, Kind};
use mpesa_callbacks_tests::{CapturedLog, FlakyStore, Mounted, SECRET, paid_push, push, until};

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        Ok(())
    }
}

async fn replica(store: FlakyStore) -> Mounted {
    let inbox = Inbox::builder(Shop)
        .store(store)
        .secret(SECRET)
        .lease_check_interval(Duration::from_millis(20))
        .require_expected([Kind::Stk]);
    Mounted::new(inbox.start().await.unwrap())
}

async fn state(mounted: &Mounted) -> State {
    mounted.entries().await.iter().find(|entry| entry.kind == Kind::Stk).expect("the callback").state
}

/// Two replicas: one receives the callback and cannot compare it again, the other has recorded the expectation.
async fn race() -> (MemoryStore, FlakyStore, Mounted) {
    let inner = MemoryStore::new();
    let flaky = FlakyStore::before(Arc::new(inner.clone()));
    let receiving = replica(flaky.clone()).await;
    let asking = replica(FlakyStore::before(Arc::new(inner.clone()))).await;
    // Neither has anything to compare from its start.
    tokio::time::sleep(Duration::from_millis(100)).await;
    flaky.go_blind_after_recording();
    assert_eq!(receiving.post_for(&Kind::Stk, "order-1", paid_push()).await.status, 200);
    assert_eq!(state(&receiving).await, State::Held, "nobody had asked for it");
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
    asking.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
    (inner, flaky, receiving)
}

#[tokio::test]
async fn a_callback_is_compared_again_when_the_store_is_back() {
    let (_inner, flaky, receiving) = race().await;
    flaky.see();
    until("it is released and handled", async || state(&receiving).await == State::Done).await;
}

#[tokio::test]
async fn a_callback_is_compared_again_by_the_next_process() {
    // The first one stays as it is: it finds nothing.
    let (inner, _flaky, _receiving) = race().await;
    let next = replica(FlakyStore::before(Arc::new(inner))).await;
    until("it is released and handled", async || state(&next).await == State::Done).await;
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
