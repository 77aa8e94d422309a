//! Expectations: compared with callbacks, and queried when none arrives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Entry, Filter, MemoryStore, State, Verdict};
use mpesa_callbacks::{Backoff, ExpectError, InboxBuilder, StartError};
use mpesa_callbacks_tests::{Mounted, SECRET, until};

#[derive(Clone, Default)]
struct Shop {
    heard: Arc<Mutex<Vec<String>>>,
    /// The result of a query, by reference; unknown for the others.
    truth: Arc<Mutex<Vec<(String, Reconciliation)>>>,
}

impl Shop {
    fn note(&self, text: String) {
        self.heard.lock().unwrap().push(text);
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
    async fn pushed(&self, callback: StkCallback, ctx: &CallbackContext) {
        let code = callback.result_code.map(|code| code.as_str().to_owned()).unwrap_or_default();
        self.note(format!("stk {code} for {}", ctx.reference().unwrap_or("nobody")));
    }

    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext) {
        let _ = ctx;
        self.note(format!("paid {} for {}", payment.receipt, payment.order().unwrap_or("nobody")));
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment) {
        self.note(format!("{} was for {}", payment.receipt, payment.order().unwrap_or("nobody")));
    }

    #[b2c_result]
    async fn sent(&self, result: B2cResult, ctx: &CallbackContext) {
        let receipt = result.receipt().unwrap_or("nothing");
        self.note(format!("sent {receipt} for {}", ctx.reference().unwrap_or("nobody")));
    }

    #[overdue(max_retries = 3)]
    async fn ask(&self, expected: Expectation, ctx: &CallbackContext) -> Result<(), ExpectError> {
        let reference = expected.reference.as_str().to_owned();
        let id = expected.id.as_ref().map_or("no id", |id| id.as_str()).to_owned();
        self.note(format!("overdue {reference} ({id})"));
        let found = self.truth.lock().unwrap().iter().find(|(of, _)| *of == reference).map(|(_, found)| found.clone());
        if let Some(found) = found {
            ctx.inbox().reconcile(&expected.kind, &reference, &found).await?;
        }
        Ok(())
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.note(format!("conflict for {}", ctx.reference().unwrap_or("nobody")));
    }
}

const SOON: Duration = Duration::from_millis(300);

fn builder(shop: &Shop, store: &MemoryStore) -> InboxBuilder<Shop, mpesa_callbacks::transactor::NoTransactor> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
    Inbox::builder(shop.clone()).store(store.clone()).secret(SECRET).backoff(backoff)
}

async fn shop() -> (Shop, Mounted) {
    let shop = Shop::default();
    let inbox = builder(&shop, &MemoryStore::new()).start().await.unwrap();
    (shop, Mounted::new(inbox))
}

fn order(reference: &str) -> Expectation {
    Expectation::new(Kind::Stk, reference).amount(Amount::from_shillings(1500)).timeout(SOON)
}

fn push(id: &str, code: u32, amount: u32, receipt: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{id}","ResultCode":{code},"CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
    )
}

fn confirmation(receipt: &str, amount: &str, account: &str, short_code: &str) -> String {
    format!(
        r#"{{"TransID":"{receipt}","TransAmount":"{amount}","BillRefNumber":"{account}","BusinessShortCode":"{short_code}"}}"#
    )
}

async fn of_kind(mounted: &Mounted, kind: Kind) -> Vec<Entry> {
    mounted.inbox.list(&Filter::default().kind(kind)).await.unwrap()
}

#[tokio::test]
async fn what_was_expected_is_handled_and_nothing_is_overdue() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 0, 1500, "R1")).await.status, 200);
    // The expectation, too, is over once it is due.
    mounted.settled().await;
    assert_eq!(shop.heard(), ["paid R1 for order-1", "stk 0 for order-1"]);
}

#[tokio::test]
async fn another_amount_is_a_conflict_and_makes_no_payment_until_somebody_releases_it() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 0, 1, "R1")).await.status, 200);
    until("the conflict is told", async || !shop.heard().is_empty()).await;
    assert_eq!(shop.heard(), ["conflict for order-1"]);
    let held = of_kind(&mounted, Kind::Stk).await.remove(0);
    assert_eq!((held.verdict, held.state), (Verdict::Conflict, State::Held));
    assert!(held.error.unwrap().as_str().contains("amount"));
    assert!(of_kind(&mounted, Kind::Payment).await.is_empty());

    mounted.inbox.release(held.id).await.unwrap();
    until("the release is handled", async || shop.heard().len() >= 3).await;
    assert_eq!(shop.heard(), ["conflict for order-1", "paid R1 for order-1", "stk 0 for order-1"]);
}

#[tokio::test]
async fn c2b_payments_are_known_by_the_account_that_the_customer_typed() {
    let (shop, mounted) = shop().await;
    for reference in ["INV-1", "INV-2"] {
        let invoice = Expectation::new(Kind::C2bConfirmation, reference).amount(Amount::from_shillings(20));
        mounted
            .inbox
            .expect_callback(&invoice.business_short_code("600638").timeout(Duration::from_mins(1)))
            .await
            .unwrap();
    }
    for body in [
        confirmation("R1", "20.00", " inv-1 ", "600638"),
        confirmation("R2", "20.00", "INV-2", "600999"),
        confirmation("R3", "20.00", "INV-9", "600638"),
    ] {
        assert_eq!(mounted.post("/c2b/confirmation", body).await.status, 200);
    }
    until("they are handled", async || shop.heard().len() >= 3).await;
    assert_eq!(shop.heard(), ["conflict for INV-2", "paid R1 for INV-1", "paid R3 for INV-9"]);
}

#[tokio::test]
async fn when_no_callback_comes_the_application_asks_and_what_it_finds_closes_the_case() {
    let (shop, mounted) = shop().await;
    shop.truth.lock().unwrap().push(("order-1".into(), Reconciliation::success("R1")));
    shop.truth.lock().unwrap().push(("order-2".into(), Reconciliation::result_code("1032")));
    for (reference, id) in [("order-1", "ws_1"), ("order-2", "ws_2")] {
        mounted.inbox.expect_callback(&order(reference)).await.unwrap();
        mounted.inbox.link_request_id(&Kind::Stk, reference, id).await.unwrap();
    }
    let payout = Expectation::new(Kind::B2cResult, "payout-1").amount(Amount::from_shillings(5)).timeout(SOON);
    mounted.inbox.expect_callback(&payout).await.unwrap();
    mounted.inbox.link_request_id(&Kind::B2cResult, "payout-1", "conversation").await.unwrap();
    shop.truth.lock().unwrap().push(("payout-1".into(), Reconciliation::success("R2")));
    tokio::time::sleep(SOON / 3).await;
    assert!(shop.heard().is_empty(), "too early");
    mounted.settled().await;
    assert_eq!(
        shop.heard(),
        [
            "overdue order-1 (ws_1)",
            "overdue order-2 (ws_2)",
            "overdue payout-1 (conversation)",
            "paid R1 for order-1",
            "sent R2 for payout-1",
            "stk 0 for order-1",
            "stk 1032 for order-2",
        ]
    );

    // The callbacks arrive after all: one with the same content, the other with another.
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 0, 1500, "R1")).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "order-2", push("ws_2", 0, 1500, "R3")).await.status, 200);
    until("they are judged", async || of_kind(&mounted, Kind::Stk).await.len() == 4).await;
    let verdicts: Vec<_> = of_kind(&mounted, Kind::Stk).await.iter().rev().map(|entry| entry.verdict).collect();
    assert_eq!(verdicts[2..], [Verdict::Variant, Verdict::Conflict]);
    assert!(!shop.heard().contains(&"paid R3 for order-2".to_owned()));
}

#[tokio::test]
async fn an_application_that_finds_nothing_out_is_asked_again_and_in_the_end_somebody_is_told() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_millis(10))).await.unwrap();
    // A code for an unknown outcome is no answer.
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 1037, 0, "")).await.status, 200);
    until("it is dead", async || mounted.inbox.counts().await.unwrap().dead == 1).await;
    let heard = shop.heard();
    assert_eq!(heard.iter().filter(|heard| heard.starts_with("overdue")).count(), 4, "{heard:?}");
    // A later result is accepted, too.
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("r1 ")).await.unwrap();
    until("it is taken", async || shop.heard().contains(&"paid R1 for order-1".to_owned())).await;
    assert!(!shop.heard().iter().any(|heard| heard.starts_with("conflict")), "that nobody knew is no contradiction");
}

#[tokio::test]
async fn a_callback_is_known_by_daraja_s_id_too() {
    let (shop, mounted) = shop().await;
    for (reference, id) in [("order-1", "ws_1"), ("order-2", "ws_2")] {
        mounted.inbox.expect_callback(&order(reference)).await.unwrap();
        mounted.inbox.link_request_id(&Kind::Stk, reference, id).await.unwrap();
        mounted.inbox.link_request_id(&Kind::Stk, reference, id).await.unwrap();
    }
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_2", 0, 1, "R2")).await.status, 200);
    until("the conflict is told", async || shop.heard().len() >= 3).await;
    assert_eq!(shop.heard(), ["conflict for order-2", "paid R1 for order-1", "stk 0 for order-1"]);
    let stolen = mounted.inbox.link_request_id(&Kind::Stk, "order-2", "ws_1").await;
    assert!(matches!(stolen, Err(ExpectError::AlreadyExpected)), "{stolen:?}");
}

#[tokio::test]
async fn a_callback_that_comes_before_daraja_s_id_is_found_all_the_same() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    mounted.settled().await;
    assert_eq!(shop.heard(), ["paid R1 for order-1", "stk 0 for nobody"], "and nothing is overdue");
}

#[tokio::test]
async fn a_payment_that_was_handled_before_daraja_s_id_was_told_learns_its_order_later() {
    let shop = Shop::default();
    let inbox = builder(&shop, &MemoryStore::new()).counterpart_timeout(Duration::from_millis(1));
    let mounted = Mounted::new(inbox.start().await.unwrap());
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_mins(1))).await.unwrap();
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    until("it is handled for nobody", async || shop.heard().len() >= 2).await;
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    until("its order is known", async || shop.heard().len() >= 3).await;
    assert_eq!(shop.heard(), ["R1 was for order-1", "paid R1 for nobody", "stk 0 for nobody"]);
}

#[tokio::test]
async fn money_that_nobody_asked_for_is_held_until_somebody_did() {
    let shop = Shop::default();
    let inbox = builder(&shop, &MemoryStore::new()).require_expected([Kind::Stk]).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_mins(1))).await.unwrap();
    mounted.inbox.expect_callback(&order("order-2").timeout(Duration::from_mins(1))).await.unwrap();
    for (id, code, amount, receipt) in
        [("ws_1", 0, 1500, "R1"), ("ws_2", 0, 1, "R2"), ("ws_3", 0, 1500, "R3"), ("ws_4", 1032, 0, "")]
    {
        assert_eq!(mounted.post("/stk", push(id, code, amount, receipt)).await.status, 200);
    }
    assert_eq!(mounted.post("/c2b/confirmation", confirmation("R5", "5", "walk-in", "600638")).await.status, 200);
    until("the others are handled", async || shop.heard().len() >= 5).await;
    let told = ["conflict for nobody"; 3].into_iter();
    assert_eq!(shop.heard(), told.chain(["paid R5 for walk-in", "stk 1032 for nobody"]).collect::<Vec<_>>());
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 3);

    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-2", "ws_2").await.unwrap();
    until("the first is handled", async || shop.heard().len() >= 7).await;
    assert!(shop.heard().contains(&"paid R1 for order-1".to_owned()));
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 2, "the other amount, and the one that nobody asked for");
}

/// The outcome was unknown, then it was paid, and only then the application linked Daraja's id.
#[tokio::test]
async fn an_update_that_was_held_is_released_with_what_was_expected() {
    let shop = Shop::default();
    let inbox = builder(&shop, &MemoryStore::new()).require_expected([Kind::Stk]).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_mins(1))).await.unwrap();
    assert_eq!(mounted.post("/stk", push("ws_1", 1037, 0, "")).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    until("it is handled", async || shop.heard().contains(&"paid R1 for order-1".to_owned())).await;
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 0);
}

/// A contradiction is released by a person only, also if it was expected.
#[tokio::test]
async fn telling_daraja_s_id_releases_no_contradiction() {
    let shop = Shop::default();
    let inbox = builder(&shop, &MemoryStore::new()).require_expected([Kind::Stk]).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_mins(1))).await.unwrap();
    assert_eq!(mounted.post("/stk", push("ws_1", 1032, 0, "")).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    until("they are told", async || shop.heard().len() >= 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(shop.heard(), ["conflict for nobody", "stk 1032 for nobody"]);
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 1);
}

/// It arrived at the plain URL, so its digests have no reference; those of the reconciled one do.
#[tokio::test]
async fn a_late_callback_to_the_plain_url_repeats_what_was_reconciled() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_mins(1))).await.unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("R1")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(mounted.post("/stk", push("ws_1", 0, 1500, "R1")).await.status, 200);
    }
    until("it is handled", async || shop.heard().len() >= 2).await;
    let pushes = of_kind(&mounted, Kind::Stk).await;
    assert_eq!(pushes.iter().map(|entry| entry.verdict).collect::<Vec<_>>(), [Verdict::Variant, Verdict::First]);
    // And the other way round: the result was recorded before.
    let again = mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("R1")).await.unwrap();
    assert_eq!(again.verdict, Verdict::Duplicate);
    assert_eq!(shop.heard(), ["paid R1 for order-1", "stk 0 for order-1"]);
}

/// The URL of one payment cannot answer for another.
#[tokio::test]
async fn what_comes_for_another_request_is_a_conflict_and_answers_nothing() {
    let (shop, mounted) = shop().await;
    shop.truth.lock().unwrap().push(("order-2".into(), Reconciliation::success("R2")));
    for (reference, id) in [("order-1", "ws_1"), ("order-2", "ws_2")] {
        mounted.inbox.expect_callback(&order(reference)).await.unwrap();
        mounted.inbox.link_request_id(&Kind::Stk, reference, id).await.unwrap();
    }
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", push("ws_2", 1032, 0, "")).await.status, 200);
    until("order 2 is asked after", async || shop.heard().contains(&"overdue order-2 (ws_2)".to_owned())).await;
    assert!(shop.heard().contains(&"conflict for order-1".to_owned()), "{:?}", shop.heard());
    assert!(!shop.heard().iter().any(|heard| heard.starts_with("stk 1032")), "{:?}", shop.heard());
}

#[tokio::test]
async fn what_is_expected_is_asked_after_by_the_next_process() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let first = builder(&shop, &store).start().await.unwrap();
    first.expect_callback(&order("order-1")).await.unwrap();
    drop(first);
    let inbox = builder(&shop, &store).start().await.unwrap();
    until("it is overdue", async || !shop.heard().is_empty()).await;
    assert_eq!(shop.heard()[0], "overdue order-1 (no id)");
    drop(inbox);
}

#[tokio::test]
async fn what_cannot_be_expected_is_said() {
    struct Deaf;
    #[mpesa_callbacks]
    impl Deaf {
        #[stk]
        async fn stk(&self, _: StkCallback) {}
    }
    let deaf = Inbox::builder(Deaf).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    assert!(matches!(deaf.expect_callback(&order("order-1")).await, Err(ExpectError::NotEnabled)));
    let strict = Inbox::builder(Deaf).store(MemoryStore::new()).secret(SECRET);
    let refused = strict.require_expected([Kind::BillManager]).start().await;
    assert!(matches!(refused, Err(StartError::NotExpectable { kind: Kind::BillManager })));

    let forgetful =
        builder(&Shop::default(), &MemoryStore::new()).retention(Duration::from_secs(1)).start().await.unwrap();
    let long = order("order-1").timeout(Duration::from_mins(1));
    assert!(
        matches!(forgetful.expect_callback(&long).await, Err(ExpectError::ExceedsRetention { .. })),
        "it would be purged first"
    );

    let (_, mounted) = shop().await;
    let inbox = &mounted.inbox;
    inbox.expect_callback(&order("order-1")).await.unwrap();
    let other = order("order-1").amount(Amount::from_shillings(2));
    assert!(matches!(inbox.expect_callback(&other).await, Err(ExpectError::AlreadyExpected)));
    assert!(matches!(inbox.expect_callback(&order("")).await, Err(ExpectError::InvalidReference { length: 0 })));
    let validation = Expectation::new(Kind::C2bValidation, "x");
    assert!(matches!(inbox.expect_callback(&validation).await, Err(ExpectError::UnsupportedKind { .. })));
    assert!(matches!(inbox.link_request_id(&Kind::Stk, "order-9", "ws").await, Err(ExpectError::NotExpected { .. })));
    let found = Reconciliation::success("R");
    assert!(matches!(inbox.reconcile(&Kind::Stk, "order-9", &found).await, Err(ExpectError::NotExpected { .. })));
    let cancelled = Reconciliation::result_code("1032");
    assert!(matches!(inbox.reconcile(&Kind::Stk, "order-1", &cancelled).await, Err(ExpectError::MissingRequestId)));
    assert!(matches!(inbox.withdraw_expectation(&Kind::Stk, "order-9").await, Err(ExpectError::NotExpected { .. })));
    inbox.link_request_id(&Kind::Stk, "order-1", "ws_1").await.unwrap();
    let without_receipt = Reconciliation::result_code("0");
    assert!(matches!(inbox.reconcile(&Kind::Stk, "order-1", &without_receipt).await, Err(ExpectError::MissingReceipt)));
}

/// Daraja refuses the push. The customer corrects the phone number and pays for the same order.
#[tokio::test]
async fn a_request_that_was_refused_is_not_asked_after_until_it_is_sent_again() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    mounted.settled().await;
    assert!(shop.heard().is_empty(), "{:?}", shop.heard());

    for _ in 0..2 {
        mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    }
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_2").await.unwrap();
    tokio::time::sleep(SOON / 3).await;
    assert!(shop.heard().is_empty(), "its timeout begins anew");
    until("it is asked after", async || shop.heard().contains(&"overdue order-1 (ws_2)".to_owned())).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_2", 0, 1500, "R1")).await;
    mounted.settled().await;
    assert!(shop.heard().contains(&"paid R1 for order-1".to_owned()));
}

/// It is withdrawn, and the callback arrives all the same.
#[tokio::test]
async fn a_callback_is_compared_with_an_expectation_that_was_withdrawn() {
    let (shop, mounted) = shop().await;
    for reference in ["order-1", "order-2"] {
        mounted.inbox.expect_callback(&order(reference)).await.unwrap();
        mounted.inbox.withdraw_expectation(&Kind::Stk, reference).await.unwrap();
    }
    mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 0, 1500, "R1")).await;
    mounted.post_for(&Kind::Stk, "order-2", push("ws_2", 0, 1, "R2")).await;
    mounted.settled().await;
    assert_eq!(shop.heard(), ["conflict for order-2", "paid R1 for order-1", "stk 0 for order-1"]);
}

/// A person gave a request up. It is withdrawn, and is no longer listed as dead.
#[tokio::test]
async fn a_dead_expectation_can_be_withdrawn() {
    let (_, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_millis(10))).await.unwrap();
    until("it is dead", async || of_kind(&mounted, Kind::Overdue).await.iter().any(|row| row.state == State::Dead))
        .await;
    mounted.inbox.withdraw_expectation(&Kind::Stk, "order-1").await.unwrap();
    assert!(of_kind(&mounted, Kind::Overdue).await.iter().all(|row| row.state == State::Done));
}

/// The answer to the push was lost. Its confirmation has arrived, with an account number that is not the reference.
#[tokio::test]
async fn a_payment_without_an_order_gets_it_from_a_success_without_daraja_s_id() {
    let shop = Shop::default();
    let prompt = builder(&shop, &MemoryStore::new()).counterpart_timeout(Duration::ZERO);
    let mounted = Mounted::new(prompt.start().await.unwrap());
    mounted.post("/c2b/confirmation", confirmation("R1", "1500.00", "SHOP", "600638")).await;
    until("it is booked", async || shop.heard() == ["paid R1 for SHOP"]).await;
    shop.truth.lock().unwrap().push(("order-1".into(), Reconciliation::success("R1")));
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    mounted.settled().await;
    assert_eq!(shop.heard(), ["R1 was for order-1", "overdue order-1 (no id)", "paid R1 for SHOP"]);
    assert!(mounted.entries().await.iter().all(|entry| entry.state == State::Done), "nothing is held");
}

/// The same, with another amount.
#[tokio::test]
async fn a_success_without_daraja_s_id_that_contradicts_its_confirmation_is_held() {
    let (shop, mounted) = shop().await;
    shop.truth.lock().unwrap().push(("order-1".into(), Reconciliation::success("R1")));
    mounted.inbox.expect_callback(&order("order-1").timeout(Duration::from_millis(50))).await.unwrap();
    mounted.post("/c2b/confirmation", confirmation("R1", "20.00", "SHOP", "600638")).await;
    until("it is held", async || shop.heard().contains(&"conflict for order-1".to_owned())).await;
    assert!(!shop.heard().contains(&"R1 was for order-1".to_owned()));
}

/// The answer to the push was lost, and with it Daraja's id. The statement has the receipt.
#[tokio::test]
async fn a_success_without_daraja_s_id_is_the_confirmation_of_its_receipt() {
    let shop = Shop::default();
    let strict = builder(&shop, &MemoryStore::new()).require_expected([Kind::Stk, Kind::C2bConfirmation]);
    let mounted = Mounted::new(strict.start().await.unwrap());
    shop.truth.lock().unwrap().push(("order-1".into(), Reconciliation::success("R1")));
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    mounted.settled().await;
    assert_eq!(shop.heard(), ["overdue order-1 (no id)", "paid R1 for order-1"]);

    // Both of its callbacks arrive after all. The push had another account number than its reference.
    mounted.post("/c2b/confirmation", confirmation("R1", "1500.00", "SHOP", "600638")).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_1", 0, 1500, "R1")).await;
    mounted.settled().await;
    assert_eq!(shop.heard(), ["overdue order-1 (no id)", "paid R1 for order-1", "stk 0 for order-1"]);
    assert!(mounted.entries().await.iter().all(|entry| entry.state == State::Done), "nothing is held");
}

#[tokio::test]
async fn a_callback_with_an_id_that_daraja_did_not_give_answers_nothing() {
    let (shop, mounted) = shop().await;
    mounted.inbox.expect_callback(&order("order-1")).await.unwrap();
    // Handled, because Daraja's id is not known yet: its sender knew the URL of the order.
    let body = push("ws_CO_forged", 0, 1500, "FORGED1");
    assert_eq!(mounted.post_for(&Kind::Stk, "order-1", body).await.status, 200);
    mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_genuine").await.unwrap();
    until("the application is asked", async || shop.heard().contains(&"overdue order-1 (ws_CO_genuine)".to_owned()))
        .await;
}
