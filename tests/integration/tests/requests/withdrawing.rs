//! Requests that were not made, and are made anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State};
use mpesa_callbacks::{Backoff, ExpectError, Kind};
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, push, unpaid_push, until};

use super::{LONG, SHORT, Shop, order, overdue_row};

/// The first push was cancelled. The second one is expected again, and its callback does not come.
#[tokio::test]
async fn what_failed_before_does_not_answer_a_request_that_is_made_anew() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", unpaid_push("ws_CO_1", 1032)).await;
    // The customer tries again, and Daraja refuses that push.
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    mounted.settled_but_expectations().await;
    // And again, and Daraja takes it.
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_2").await.unwrap();
    until("it is asked after", async || shop.asked() > 0).await;
}

/// What paid it does.
#[tokio::test]
async fn what_paid_before_answers_a_request_that_is_made_anew() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await;
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.settled().await;
    assert_eq!((shop.asked(), shop.paid().len()), (0, 1), "{:?}", shop.heard());
}

/// The store is away in the middle of a call. The application tries once more.
#[tokio::test]
async fn a_call_that_failed_half_way_is_finished_by_the_next_try() {
    let (shop, store) = (Shop::default(), FlakyStore::default());
    let mounted = shop.start(store.clone(), []).await;
    mounted.inbox.expect_callback(&order(Duration::from_millis(10))).await.unwrap();
    until("it is dead", async || overdue_row(&mounted).await.state == State::Dead).await;
    let asked = shop.asked();
    store.go_blind_after_recording();
    assert!(mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.is_err());
    store.see();
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    assert_eq!(overdue_row(&mounted).await.state, State::Done, "nobody need look at it");
    store.go_away(true);
    assert!(mounted.inbox.expect_callback(&order(SHORT)).await.is_err());
    store.go_away(false);
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it is asked after", async || shop.asked() > asked).await;
}

/// Withdraws in the other replica while this one asks, and the result of this one is written late.
#[derive(Clone, Default)]
struct Asking {
    asked: Arc<Mutex<u32>>,
    is_in: Arc<AtomicBool>,
    goes_on: Arc<AtomicBool>,
}

#[mpesa_callbacks(no_timeouts)]
impl Asking {
    #[stk]
    async fn pushed(&self, _: StkCallback) {}

    #[overdue(max_retries = 3)]
    async fn ask(&self, _: Expectation) {
        *self.asked.lock().unwrap() += 1;
        self.is_in.store(true, Ordering::SeqCst);
        while !self.goes_on.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_request_that_is_made_anew_before_the_end_of_the_withdrawn_one_is_written_is_asked_after() {
    let (asking, inner) = (Asking::default(), MemoryStore::new());
    let flaky = FlakyStore::before(Arc::new(inner.clone()));
    let start = async |store: FlakyStore| {
        let inbox = Inbox::builder(asking.clone())
            .store(store)
            .secret(SECRET)
            .lease(Duration::from_secs(30))
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)));
        Mounted::new(inbox.start().await.unwrap())
    };
    let one = start(flaky.clone()).await;
    one.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it asks", async || asking.is_in.load(Ordering::SeqCst)).await;
    let other = start(FlakyStore::before(Arc::new(inner))).await;
    other.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    // This replica loses its connection for a moment, so that its result is not written yet.
    flaky.go_away(true);
    asking.goes_on.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.inbox.expect_callback(&order(SHORT)).await.unwrap();
    assert_eq!(overdue_row(&other).await.state, State::Running);
    flaky.go_away(false);
    until("it is asked after", async || *asking.asked.lock().unwrap() > 1).await;
}

/// Three of its four attempts are used when it is withdrawn.
#[tokio::test]
async fn a_request_that_is_made_anew_has_all_its_attempts() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it was asked after", async || shop.asked() == 3).await;
    until("it is retried", async || overdue_row(&mounted).await.state == State::Ready).await;
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it was asked after four times more", async || shop.asked() == 3 + 4).await;
}

/// Nothing is known of a request whose rows were purged, so that no callback would find it.
#[tokio::test]
async fn a_reference_whose_rows_were_purged_is_not_used_again() {
    let mounted = Shop::default().start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    until("it has ended", async || overdue_row(&mounted).await.state == State::Done).await;
    let row = overdue_row(&mounted).await.id;
    until("it is purged", async || {
        mounted.inbox.purge(Duration::ZERO).await.unwrap();
        mounted.inbox.get(row).await.unwrap().is_some_and(|row| row.body.is_none())
    })
    .await;
    let refused = mounted.inbox.expect_callback(&order(LONG)).await;
    assert!(matches!(refused, Err(ExpectError::AlreadyExpected)), "{refused:?}");
}

/// Its last attempt fails while the request is withdrawn.
#[derive(Clone, Default)]
struct FailsToAsk(Asking);

#[mpesa_callbacks(no_timeouts)]
impl FailsToAsk {
    #[stk]
    async fn pushed(&self, _: StkCallback) {}

    #[overdue(max_retries = 0)]
    async fn ask(&self, expected: Expectation) -> Result<(), std::fmt::Error> {
        self.0.ask(expected).await;
        Err(std::fmt::Error)
    }
}

#[tokio::test]
async fn a_request_that_is_withdrawn_during_its_last_attempt_can_be_made_anew() {
    let asking = FailsToAsk::default();
    let mounted = Inbox::builder(asking.clone()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(mounted);
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it asks", async || asking.0.is_in.load(Ordering::SeqCst)).await;
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    asking.0.goes_on.store(true, Ordering::SeqCst);
    until("it has ended", async || overdue_row(&mounted).await.state != State::Running).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it is asked after", async || *asking.0.asked.lock().unwrap() > 1).await;
}

/// `#[overdue]` learns that no push was made, and makes another.
#[derive(Clone, Default)]
struct PushesAgain(Arc<Mutex<u32>>);

#[mpesa_callbacks(no_timeouts)]
impl PushesAgain {
    #[stk]
    async fn pushed(&self, _: StkCallback) {}

    #[overdue(max_retries = 0)]
    async fn ask(&self, _: Expectation, ctx: &CallbackContext) -> Result<(), ExpectError> {
        let count = {
            let mut count = self.0.lock().unwrap();
            *count += 1;
            *count
        };
        if count == 1 {
            ctx.inbox().withdraw_expectation(&Kind::Stk, "order-1").await?;
            ctx.inbox().expect_callback(&order(SHORT)).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_handler_may_withdraw_a_request_and_make_it_anew() {
    let shop = PushesAgain::default();
    let mounted = Inbox::builder(shop.clone()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(mounted);
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    until("it is asked after", async || *shop.0.lock().unwrap() > 1).await;
}
