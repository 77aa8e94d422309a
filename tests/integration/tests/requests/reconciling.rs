//! The answer to a push was lost, and with it Daraja's id. Its success is found in a statement.

use std::time::Duration;

use mpesa_callbacks::Kind;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, MemoryStore, State, Verdict};
use mpesa_callbacks_tests::{push, until};

use super::{LONG, SHORT, Shop, confirmation, order};

/// A receipt was found for the request. Another success comes to its URL.
#[tokio::test]
async fn a_second_payer_after_a_reconciled_success_is_held() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    until("it is booked", async || !shop.paid().is_empty()).await;
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    mounted.settled_but_expectations().await;
    assert_eq!(shop.paid(), ["paid RCPT1 for order-1"], "{:?}", shop.heard());
}

/// The callback came to the URL of the request. A wrong receipt is reconciled.
#[tokio::test]
async fn a_second_receipt_that_is_reconciled_is_held() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.post_for(&Kind::Stk, "order-1", push("ws_CO_2", "RCPT2", 100)).await;
    until("it is booked", async || !shop.paid().is_empty()).await;
    let _ = mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await;
    mounted.settled_but_expectations().await;
    assert_eq!(shop.paid(), ["paid RCPT2 for order-1"], "{:?}", shop.heard());
}

/// The account of the push is not its reference: it has 12 characters at most. Its confirmation came, the push's
/// callback did not.
#[tokio::test]
async fn a_confirmation_with_another_account_learns_its_order() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.post("/c2b/confirmation", confirmation("RCPT1", "Acme Ltd")).await;
    until("it is booked", async || !shop.paid().is_empty()).await;
    let recorded = mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    mounted.settled_but_expectations().await;
    assert!(shop.heard().contains(&"completed RCPT1 for order-1".to_owned()), "{recorded:?} {:?}", shop.heard());
}

/// The same, and the confirmation comes later.
#[tokio::test]
async fn a_genuine_confirmation_after_a_reconciled_success_is_not_held() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    until("it is booked", async || !shop.paid().is_empty()).await;
    mounted.post("/c2b/confirmation", confirmation("RCPT1", "Acme Ltd")).await;
    mounted.settled_but_expectations().await;
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 0, "{:?}", shop.heard());
}

/// Money for the account of an order whose push was reconciled, which nobody has expected.
#[tokio::test]
async fn unexpected_confirmations_are_held_after_a_push_was_reconciled() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), [Kind::Stk, Kind::C2bConfirmation]).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    for receipt in ["FORGED1", "FORGED2"] {
        mounted.post("/c2b/confirmation", confirmation(receipt, "order-1")).await;
    }
    mounted.settled_but_expectations().await;
    assert_eq!(shop.paid(), ["paid RCPT1 for order-1"], "{:?}", shop.heard());
}

/// It was held before, and the next process compares at its start.
#[tokio::test]
async fn an_unexpected_confirmation_that_is_held_stays_held() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let required = [Kind::Stk, Kind::C2bConfirmation];
    let mounted = shop.start(store.clone(), required.clone()).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.post("/c2b/confirmation", confirmation("FORGED1", "order-1")).await;
    assert_eq!(mounted.inbox.counts().await.unwrap().held, 1);
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    until("it is booked", async || !shop.paid().is_empty()).await;
    drop(mounted);
    let next = shop.start(store, required).await;
    // It compares at its start.
    tokio::time::sleep(Duration::from_millis(300)).await;
    next.settled_but_expectations().await;
    assert_eq!(shop.paid(), ["paid RCPT1 for order-1"], "{:?}", shop.heard());
}

/// A customer pays the same order's account later, and the application expects that.
#[tokio::test]
async fn a_confirmation_that_is_expected_after_a_push_was_reconciled_is_asked_after() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), [Kind::C2bConfirmation]).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted
        .inbox
        .reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1").amount(Amount::from_shillings(1)))
        .await
        .unwrap();
    let invoice = Expectation::new(Kind::C2bConfirmation, "order-1").amount(Amount::from_shillings(100)).timeout(SHORT);
    mounted.inbox.expect_callback(&invoice).await.unwrap();
    until("it is asked after", async || {
        let rows = mounted.inbox.list(&Filter::default().kind(Kind::Overdue)).await.unwrap();
        rows.iter().any(|row| row.key.as_str() == invoice.key().as_str() && row.attempts > 0)
    })
    .await;
}

/// A person has refused the confirmation as unexpected. Then the statement shows that it is genuine.
#[tokio::test]
async fn a_success_that_is_reconciled_after_its_confirmation_was_dismissed_is_not_lost() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), [Kind::Stk, Kind::C2bConfirmation]).await;
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.post("/c2b/confirmation", confirmation("RCPT1", "order-1")).await;
    let held = mounted.inbox.list(&Filter::default().kind(Kind::C2bConfirmation)).await.unwrap().remove(0);
    assert_eq!(held.state, State::Held);
    assert!(mounted.inbox.dismiss(held.id).await.unwrap());
    let recorded = mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await;
    mounted.settled_but_expectations().await;
    assert!(!shop.paid().is_empty() || shop.asked() > 0 || recorded.is_err(), "{recorded:?} {:?}", shop.heard());
}

/// The confirmation contradicts an expectation of its own, and is held. The push's request is reconciled with it.
#[tokio::test]
async fn a_request_whose_money_is_held_is_still_asked_after() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    let invoice = Expectation::new(Kind::C2bConfirmation, "order-1").amount(Amount::from_shillings(200)).timeout(LONG);
    mounted.inbox.expect_callback(&invoice).await.unwrap();
    mounted.inbox.expect_callback(&order(SHORT)).await.unwrap();
    mounted.post("/c2b/confirmation", confirmation("RCPT1", "order-1")).await;
    let recorded = mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    mounted.settled_but_expectations().await;
    assert!(!shop.paid().is_empty() || shop.asked() > 0, "{recorded:?} {:?}", shop.heard());
}

/// The success came to the plain URL before its id was known, and was booked. The same receipt is reconciled.
#[tokio::test]
async fn a_success_at_the_plain_url_and_a_reconciled_one_are_one_payment() {
    let shop = Shop::default();
    let mounted = shop.start(MemoryStore::new(), []).await;
    mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
    mounted.post("/stk", push("ws_CO_1", "RCPT1", 100)).await;
    until("it is booked", async || !shop.paid().is_empty()).await;
    mounted.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("RCPT1")).await.unwrap();
    mounted.settled_but_expectations().await;
    assert_eq!(shop.heard(), ["paid RCPT1 for nobody", "completed RCPT1 for order-1"]);
}

/// With its id or without, another amount than was expected is a conflict.
#[tokio::test]
async fn another_amount_is_a_conflict_with_an_id_and_without() {
    for is_linked in [true, false] {
        let shop = Shop::default();
        let mounted = shop.start(MemoryStore::new(), []).await;
        mounted.inbox.expect_callback(&order(LONG)).await.unwrap();
        if is_linked {
            mounted.inbox.link_request_id(&Kind::Stk, "order-1", "ws_CO_1").await.unwrap();
        }
        let found = Reconciliation::success("RCPT1").amount(Amount::from_shillings(1));
        let recorded = mounted.inbox.reconcile(&Kind::Stk, "order-1", &found).await.unwrap();
        assert_eq!(recorded.verdict, Verdict::Conflict);
        mounted.settled_but_expectations().await;
        assert!(shop.paid().is_empty(), "{:?}", shop.heard());
    }
}
