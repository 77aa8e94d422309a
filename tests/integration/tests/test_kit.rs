//! The test kit that applications use, tested as they use it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, State};
use mpesa_callbacks::{Backoff, Clock, Sample, TestInbox};

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Shop {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    fn note(&self, what: impl Into<String>) {
        self.heard.lock().unwrap().push(what.into());
    }

    fn heard(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap().clone();
        heard.sort();
        heard
    }
}

#[mpesa_callbacks(no_timeouts)]
impl Shop {
    #[stk]
    async fn push_ended(&self, callback: StkCallback, ctx: &CallbackContext) {
        self.note(format!("stk {:?} for {}", callback.outcome(), ctx.reference().unwrap_or("nobody")));
    }

    #[payment(max_retries = 3)]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext) -> Result<(), std::io::Error> {
        if payment.amount == Amount::from_shillings(13) {
            return Err(std::io::Error::other("superstition"));
        }
        self.note(format!("paid {} for {}, attempt {}", payment.amount, payment.order().unwrap_or("?"), ctx.attempt()));
        Ok(())
    }

    #[c2b_validation]
    async fn check(&self, request: C2bValidation) -> Validation {
        match &request.bill_ref_number {
            Some(account) if account.trimmed() == "order-123" => Validation::accept().with_third_party_trans_id("t"),
            _ => Validation::reject(Rejection::InvalidAccountNumber),
        }
    }

    #[b2c_result]
    async fn sent(&self, _: B2cResult) {}

    #[on_duplicate]
    async fn again(&self, _: &CallbackContext) {
        self.note("duplicate");
    }

    #[on_conflict]
    async fn contradicted(&self, _: &CallbackContext) {
        self.note("conflict");
    }
}

async fn shop() -> (Shop, TestInbox) {
    let shop = Shop::default();
    (shop.clone(), Inbox::for_test(shop).await)
}

#[tokio::test]
async fn a_delivery_is_handled_and_repetitions_and_contradictions_are_seen() {
    let (shop, inbox) = shop().await;
    let paid = || StkCallback::sample().amount(Amount::from_shillings(1500));
    assert_eq!(inbox.deliver_for(&Kind::Stk, "order-1", paid()).await.status(), 200);
    inbox.idle(SOON).await;
    assert_eq!(shop.heard(), ["paid 1500 for order-1, attempt 1", "stk Success for order-1"]);
    inbox.deliver_for(&Kind::Stk, "order-1", paid()).await;
    inbox.deliver_for(&Kind::Stk, "order-1", paid().amount(Amount::from_shillings(1))).await;
    inbox.idle(SOON).await;
    assert_eq!(shop.heard()[..2], ["conflict", "duplicate"]);
    assert_eq!(inbox.list(&Filter::default().state(State::Held)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_handler_that_fails_is_tried_again_until_it_is_dead() {
    let (shop, inbox) = shop().await;
    inbox.deliver(&Kind::Stk, StkCallback::sample().amount(Amount::from_shillings(13))).await;
    inbox.idle(SOON).await;
    assert_eq!(shop.heard(), ["stk Success for nobody"]);
    let dead = inbox.list(&Filter::default().state(State::Dead)).await.unwrap();
    assert_eq!((dead.len(), dead[0].attempts), (1, 4));
}

#[tokio::test]
async fn a_validation_is_answered() {
    let (_, inbox) = shop().await;
    let accepted = inbox.validate(C2bValidation::sample()).await;
    assert_eq!(accepted, Validation::accept().with_third_party_trans_id("t"));
    let rejected = inbox.validate(C2bValidation::sample().account("hello").receipt("OTHER")).await;
    assert_eq!(rejected.rejection(), Some(Rejection::InvalidAccountNumber));
}

#[tokio::test]
async fn a_handler_is_called_directly() {
    let (shop, inbox) = shop().await;
    let ctx = CallbackContext::for_test(&inbox, Kind::Payment).set_attempt(3).set_reference("order-1").set_key("k");
    assert_eq!((ctx.key(), ctx.reference()), ("k", Some("order-1")));
    shop.paid(Payment::sample().account("order-7").payload(), &ctx).await.unwrap();
    assert_eq!(shop.heard(), ["paid 100.00 for order-7, attempt 3"]);
}

#[tokio::test]
#[should_panic(expected = "`ratiba` has no handler with a URL")]
async fn a_kind_without_a_handler_is_said() {
    let (_, inbox) = shop().await;
    inbox.deliver(&Kind::Ratiba, RatibaCallback::sample()).await;
}

#[tokio::test]
#[should_panic(expected = "left to handle")]
async fn what_is_left_is_said() {
    let slow = Inbox::builder(Slow).start_for_test().await;
    slow.deliver(&Kind::Stk, StkCallback::sample()).await;
    slow.idle(Duration::from_millis(50)).await;
}

struct Slow;

#[mpesa_callbacks]
impl Slow {
    #[stk]
    async fn never(&self, _: StkCallback) {
        std::future::pending::<()>().await;
    }
}

#[test]
fn every_sample_says_what_it_was_told() {
    let amount = Amount::from_cents(123_450);
    macro_rules! check {
        ($($payload:ident, $code:expr, $outcome:ident;)*) => {
            $(
                let sample: Sample<$payload> = $payload::sample().amount(amount).receipt("RCPT1");
                let parsed = mpesa_callbacks::payload::parse(sample.kind(), &sample.to_body(), None).unwrap();
                assert_eq!(&parsed.kind, sample.kind(), "a body of its own kind");
                assert_eq!(parsed.callback.outcome().is_none_or(Outcome::is_success), true, "{}", stringify!($payload));
                let failed = $payload::sample().failed($code).to_body();
                let failed = mpesa_callbacks::payload::parse(sample.kind(), &failed, None).unwrap();
                assert_eq!(failed.callback.outcome(), Some(Outcome::$outcome), "{}", stringify!($payload));
            )*
        };
    }
    check! {
        // A failed query leaves the outcome of its transaction unknown.
        StkCallback, "1032", Failed;
        B2cResult, "2001", Failed;
        B2bResult, "2001", Failed;
        TaxResult, "2001", Failed;
        StatusResult, "2001", Unknown;
        BalanceResult, "2001", Failed;
        ReversalResult, "2001", Failed;
        B2bExpressCallback, "4001", Failed;
        RatibaCallback, "1032", Failed;
        LipiaCallback, "1032", Failed;
    }
    let stk = StkCallback::sample().amount(amount).phone("254711000111").key("k").payload();
    assert_eq!((stk.amount, stk.receipt.as_deref()), (Some(amount), Some("NLJ7RT61SV")));
    assert!(stk.phone_number.unwrap().is("0711000111"));
    let c2b = C2bConfirmation::sample().amount(amount).account("a").short_code("600000").payload();
    assert_eq!(c2b.bill_ref_number.as_ref().map(mpesa_callbacks::payload::Sensitive::as_str), Some("a"));
    assert_eq!(Payment::sample().amount(amount).payload().amount, amount);
    assert_eq!(BillManagerPayment::sample().amount(amount).payload().amount, Some(amount));
    assert_eq!(B2cResult::sample().receipt("R").payload().receipt(), Some("R"));
    let _ = QueueTimeout::sample().key("k").payload();
    assert_eq!(C2bValidation::sample().payload().bill_ref_number.unwrap().as_str(), "order-123");
}

#[test]
fn a_sample_keeps_its_sign() {
    let amount = Amount::from_cents(-50);
    assert_eq!(C2bConfirmation::sample().amount(amount).payload().amount, Some(amount));
    assert_eq!(StkCallback::sample().amount(amount).payload().amount, Some(amount));
}

/// Runs `#[overdue]`, and fails at every push.
#[derive(Clone, Default)]
struct Waiting {
    asked: Arc<Mutex<Vec<String>>>,
}

#[mpesa_callbacks]
impl Waiting {
    #[stk]
    async fn paid(&self, _: StkCallback) -> Result<(), std::io::Error> {
        Err(std::io::Error::other("not today"))
    }

    #[overdue]
    async fn ask(&self, expected: Expectation) {
        self.asked.lock().unwrap().push(expected.reference.as_str().to_owned());
    }
}

#[derive(Clone, Debug)]
struct SetClock(Arc<Mutex<SystemTime>>);

impl Clock for SetClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn order(number: usize) -> Expectation {
    Expectation::new(Kind::Stk, format!("order-{number}")).timeout(Duration::from_hours(1))
}

#[tokio::test]
async fn a_test_moves_the_clock_until_an_expectation_is_overdue() {
    let (shop, clock) = (Waiting::default(), SetClock(Arc::new(Mutex::new(SystemTime::now()))));
    let inbox = Inbox::builder(shop.clone()).clock(Arc::new(clock.clone())).start_for_test().await;
    inbox.expect_callback(&order(1)).await.unwrap();
    inbox.idle(SOON).await;
    assert!(shop.asked.lock().unwrap().is_empty(), "it is not overdue yet");
    *clock.0.lock().unwrap() += Duration::from_hours(2);
    // Unanswered, it waits for another hour, and that is idle, too.
    inbox.idle(SOON).await;
    assert_eq!(*shop.asked.lock().unwrap(), ["order-1"]);
}

#[tokio::test]
async fn a_callback_that_waits_behind_many_expectations_is_not_idle() {
    let hour = Duration::from_hours(1);
    let inbox = Inbox::builder(Waiting::default()).backoff(Backoff::new(hour, hour)).start_for_test().await;
    inbox.deliver(&Kind::Stk, StkCallback::sample().failed("1032")).await;
    for number in 0..150 {
        inbox.expect_callback(&order(number)).await.unwrap();
    }
    let idle = tokio::spawn(async move { inbox.idle(Duration::from_secs(1)).await });
    assert!(idle.await.unwrap_err().is_panic(), "it waits for its next attempt");
}
