//! Two callbacks with different ids pay one request. The second is held, in whatever order callback,
//! expectation and id become known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State, Store, Verdict};
use mpesa_callbacks::{ExpectError, Kind};
use mpesa_callbacks_tests::{CapturedLog, FlakyStore, Mounted, SECRET, push, unpaid_push, until};

/// Books payments by their order.
#[derive(Clone, Default)]
struct Shop {
    booked: Arc<Mutex<Vec<String>>>,
}

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, payment: Payment) {
        let receipt = &payment.receipt;
        self.booked.lock().unwrap().push(format!("{receipt} for {}", payment.order().unwrap_or("nothing")));
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment) {
        self.paid(payment).await;
    }

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        Ok(())
    }
}

impl Shop {
    async fn start(&self, store: impl Store, required: impl IntoIterator<Item = Kind>) -> Mounted {
        let inbox = Inbox::builder(self.clone())
            .store(store)
            .secret(SECRET)
            .require_expected(required)
            .lease_check_interval(Duration::from_millis(20))
            .counterpart_timeout(Duration::ZERO);
        Mounted::new(inbox.start().await.unwrap())
    }

    async fn open(&self, required: impl IntoIterator<Item = Kind>) -> Mounted {
        let mounted = self.start(MemoryStore::new(), required).await;
        mounted.inbox.expect_callback(&expected_push()).await.unwrap();
        mounted
    }

    fn booked(&self) -> Vec<String> {
        self.booked.lock().unwrap().clone()
    }
}

fn expected_push() -> Expectation {
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100));
    expected.timeout(Duration::from_mins(10))
}

fn confirmation(receipt: &str, account: &str) -> String {
    format!(
        r#"{{"TransID":"{receipt}","TransAmount":"100.00","BillRefNumber":"{account}","BusinessShortCode":"600638","TransTime":"20191122063845"}}"#
    )
}

async fn entry(mounted: &Mounted, key: &str) -> (State, Verdict) {
    let entries = mounted.entries().await;
    let entry = entries.iter().find(|entry| entry.kind == Kind::Stk && entry.key == key).expect("the callback");
    (entry.state, entry.verdict)
}

async fn link(mounted: &Mounted, id: &str) {
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", id).await.unwrap();
}

#[tokio::test]
async fn the_id_is_known_before_the_second_payer() {
    let shop = Shop::default();
    let mounted = shop.open([Kind::Stk]).await;
    link(&mounted, "ws_CO_1").await;
    mounted.post("/stk", push("ws_CO_1", "RCPT1", 100)).await;
    link(&mounted, "ws_CO_2").await;
    mounted.post("/stk", push("ws_CO_2", "RCPT2", 100)).await;
    until("the first is booked", async || !shop.booked().is_empty()).await;
    assert_eq!(entry(&mounted, "ws_CO_2").await, (State::Held, Verdict::Conflict));
    assert_eq!(shop.booked(), ["RCPT1 for order-1"]);
}

#[tokio::test]
async fn the_id_becomes_known_after_the_second_payer_was_held_as_unexpected() {
    let shop = Shop::default();
    let mounted = shop.open([Kind::Stk]).await;
    link(&mounted, "ws_CO_1").await;
    mounted.post("/stk", push("ws_CO_1", "RCPT1", 100)).await;
    mounted.post("/stk", push("ws_CO_2", "RCPT2", 100)).await;
    until("the first is booked", async || !shop.booked().is_empty()).await;
    link(&mounted, "ws_CO_2").await;
    mounted.settled_but_expectations().await;
    assert_eq!(entry(&mounted, "ws_CO_2").await.0, State::Held);
    assert_eq!(shop.booked(), ["RCPT1 for order-1"]);
}

/// Both came to the plain URL, and were booked without an order. Only one of them is this order's.
#[tokio::test]
async fn the_ids_become_known_after_both_were_booked() {
    let shop = Shop::default();
    let mounted = shop.open([]).await;
    mounted.post("/stk", push("ws_CO_1", "RCPT1", 100)).await;
    mounted.post("/stk", push("ws_CO_2", "RCPT2", 100)).await;
    until("both are booked", async || shop.booked().len() == 2).await;
    link(&mounted, "ws_CO_1").await;
    until("the first gets its order", async || shop.booked().len() == 3).await;
    link(&mounted, "ws_CO_2").await;
    mounted.settled_but_expectations().await;
    assert_eq!(shop.booked()[2..], ["RCPT1 for order-1"]);
}

/// A person has released a callback with another amount: that one has paid the order.
#[tokio::test]
async fn the_first_payer_was_released_by_a_person() {
    let shop = Shop::default();
    let mounted = shop.open([]).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 101)).await;
    assert_eq!(entry(&mounted, "ws_CO_1").await, (State::Held, Verdict::Conflict));
    let entries = mounted.entries().await;
    let held = entries.iter().find(|entry| entry.state == State::Held).expect("the callback");
    mounted.inbox.release(held.id).await.unwrap();
    until("it is booked", async || shop.booked().len() == 1).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    assert_eq!(entry(&mounted, "ws_CO_2").await, (State::Held, Verdict::Conflict));
    mounted.settled_but_expectations().await;
    assert_eq!(shop.booked(), ["RCPT1 for order-1"]);
}

/// A person has looked at it, and has dismissed it.
#[tokio::test]
async fn a_dismissed_callback_is_booked_neither_by_a_link_nor_by_a_restart() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = shop.start(store.clone(), [Kind::Stk, Kind::C2bConfirmation]).await;
    mounted.post("/stk", push("ws_CO_1", "FORGED1", 100)).await;
    mounted.post("/c2b/confirmation", confirmation("FORGED2", "order-1")).await;
    for held in mounted.entries().await {
        assert!(mounted.inbox.dismiss(held.id).await.unwrap());
    }
    let expected = Expectation::new(Kind::C2bConfirmation, "order-1").timeout(Duration::from_mins(10));
    mounted.inbox.expect_callback(&expected).await.unwrap();
    mounted.inbox.expect_callback(&expected_push()).await.unwrap();
    link(&mounted, "ws_CO_1").await;
    let next = shop.start(store, [Kind::Stk, Kind::C2bConfirmation]).await;
    // It compares at its start.
    tokio::time::sleep(Duration::from_millis(300)).await;
    next.settled_but_expectations().await;
    assert!(shop.booked().is_empty(), "{:?}", shop.booked());
}

/// Its handler failed for good, and its payment was booked. A person has looked at it, and has dismissed it: that
/// does not unpay the request.
#[tokio::test]
async fn a_dead_callback_that_was_dismissed_has_still_paid() {
    let shop = FailingPush::default();
    let inbox =
        Inbox::builder(shop.clone()).store(MemoryStore::new()).secret(SECRET).counterpart_timeout(Duration::ZERO);
    let mounted = Mounted::new(inbox.start().await.unwrap());
    mounted.inbox.expect_callback(&expected_push().timeout(Duration::from_secs(1))).await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await;
    until("it is dead", async || entry(&mounted, "ws_CO_1").await.0 == State::Dead).await;
    until("it is booked", async || shop.booked.lock().unwrap().len() == 1).await;
    let dead = mounted.entries().await.into_iter().find(|entry| entry.state == State::Dead).expect("the push");
    assert!(mounted.inbox.dismiss(dead.id).await.unwrap());
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    assert_eq!(entry(&mounted, "ws_CO_2").await, (State::Held, Verdict::Conflict));
    mounted.settled().await;
    assert_eq!(*shop.booked.lock().unwrap(), ["RCPT1"]);
    assert!(!shop.asked.load(Ordering::SeqCst), "the request is answered");
}

/// Books payments, and fails at every push.
#[derive(Clone, Default)]
struct FailingPush {
    booked: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicBool>,
}

#[mpesa_callbacks]
impl FailingPush {
    #[stk(max_retries = 0)]
    async fn pushed(&self, _: StkCallback) -> Result<(), std::fmt::Error> {
        Err(std::fmt::Error)
    }

    #[payment]
    async fn paid(&self, payment: Payment) {
        self.booked.lock().unwrap().push(payment.receipt.clone());
    }

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        self.asked.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// The first push of the request was cancelled. The second is paid, and its callback comes before its id is linked.
#[tokio::test]
async fn a_second_push_that_is_paid_before_its_id_is_known_is_booked() {
    let shop = Shop::default();
    let mounted = shop.open([Kind::Stk]).await;
    link(&mounted, "ws_CO_1").await;
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_1", 1032)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    assert_eq!(entry(&mounted, "ws_CO_2").await, (State::Held, Verdict::Conflict));
    link(&mounted, "ws_CO_2").await;
    until("it is booked", async || !shop.booked().is_empty()).await;
    assert_eq!(shop.booked(), ["RCPT2 for order-1"]);
    // One that Daraja has not sent stays.
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_3", "FORGED", 100)).await;
    assert_eq!(entry(&mounted, "ws_CO_3").await, (State::Held, Verdict::Conflict));
}

/// A second payer was released by a person, so both have paid. Nothing is left to object to.
#[tokio::test]
async fn a_second_payer_that_was_released_is_not_reported_when_the_expectation_is_due() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&expected_push().timeout(Duration::from_secs(1))).await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    let entries = mounted.entries().await;
    let held = entries.iter().find(|entry| entry.state == State::Held).expect("the second");
    mounted.inbox.release(held.id).await.unwrap();
    mounted.settled().await;
    assert!(!log.text().contains("does not answer this expectation"), "{}", log.text());
}

/// An account is topped up many times. When its expectation is due, the callbacks are read once.
#[tokio::test]
async fn an_expectation_of_an_account_with_many_payments_is_cheap() {
    let (shop, store) = (Shop::default(), FlakyStore::default());
    let mounted = shop.start(store.clone(), []).await;
    let expected = Expectation::new(Kind::C2bConfirmation, "account-7").timeout(Duration::from_secs(4));
    mounted.inbox.expect_callback(&expected).await.unwrap();
    for number in 0..200 {
        mounted.post("/c2b/confirmation", confirmation(&format!("RCPT{number}"), "account-7")).await;
    }
    mounted.settled_but_expectations().await;
    let before = store.read();
    mounted.settled().await;
    assert!(store.read() - before < 1000, "{} entries were read", store.read() - before);
}
