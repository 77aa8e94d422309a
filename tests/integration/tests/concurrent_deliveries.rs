//! Many deliveries at once must not block others; and the limits of one URL that leaked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, MemoryStore, State, Verdict};
use mpesa_callbacks_tests::{Dribble, Mounted, SECRET, cancelled_push, push, question, until};
use tokio::sync::Notify;

#[derive(Clone, Default)]
struct Shop {
    asked: Arc<AtomicUsize>,
    /// Until then every question waits.
    open: Arc<Notify>,
    paid: Arc<AtomicUsize>,
    timeouts: Arc<AtomicUsize>,
}

#[mpesa_callbacks(no_timeouts)]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment) {
        self.paid.fetch_add(1, Ordering::SeqCst);
    }

    #[c2b_validation(timeout = "7s", fallback = "accept")]
    async fn is_welcome(&self, _: C2bValidation) -> Validation {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.open.notified().await;
        Validation::reject(Rejection::InvalidAccountNumber)
    }

    #[b2c_timeout]
    async fn stuck(&self, timeout: QueueTimeout, ctx: &CallbackContext) {
        assert_eq!((timeout.key(), ctx.key()), (None, "payout-1"));
        self.timeouts.fetch_add(1, Ordering::SeqCst);
    }

    #[overdue]
    async fn ask(&self, _: Expectation) {}
}

async fn mounted(shop: &Shop, in_flight: usize) -> Mounted {
    let builder = Inbox::builder(shop.clone()).store(MemoryStore::new()).secret(SECRET).max_in_flight(in_flight);
    Mounted::new(builder.counterpart_timeout(Duration::ZERO).start().await.unwrap())
}

fn confirmation(receipt: &str) -> String {
    format!(r#"{{"TransID":"{receipt}","TransAmount":"10","BillRefNumber":"ORDER-1","BusinessShortCode":"600638"}}"#)
}

/// F7: a slow validation handler is the merchant's database on a slow day.
#[tokio::test]
async fn validations_that_hang_keep_out_no_confirmation_and_are_answered_all_the_same() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 16).await;
    let ask = |number: usize| {
        let mounted = mounted.clone();
        tokio::spawn(async move {
            mounted.post("/c2b/validation", question(&format!("Q{number}"), "10.00", "ORDER-1")).await
        })
    };
    let hanging: Vec<_> = (0..4).map(ask).collect();
    until("they are asked", async || shop.asked.load(Ordering::SeqCst) == 4).await;
    for number in 0..50 {
        assert_eq!(mounted.post("/c2b/confirmation", confirmation(&format!("R{number}"))).await.status, 200);
    }
    let began = Instant::now();
    for number in 4..40 {
        let answer = ask(number).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#));
    }
    assert!(began.elapsed() < Duration::from_secs(6), "the fallback needs no deadline");
    shop.open.notify_waiters();
    for answer in hanging {
        assert!(answer.await.unwrap().body.contains("C2B00012"));
    }
}

/// F8: connections to the URL of one payment that send nothing.
#[tokio::test]
async fn a_leaked_url_takes_no_place_of_the_secret() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 16).await;
    let hold = || {
        let mounted = mounted.clone();
        tokio::spawn(async move { mounted.post_for(&Kind::Stk, "ORDER-1", Body::from_stream(Dribble)).await.status })
    };
    let held: Vec<_> = (0..50).map(|_| hold()).collect();
    // Four wait for their bodies; one more for the same payment is refused.
    until("the others are refused", async || held.iter().filter(|one| one.is_finished()).count() == 46).await;
    for number in 0..20 {
        assert_eq!(mounted.post("/stk", push(&format!("ws_{number}"), &format!("R{number}"), 10)).await.status, 200);
    }
    assert_eq!(
        mounted.post_for(&Kind::Stk, "ORDER-2", push("ws_other", "ROTHER", 10)).await.status,
        200,
        "nor of another payment"
    );
    for one in held {
        one.abort();
    }
}

/// F8: a URL that sends much. Duplicates do not count, and are always accepted.
#[tokio::test]
async fn a_leaked_url_stores_little_and_repetitions_are_taken() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    let mut refused = 0;
    for number in 0..200 {
        let answer = mounted.post_for(&Kind::Stk, "ORDER-1", cancelled_push(&format!("ws_{number}"))).await;
        refused += usize::from(answer.status == 503);
    }
    assert_eq!(refused, 180);
    assert_eq!(mounted.entries().await.len(), 20);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-2", push("ws_genuine", "R1", 10)).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_secret", "R2", 10)).await.status, 200);
    for _ in 0..100 {
        assert_eq!(
            mounted.post_for(&Kind::Stk, "ORDER-2", push("ws_genuine", "R1", 10)).await.status,
            200,
            "repetitions cost nothing"
        );
    }
}

/// F5: the URL of a payment is not enough to pay it under an id that Daraja did not give.
#[tokio::test]
async fn another_id_under_an_identified_reference_contradicts() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    mounted
        .inbox
        .expect_callback(&Expectation::new(Kind::Stk, "ORDER-1").amount(Amount::from_shillings(10)))
        .await
        .unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "ORDER-1", "ws_genuine").await.unwrap();
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_forged", "FORGED", 10)).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_genuine", "R1", 10)).await.status, 200);
    until("the genuine one is handled", async || shop.paid.load(Ordering::SeqCst) == 1).await;
    let held = mounted.inbox.list(&Filter::default().state(State::Held)).await.unwrap();
    let held: Vec<_> = held.iter().map(|entry| (entry.key.as_str(), entry.verdict)).collect();
    assert_eq!(held, [("ws_forged", Verdict::Conflict)]);
}

/// F14: a contradiction does not block a callback that agrees.
#[tokio::test]
async fn the_genuine_callback_is_first_after_one_that_contradicts_what_was_expected() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    mounted
        .inbox
        .expect_callback(&Expectation::new(Kind::Stk, "ORDER-1").amount(Amount::from_shillings(10)))
        .await
        .unwrap();
    mounted.inbox.link_request_id(&Kind::Stk, "ORDER-1", "ws_1").await.unwrap();
    let forged = push("ws_1", "FORGED", 10).replace("\"Value\":10", "\"Value\":1");
    assert_eq!(mounted.post("/stk", forged).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    until("the genuine one is handled", async || shop.paid.load(Ordering::SeqCst) == 1).await;
    let verdicts: Vec<_> = mounted.inbox.list(&Filter::default().kind(Kind::Stk)).await.unwrap();
    let verdicts: Vec<_> = verdicts.iter().map(|entry| (entry.verdict, entry.state)).collect();
    assert_eq!(verdicts, [(Verdict::First, State::Done), (Verdict::Conflict, State::Held)]);
}

/// A second payment at the URL of one order, genuine or forged, is held for a person.
#[tokio::test]
async fn two_successes_under_one_reference_are_not_both_handled() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    mounted
        .inbox
        .expect_callback(&Expectation::new(Kind::Stk, "ORDER-1").amount(Amount::from_shillings(10)))
        .await
        .unwrap();
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_2", "R2", 10)).await.status, 200);
    until("the first is handled", async || shop.paid.load(Ordering::SeqCst) == 1).await;
    until("the second is held", async || mounted.inbox.counts().await.unwrap().held == 1).await;
}

/// F2: text that a customer typed is never struck out as a credential.
#[tokio::test]
async fn what_a_customer_types_is_never_touched() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    for (number, typed) in
        ["password: 7", "<Password>7</Password>", "InitiatorPassword=x", r#"\"Password\":\"x"#].into_iter().enumerate()
    {
        let body = confirmation(&format!("R{number}")).replace("ORDER-1", typed);
        assert_eq!(mounted.post("/c2b/confirmation", body.clone()).await.status, 200);
        let entries = mounted.inbox.list(&Filter::default().kind(Kind::C2bConfirmation)).await.unwrap();
        let entry = mounted.inbox.get(entries[0].id).await.unwrap().unwrap();
        assert_eq!(entry.body.unwrap().as_bytes(), body.as_bytes(), "as it came");
    }
    until("each is a payment", async || shop.paid.load(Ordering::SeqCst) == 4).await;
}

/// F21: only compressed bodies are refused.
#[tokio::test]
async fn only_compressions_are_refused() {
    use axum::http::{Request, header};
    use tower::ServiceExt;
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    for (number, (encoding, status)) in
        [("UTF-8", 200), ("", 200), ("identity", 200), ("gzip", 415), ("br", 415), ("deflate", 415), ("zstd", 415)]
            .into_iter()
            .enumerate()
    {
        let request =
            Request::post(format!("/pay/{SECRET}/c2b/confirmation")).header(header::CONTENT_ENCODING, encoding);
        let request = request.body(Body::from(confirmation(&format!("R{number}")))).unwrap();
        assert_eq!(mounted.app.clone().oneshot(request).await.unwrap().status(), status, "{encoding}");
    }
}

/// F22: Daraja echoes the request of a payout, which in version 1 has no id.
#[tokio::test]
async fn an_echoed_timeout_without_ids_is_known_by_its_reference() {
    let shop = Shop::default();
    let mounted = mounted(&shop, 1024).await;
    let body = r#"{"InitiatorName":"apiop","SecurityCredential":"c2VjcmV0","CommandID":"BusinessPayment","Amount":10,
        "PartyA":600638,"PartyB":254700000031,"Remarks":"payout"}"#;
    assert_eq!(mounted.post_for(&Kind::B2cTimeout, "payout-1", body).await.status, 200);
    until("it is handled", async || shop.timeouts.load(Ordering::SeqCst) == 1).await;
    let entry = &mounted.entries().await[0];
    let entry = mounted.inbox.get(entry.id).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(entry.body.unwrap().as_bytes()).contains("c2VjcmV0"));
}
