//! Daraja's id of a request becomes known after its callback, or at the same moment.

use std::sync::Arc;
use std::time::Duration;

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{MemoryStore, State, Verdict};
use mpesa_callbacks_tests::{FlakyStore, Mounted, push, unpaid_push, until};

use super::{LONG, Shop, order, stk};

/// Longer than the poller waits: nothing wakes it for what another replica releases.
const POLLED: Duration = Duration::from_secs(6);

/// Two different successes under one id of Daraja, before it is linked: they contradict each other.
#[tokio::test]
async fn of_two_receipts_under_one_id_none_is_released_by_its_link() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_1", 1032)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "FORGED", 100)).await;
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_2").await.unwrap();
    mounted.settled_but_expectations().await;
    assert!(shop.paid().is_empty(), "{:?}", shop.heard());
}

/// Paid after cancelled is released by a person only.
#[tokio::test]
async fn a_success_after_a_cancellation_is_not_released_by_its_link() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_1", 1032)).await;
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_2", 1032)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "FORGED", 100)).await;
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_2").await.unwrap();
    mounted.settled_but_expectations().await;
    assert!(shop.paid().is_empty(), "{:?}", shop.heard());
}

/// The id was linked before. Paid after cancelled is held.
#[tokio::test]
async fn a_success_after_a_cancellation_is_held_where_the_id_was_known() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_2").await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_2", 1032)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "FORGED", 100)).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "FORGED2", 100)).await;
    mounted.settled_but_expectations().await;
    assert!(shop.paid().is_empty(), "{:?}", shop.heard());
}

/// Two replicas: a callback is recorded by one while the other links its id. Returns when the callback was posted.
struct Race {
    shop: Shop,
    one: Arc<Mounted>,
    other: Mounted,
    flaky: FlakyStore,
}

impl Race {
    async fn new(required: Option<Kind>) -> Race {
        let (shop, inner) = (Shop::default(), MemoryStore::new());
        let flaky = FlakyStore::before(Arc::new(inner.clone()));
        let one = Arc::new(shop.start(flaky.clone(), required.clone()).await);
        let other = shop.start(inner, required).await;
        other.inbox.expect_callback(&order(LONG)).await.unwrap();
        Race { shop, one, other, flaky }
    }

    /// With a first push that was cancelled.
    async fn after_a_cancellation() -> Race {
        let race = Race::new(None).await;
        race.link("ws_CO_1").await;
        race.one.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_1", 1032)).await;
        race.other.settled_but_expectations().await;
        race
    }

    async fn link(&self, id: &str) {
        self.other.inbox.link_request_id(&Kind::Stk, "order-1", id).await.unwrap();
    }

    /// At the URL of the order, or at the plain one.
    async fn post_while_linking(&self, is_of_order: bool, id: &'static str, receipt: &'static str, is_blind: bool) {
        self.flaky.hold_up_recording(true);
        let one = self.one.clone();
        let posting = tokio::spawn(async move {
            let body = push(id, receipt, 100);
            match is_of_order {
                true => one.post_for(&Kind::Stk, "order-1", body).await.status,
                false => one.post("/stk", body).await.status,
            }
        });
        until("it is being recorded", async || self.flaky.holds_something_up()).await;
        self.link(id).await;
        if is_blind {
            self.flaky.go_blind_after_recording();
        }
        self.flaky.hold_up_recording(false);
        assert_eq!(posting.await.unwrap(), 200);
        self.flaky.see();
    }
}

#[tokio::test]
async fn a_contradiction_that_is_recorded_while_its_id_is_linked_is_not_booked() {
    for required in [None, Some(Kind::Stk)] {
        let race = Race::new(required).await;
        race.one.post("/stk", unpaid_push("ws_CO_1", 1032)).await;
        race.post_while_linking(false, "ws_CO_1", "FORGED", false).await;
        tokio::time::sleep(POLLED).await;
        let rows = stk(&race.other).await;
        assert!(rows.iter().any(|row| row.verdict == Verdict::Conflict && row.state == State::Held), "{rows:?}");
        assert!(race.shop.paid().is_empty(), "{:?}", race.shop.heard());
    }
}

/// A contradiction of a success that was held because of its id.
#[tokio::test]
async fn a_contradiction_at_the_url_of_a_request_is_not_released_by_a_link() {
    let race = Race::after_a_cancellation().await;
    race.one.post("/stk", unpaid_push("ws_CO_2", 1032)).await;
    race.post_while_linking(true, "ws_CO_2", "FORGED", false).await;
    tokio::time::sleep(POLLED).await;
    assert!(race.shop.paid().is_empty(), "{:?}", race.shop.heard());
}

#[tokio::test]
async fn a_second_push_that_is_paid_while_its_id_is_linked_is_booked() {
    let race = Race::after_a_cancellation().await;
    race.post_while_linking(true, "ws_CO_2", "RCPT2", false).await;
    until("it is booked", async || race.shop.paid() == ["paid RCPT2 for order-1"]).await;
}

/// The comparison after recording fails: maintenance repeats it.
#[tokio::test]
async fn a_second_push_that_is_paid_while_its_id_is_linked_is_compared_again() {
    let race = Race::after_a_cancellation().await;
    race.post_while_linking(true, "ws_CO_2", "RCPT2", true).await;
    until("it is booked", async || race.shop.paid() == ["paid RCPT2 for order-1"]).await;
}

#[tokio::test]
async fn a_push_that_must_be_expected_is_compared_again() {
    let race = Race::new(Some(Kind::Stk)).await;
    race.post_while_linking(false, "ws_CO_2", "RCPT2", true).await;
    until("it is booked", async || race.shop.paid() == ["paid RCPT2 for order-1"]).await;
}
