//! Payments: which handler gets them in any deployment, and how they get their
//! order id in any order of callbacks.
//!
//! A store records a payment with the first callback that reports money, in the
//! same commit. These behaviours are about what comes after: a claim with and
//! without `#[payment]`, settling, reclaiming, and late references.

use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Payment, Sensitive};
use mpesa_callbacks_core::store::{
    Claimed, Completion, Delivery, Extent, Filter, Lane, Lookup, Requeue, SettleResult, Settlement, State, Verdict,
};
use tokio::time::sleep;

use super::{LONG, SHORT, Shared, claim, claim_of, delivery_of, payment, record, settle, state, stk};

/// A release whose handlers account for money themselves.
pub(super) const WITHOUT: [Kind; 2] = [Kind::Stk, Kind::C2bConfirmation];

/// Claims as a process without a `#[payment]` handler: its handlers of
/// callbacks account for the money.
pub(super) async fn claim_without(store: &Shared, lease: Duration) -> Vec<Claimed> {
    claim_of(store, &WITHOUT, Lane::Main, 10, lease).await
}

pub(super) fn paid(key: &str, receipt: &str) -> Delivery {
    stk(key, "0", 100, receipt, "Success")
}

pub(super) fn confirmed(receipt: &str) -> Delivery {
    let body = format!(r#"{{"TransID":"{receipt}","TransAmount":"100.00","BillRefNumber":"till"}}"#);
    delivery_of(&Kind::C2bConfirmation, &body)
}

/// The delivery at the per-payment URL of this order; its payment has the
/// reference, too.
pub(super) fn of_order(mut delivery: Delivery, order: &str) -> Delivery {
    delivery.reference = Some(order.into());
    if let Some(payment) = &mut delivery.payment {
        payment.reference = Some(order.into());
    }
    delivery
}

/// Without a `#[payment]` handler, a claim leases a callback and its payment
/// together, and one settlement writes both. A later version with `#[payment]`
/// finds the payment done.
pub async fn a_payment_is_settled_with_its_callback(store: Shared) {
    let push = record(&store, paid("push", "RCPT1")).await;
    let (payment, _) = push.payment.expect("a payment");
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    assert_eq!(claimed.payment.map(|lease| lease.id), Some(payment));
    assert!(claim(&store, 10, LONG).await.is_empty(), "nobody else may handle it meanwhile");
    let done = Settlement::new(claimed.lease, Completion::Done).with_payment(claimed.payment);
    assert_eq!(store.settle(std::slice::from_ref(&done)).await.unwrap(), [SettleResult::Written]);
    assert_eq!(store.settle(&[done]).await.unwrap(), [SettleResult::Written], "again");
    assert_eq!((state(&store, push.id).await, state(&store, payment).await), (State::Done, State::Done));
    // The other callback of the same payment is handled by the same release, and told of no payment by the next one.
    let confirmation = record(&store, confirmed("RCPT1")).await;
    assert_eq!(super::payment(&confirmation), Some(Verdict::Variant));
    let claimed = claim_without(&store, LONG).await.pop().expect("the confirmation");
    assert_eq!((claimed.kind, claimed.payment), (Kind::C2bConfirmation, None));
    assert!(claim(&store, 10, LONG).await.is_empty());
}

/// An attempt with the callback and its payment failed. Both are ready again,
/// so a version with `#[payment]` can handle the payment on its own.
pub async fn a_payment_is_ready_again_after_its_callback_failed(store: Shared) {
    let push = record(&store, paid("push", "RCPT1")).await;
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    let retry = Completion::Retry { after: LONG, error: "no bread".into() };
    let retry = Settlement::new(claimed.lease, retry).with_payment(claimed.payment);
    assert_eq!(store.settle(&[retry]).await.unwrap(), [SettleResult::Written]);
    let claimed = claim(&store, 10, LONG).await.pop().expect("the payment");
    assert_eq!((claimed.kind.clone(), claimed.attempt), (Kind::Payment, 1), "its attempts were not counted");
    assert_eq!(state(&store, push.id).await, State::Ready);
}

/// The process ended while it handled a callback with its payment. Both leases
/// expire, and both are ready again.
pub async fn a_payment_is_reclaimed_with_its_callback(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    let leases = [claimed.lease, claimed.payment.expect("its payment")];
    assert_eq!(store.renew(&leases, SHORT).await.unwrap(), [true, true]);
    sleep(SHORT * 2).await;
    assert_eq!(store.reclaim_expired().await.unwrap(), 2);
    let mut kinds: Vec<_> =
        claim(&store, 10, LONG).await.into_iter().map(|claimed| (claimed.kind, claimed.attempt)).collect();
    kinds.sort();
    assert_eq!(kinds, [(Kind::Stk, 1), (Kind::Payment, 1)]);
}

/// A reference arrives while a payment runs together with its callback, and the
/// attempt is then given back. The reference is kept.
pub async fn a_payment_that_runs_with_its_callback_takes_a_late_reference(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    record(&store, *of_order(paid("push", "RCPT1"), "order-1").payment.expect("a payment")).await;
    let released = Settlement::new(claimed.lease, Completion::Snoozed { after: Duration::ZERO });
    assert_eq!(store.settle(&[released.with_payment(claimed.payment)]).await.unwrap(), [SettleResult::Written]);
    let payment = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    assert_eq!(payment.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    assert!(claim_of(&store, &[Kind::PaymentCompleted], Lane::Main, 10, LONG).await.is_empty());
}

/// A callback and its payment are settled together or not at all: if the lease
/// of the payment was lost, nothing is written.
pub async fn a_callback_is_not_settled_without_its_payment(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    let payment = claimed.payment.expect("its payment");
    // Its lease was lost, as it is when only the callback's was renewed.
    let lost = Settlement::new(payment, Completion::Snoozed { after: LONG });
    assert_eq!(store.settle(&[lost]).await.unwrap(), [SettleResult::Written]);
    let done = Settlement::new(claimed.lease, Completion::Done).with_payment(Some(payment));
    assert_eq!(store.settle(&[done]).await.unwrap(), [SettleResult::LeaseLost]);
    assert_eq!(state(&store, claimed.lease.id).await, State::Running, "the sweep gives it back");
}

/// A person releases a contradiction. Without a `#[payment]` handler its
/// payment is claimed together with it.
pub async fn the_payment_of_a_released_callback_is_claimed_with_it(store: Shared) {
    record(&store, stk("push", "1032", 0, "", "cancelled")).await;
    for claimed in claim_without(&store, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    let late = paid("push", "RCPT1");
    let conflict = record(&store, late.clone()).await;
    let reopening = Requeue { payment: late.payment.as_deref(), ..Requeue::from(State::Held) };
    let reopened = store.requeue(conflict.id, &reopening).await.unwrap().expect("it was held");
    let claimed = claim_without(&store, LONG).await.pop().expect("the released one");
    assert_eq!(claimed.payment.map(|lease| lease.id), reopened.payment.map(|(id, _)| id));
    assert!(claimed.payment.is_some());
}

/// The confirmation, the STK callback and a late reference may arrive in any
/// order. The payment gets the reference in each.
pub async fn a_payment_learns_its_reference_in_every_order(store: Shared) {
    for (round, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        let receipt = format!("RCPT{round}");
        let push = || paid(&format!("push-{round}"), &receipt);
        for which in order {
            let delivery = match which {
                0 => confirmed(&receipt),
                1 => push(),
                _ => *of_order(push(), "order-1").payment.expect("a payment"),
            };
            record(&store, delivery).await;
            for claimed in claim(&store, 10, LONG).await {
                settle(&store, &claimed, Completion::Done).await;
            }
        }
        let of_receipt = store.find(&[Lookup::Receipt(receipt)]).await.unwrap();
        let mut told = of_receipt.iter().filter(|entry| matches!(entry.kind, Kind::Payment | Kind::PaymentCompleted));
        assert!(told.any(|entry| entry.verdict == Verdict::First && entry.reference.is_some()), "{order:?}");
    }
}

/// A receipt belongs to one callback of a kind, also if that callback is an
/// update of an unknown outcome.
pub async fn a_receipt_is_unique_also_for_an_update(store: Shared) {
    record(&store, paid("one", "RCPT1")).await;
    record(&store, stk("other", "1037", 0, "", "nobody knows")).await;
    assert_eq!(record(&store, paid("other", "RCPT1")).await.verdict, Verdict::Conflict);
}

/// The confirmation arrives first and has no reference; the STK callback has
/// one. The waiting payment becomes due at once, and its claim returns both
/// callbacks.
pub async fn a_waiting_payment_is_due_when_its_reference_arrives(store: Shared) {
    let mut first = confirmed("RCPT1");
    first.payment.as_mut().expect("a payment").due_after = LONG;
    record(&store, first).await;
    assert!(claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.is_empty(), "it waits");
    let push = record(&store, of_order(paid("push", "RCPT1"), "order-1")).await;
    assert_eq!(payment(&push), Some(Verdict::Variant));
    let claimed = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    assert_eq!(claimed.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    let push = claimed.related.iter().find(|related| related.kind == Kind::Stk).expect("the push");
    assert_eq!(push.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    let completed = store.list(&Filter::default().kind(Kind::PaymentCompleted)).await.unwrap();
    assert!(completed.is_empty(), "it was not too late");
}

/// The reference arrives after the payment was handled. It is recorded as a
/// callback of kind `payment_completed`, once.
pub async fn a_payment_that_was_handled_without_its_reference_is_completed(store: Shared) {
    record(&store, confirmed("RCPT1")).await;
    for claimed in claim(&store, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    record(&store, of_order(paid("push", "RCPT1"), "order-1")).await;
    record(&store, of_order(stk("push", "0", 100, "RCPT1", "in other words"), "order-1")).await;
    let mut claimed = claim_of(&store, &[Kind::PaymentCompleted], Lane::Main, 10, LONG).await;
    assert_eq!(claimed.len(), 1, "once");
    let claimed = claimed.remove(0);
    assert_eq!((claimed.key.as_str(), claimed.verdict), ("RCPT1", Verdict::First));
    assert_eq!(claimed.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    assert_eq!(Payment::parse(claimed.body.as_bytes()).expect("a payment").receipt, "RCPT1");
}

/// The STK callback has only the receipt, the confirmation has the account, and
/// the reference arrives last. Each new fact is recorded as one
/// `payment_completed`; a delivery with fewer facts records none.
pub async fn a_payment_that_was_handled_without_its_account_is_completed(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    for claimed in claim(&store, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    record(&store, confirmed("RCPT1")).await;
    let account = claim_of(&store, &[Kind::PaymentCompleted], Lane::Main, 10, LONG).await.pop().expect("the account");
    assert!(account.reference.is_none());
    let told = Payment::parse(account.body.as_bytes()).expect("a payment");
    assert_eq!((told.receipt.as_str(), told.order()), ("RCPT1", Some("till")));
    settle(&store, &account, Completion::Done).await;
    let payment = of_order(paid("push", "RCPT1"), "order-1").payment.expect("a payment");
    for _ in 0..2 {
        record(&store, (*payment).clone()).await;
    }
    let mut claimed = claim_of(&store, &[Kind::PaymentCompleted], Lane::Main, 10, LONG).await;
    assert_eq!(claimed.len(), 1, "once");
    assert_eq!(claimed.remove(0).reference.as_ref().map(Sensitive::as_str), Some("order-1"));
}

async fn claim_payment(store: &Shared) -> Claimed {
    claim_of(store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment")
}

pub(super) async fn completed(store: &Shared) -> usize {
    store.list(&Filter::default().kind(Kind::PaymentCompleted)).await.unwrap().len()
}

/// The first attempt had no order id and failed, or its answer was lost, so it
/// may have taken effect. When the order id arrives, the next attempt gets it,
/// and a `payment_completed` is recorded as well.
pub async fn a_payment_that_a_handler_may_have_seen_is_completed_also_while_it_waits(store: Shared) {
    record(&store, confirmed("RCPT1")).await;
    let first = claim_payment(&store).await;
    assert!(!first.was_told, "nobody has seen it");
    settle(&store, &first, Completion::Retry { after: LONG, error: "a bad day".into() }).await;
    record(&store, of_order(paid("push", "RCPT1"), "order-1")).await;
    let again = claim_payment(&store).await;
    assert!(again.was_told);
    assert_eq!(again.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    let told = claim_of(&store, &[Kind::PaymentCompleted], Lane::Main, 10, LONG).await.pop().expect("its order");
    assert_eq!((told.earlier, told.content_digest), (Some(first.lease.id), first.content_digest));
}

/// A snoozed attempt does not count, and a requeue resets the attempts. Both
/// may have taken effect all the same, so a late order id records a
/// `payment_completed`.
pub async fn a_payment_whose_attempt_was_given_back_is_completed(store: Shared) {
    record(&store, confirmed("RCPT1")).await;
    let claimed = claim_payment(&store).await;
    settle(&store, &claimed, Completion::Snoozed { after: LONG }).await;
    record(&store, of_order(paid("push-1", "RCPT1"), "order-1")).await;
    assert_eq!(completed(&store).await, 1, "its attempts are none again");

    record(&store, confirmed("RCPT2")).await;
    let claimed = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await;
    let claimed = claimed.into_iter().find(|one| one.key == "RCPT2").expect("the payment");
    settle(&store, &claimed, Completion::Done).await;
    store.requeue(claimed.lease.id, &Requeue::from(State::Done)).await.unwrap().expect("it was done");
    record(&store, of_order(paid("push-2", "RCPT2"), "order-2")).await;
    assert_eq!(completed(&store).await, 2, "it was handled before");
}

/// A purge deletes the reference, but the store remembers that it was known. A
/// repeated delivery records no `payment_completed`.
pub async fn a_payment_whose_reference_was_purged_is_not_completed(store: Shared) {
    let push = of_order(paid("push", "RCPT1"), "order-1");
    let payment = push.payment.clone().expect("a payment");
    record(&store, push).await;
    for claimed in claim(&store, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 2);
    record(&store, *payment).await;
    assert_eq!(completed(&store).await, 0);
}

/// An account completed a payment, and both were purged. The same account in
/// another callback completes nothing again.
pub async fn a_payment_whose_account_was_told_before_a_purge_is_not_completed_again(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    for claimed in claim(&store, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    let confirmation = confirmed("RCPT1");
    let payment = confirmation.payment.clone().expect("a payment");
    record(&store, confirmation).await;
    assert_eq!(completed(&store).await, 1, "its account");
    for claimed in claim_of(&store, &[Kind::PaymentCompleted, Kind::C2bConfirmation], Lane::Main, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 4);
    record(&store, *payment).await;
    assert_eq!(completed(&store).await, 1, "once");
}

/// A callback is released for a reference. Its handler gets that reference.
pub async fn a_released_callback_gets_its_reference(store: Shared) {
    record(&store, stk("push", "1032", 0, "", "cancelled")).await;
    let conflict = record(&store, paid("push", "RCPT1")).await;
    let order = Sensitive::from("order-1");
    let release = Requeue { reference: Some(&order), ..Requeue::from(State::Held) };
    store.requeue(conflict.id, &release).await.unwrap().expect("it was held");
    let other = Sensitive::from("order-2");
    let claimed = claim(&store, 10, LONG).await.into_iter().find(|one| one.lease.id == conflict.id).expect("it");
    assert_eq!(claimed.reference.as_ref().map(Sensitive::as_str), Some("order-1"));
    settle(&store, &claimed, Completion::Done).await;
    let again = Requeue { reference: Some(&other), ..Requeue::from(State::Done) };
    store.requeue(conflict.id, &again).await.unwrap().expect("it was done");
    let entry = store.get(conflict.id).await.unwrap().expect("it");
    assert_eq!(entry.reference.as_ref().map(Sensitive::as_str), Some("order-1"), "it has one");
}
