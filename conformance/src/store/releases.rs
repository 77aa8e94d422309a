//! Payments beside processes with other handlers: a deployment, its rollback, a permit that is missing.

use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{Claim, Completion, Lane, Requeue, SettleResult, Settlement, State};

use super::paying::{WITHOUT, claim_without, completed, confirmed, of_order, paid};
use super::{LONG, Shared, claim, claim_of, record, settle};

/// A process with a `#[payment]` handler may have no permit for payments at the
/// moment. It then claims the callback alone, and leaves the payment ready.
pub async fn a_claim_without_a_permit_for_payments_leaves_the_payment(store: Shared) {
    let push = record(&store, paid("push", "RCPT1")).await;
    let kinds = [Kind::Stk];
    let claim = Claim { handles_payments: true, ..Claim::new(&kinds, 10, LONG) };
    let claimed = store.claim(&claim).await.expect("claim").pop().expect("the push");
    assert_eq!((claimed.lease.id, claimed.payment), (push.id, None));
    settle(&store, &claimed, Completion::Done).await;
    let left = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await;
    assert_eq!(left.len(), 1, "the payment is still to be handled");
}

/// A version with `#[payment]` failed at its payments and was rolled back. The
/// version before it accounts for money in the handlers of callbacks: it claims
/// the waiting callbacks and payments together.
pub async fn a_payment_that_another_release_failed_at_is_claimed_with_its_callback(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let failed = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    settle(&store, &failed, Completion::Retry { after: Duration::ZERO, error: "a bad deployment".into() }).await;
    let claimed = claim_without(&store, LONG).await.pop().expect("the push");
    let payment = claimed.payment.expect("its payment");
    let done = Settlement::new(claimed.lease, Completion::Done).with_payment(Some(payment));
    assert_eq!(store.settle(&[done]).await.unwrap(), [SettleResult::Written]);
    // Settled without an attempt: so the other callback of the same payment is this release's, too.
    record(&store, of_order(confirmed("RCPT1"), "order-1")).await;
    assert_eq!(claim_without(&store, LONG).await.len(), 1, "the confirmation");
    assert_eq!(completed(&store).await, 1, "the attempt that failed may have taken effect");
}

/// A version with `#[payment]` may have committed before its process ended. The
/// order arrives while another version has the payment in hand with a callback:
/// if the first one did commit, it must learn the order.
pub async fn a_payment_in_hand_that_another_release_may_have_committed_is_completed(store: Shared) {
    record(&store, confirmed("RCPT1")).await;
    let lost = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    settle(&store, &lost, Completion::Snoozed { after: Duration::ZERO }).await;
    assert!(claim_without(&store, LONG).await.pop().expect("the confirmation").payment.is_some());
    record(&store, of_order(paid("push", "RCPT1"), "order-1")).await;
    assert_eq!(completed(&store).await, 1);
}

/// A payment was handled by `#[payment]`. A process without that handler must
/// not claim its callbacks: its handlers would account for the money a second
/// time.
pub async fn a_callback_whose_payment_was_handled_is_not_claimed(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let payment = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    assert!(claim_without(&store, LONG).await.is_empty(), "it is in hand");
    settle(&store, &payment, Completion::Done).await;
    assert!(claim_without(&store, LONG).await.is_empty(), "it was handled");
    record(&store, paid("another", "RCPT2")).await;
    assert_eq!(claim_without(&store, LONG).await.len(), 1, "others are not held up");
    let left = claim(&store, 10, LONG).await.pop().expect("the push");
    assert_eq!(left.key, "push");
}

/// The same, and the process with `#[payment]` does not come back. After a while
/// the callback is claimed all the same, and so is one that a person wants again.
pub async fn a_callback_whose_payment_was_handled_is_claimed_in_the_end(store: Shared) {
    record(&store, paid("push", "RCPT1")).await;
    let payment = claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.pop().expect("the payment");
    let later = SystemTime::now() + LONG;
    let of_any_age = Claim { left_since: later, ..Claim::new(&WITHOUT, 10, LONG) };
    assert!(store.claim(&of_any_age).await.unwrap().is_empty(), "it is in hand");
    settle(&store, &payment, Completion::Done).await;
    let claimed = store.claim(&of_any_age).await.unwrap().pop().expect("the push");
    assert_eq!((claimed.key.as_str(), claimed.payment), ("push", None));
    settle(&store, &claimed, Completion::Done).await;
    assert!(store.requeue(claimed.lease.id, &Requeue::from(State::Done)).await.unwrap().is_some());
    assert_eq!(claim_without(&store, LONG).await.len(), 1, "a person wants it again");
}

/// Any number of callbacks that only other processes may claim do not keep a
/// claim from returning the callbacks behind them.
pub async fn callbacks_left_to_other_processes_block_nothing(store: Shared) {
    for number in 0..20 {
        record(&store, paid(&format!("push-{number}"), &format!("RCPT{number}"))).await;
    }
    for payment in claim_of(&store, &[Kind::Payment], Lane::Main, 20, LONG).await {
        settle(&store, &payment, Completion::Done).await;
    }
    let genuine = record(&store, paid("genuine", "GENUINE")).await;
    let claimed = claim_of(&store, &WITHOUT, Lane::Main, 3, LONG).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.lease.id).collect::<Vec<_>>(), [genuine.id]);
}

/// A person dismisses a dead callback and with it the payment that nothing has
/// handled. It keeps a reason, unlike one that was handled.
pub async fn a_ready_payment_can_be_dismissed(store: Shared) {
    let push = record(&store, paid("push", "RCPT1")).await;
    let payment = push.payment.expect("its payment").0;
    assert!(!store.dismiss(push.id).await.unwrap(), "it is ready");
    assert!(store.dismiss(payment).await.unwrap());
    let entry = store.get(payment).await.unwrap().expect("the payment");
    assert_eq!((entry.state, entry.attempts), (State::Done, 0));
    assert_eq!(entry.error.as_ref().map(Sensitive::as_str), Some("dismissed"));
    assert!(claim_of(&store, &[Kind::Payment], Lane::Main, 10, LONG).await.is_empty());
    assert!(!store.dismiss(payment).await.unwrap());
}
