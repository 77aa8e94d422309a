//! Claims, leases and settlements.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{
    CallbackId, Claimed, Completion, Filter, Lane, Requeue, Requeued, SettleResult, State, Verdict,
};
use tokio::time::{Instant, sleep};

use super::{LONG, SHORT, Shared, claim, claim_of, claim_one, delivery_of, failed, record, settle, state, stk};

/// Concurrent claims return different callbacks, and together they return all.
pub async fn racing_claims_never_return_the_same_callback(store: Shared) {
    let batch: Vec<_> = (0..200).map(|i| failed(&format!("c{i}"))).collect();
    store.record(&batch).await.unwrap();
    let claimants = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = claim(&store, 7, LONG).await;
                if claimed.is_empty() {
                    return mine;
                }
                assert!(claimed.len() <= 7);
                mine.extend(claimed.into_iter().map(|claimed| claimed.lease.id));
            }
        })
    });
    let mut all = Vec::new();
    for claimant in claimants.collect::<Vec<_>>() {
        all.extend(claimant.await.expect("a claimant"));
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 200, "somebody got the same");
}

/// The lease of a running callback expires because its process ended. That is
/// an interruption: it is counted separately, and the attempt does not count.
pub async fn an_interruption_costs_no_attempt(store: Shared) {
    record(&store, failed("k")).await;
    for interruptions in 0..2 {
        let claimed = claim_when_due(&store, Lane::Main, LONG).await;
        assert_eq!((claimed.attempt, claimed.interruptions), (1, interruptions));
        assert_eq!(claimed.kind, Kind::Stk);
        assert_eq!(claimed.key, "k");
        assert!(!claimed.body.as_bytes().is_empty());
        assert_eq!(store.reclaim_expired().await.unwrap(), 0, "its lease lives");
        assert_eq!(store.renew(&[claimed.lease], SHORT).await.unwrap(), [true]);
        sleep(SHORT * 2).await;
        assert!(claim(&store, 1, LONG).await.is_empty(), "a claim takes no expired lease: a sweep does");
        assert_eq!(store.reclaim_expired().await.unwrap(), 1);
        assert_eq!(store.reclaim_expired().await.unwrap(), 0);
    }
}

/// A callback that was interrupted twice is a suspect. It is claimed only in
/// the lane for suspects until it is settled.
pub async fn suspects_are_claimed_in_their_own_lanes(store: Shared) {
    record(&store, failed("suspect")).await;
    for _ in 0..2 {
        claim_when_due(&store, Lane::Main, SHORT).await;
        sleep(SHORT * 2).await;
        store.reclaim_expired().await.unwrap();
    }
    record(&store, failed("other")).await;
    let others: Vec<_> = claim(&store, 10, LONG).await.into_iter().map(|claimed| claimed.key).collect();
    assert_eq!(others, ["other"]);
    let suspect = claim_when_due(&store, Lane::Suspects, LONG).await;
    assert_eq!((suspect.key.as_str(), suspect.interruptions, suspect.interruptions_alone), ("suspect", 2, 0));
    settle(&store, &suspect, Completion::Snoozed { after: Duration::ZERO }).await;
    assert!(claim(&store, 10, LONG).await.is_empty(), "a shutdown acquits nobody");
    let suspect = claim_when_due(&store, Lane::Alone, LONG).await;
    settle(&store, &suspect, Completion::Retry { after: Duration::ZERO, error: "no bread".into() }).await;
    let again = claim_one(&store, LONG).await;
    assert_eq!((again.key.as_str(), again.interruptions, again.attempt), ("suspect", 0, 2), "it came to an end");
}

/// An interruption of a callback that ran as the only suspect is counted as
/// such. After enough of them it is claimed only in the lane `Alone`.
pub async fn interruptions_alone_are_counted_separately(store: Shared) {
    record(&store, failed("k")).await;
    for lane in [Lane::Main, Lane::Main, Lane::Alone, Lane::Alone] {
        claim_when_due(&store, lane, SHORT).await;
        sleep(SHORT * 2).await;
        assert_eq!(store.reclaim_expired().await.unwrap(), 1);
    }
    let claimed = claim_when_due(&store, Lane::Alone, LONG).await;
    assert_eq!((claimed.interruptions, claimed.interruptions_alone, claimed.attempt), (4, 2, 1));
}

/// Claims the one callback of this lane, once it is due.
async fn claim_when_due(store: &Shared, lane: Lane, lease: Duration) -> Claimed {
    let began = Instant::now();
    loop {
        if let Some(claimed) = claim_of(store, &[Kind::Stk], lane, 1, lease).await.pop() {
            return claimed;
        }
        assert!(began.elapsed() < LONG, "nothing becomes due in lane {lane:?}");
        sleep(SHORT).await;
    }
}

/// A claim names kinds. Callbacks of other kinds stay ready, and do not keep it
/// from finding its own. A claim without kinds returns nothing.
pub async fn a_claim_returns_only_its_kinds(store: Shared) {
    for i in 0..30 {
        record(&store, failed(&format!("k{i}"))).await;
    }
    let other = r#"{"responseHeader":{"requestRefID":"r","responseCode":"1032"}}"#;
    let other = record(&store, delivery_of(&Kind::Ratiba, other)).await;
    let claimed = claim_of(&store, &[Kind::Ratiba, Kind::Lipia], Lane::Main, 10, LONG).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.lease.id).collect::<Vec<_>>(), [other.id]);
    assert!(claim_of(&store, &[], Lane::Main, 10, LONG).await.is_empty());
    assert_eq!(claim_of(&store, &[Kind::Stk], Lane::Main, 100, LONG).await.len(), 30);
}

/// A process that lost its lease cannot settle or renew: the result is
/// `LeaseLost`, and nothing is written. The process that holds the lease now
/// can, also twice with the same completion.
pub async fn a_lost_lease_changes_nothing(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let stale = claim_one(&store, SHORT).await;
    sleep(SHORT * 2).await;
    store.reclaim_expired().await.unwrap();
    assert_eq!(settle(&store, &stale, Completion::Done).await, SettleResult::LeaseLost, "nobody runs it");
    let holder = claim_one(&store, LONG).await;
    assert!(holder.lease.fence > stale.lease.fence);
    let error = || "late".into();
    for completion in
        [Completion::Done, Completion::Dead { error: error() }, Completion::Retry { after: LONG, error: error() }]
    {
        assert_eq!(settle(&store, &stale, completion).await, SettleResult::LeaseLost);
    }
    assert_eq!(store.renew(&[stale.lease, holder.lease], LONG).await.unwrap(), [false, true]);
    assert_eq!(state(&store, recorded.id).await, State::Running);
    assert_eq!(settle(&store, &holder, Completion::Done).await, SettleResult::Written);
    assert_eq!(
        settle(&store, &holder, Completion::Done).await,
        SettleResult::Written,
        "whoever did not hear of it asks again"
    );
    let fallback = [Completion::Dead { error: error() }, Completion::Snoozed { after: LONG }];
    for completion in fallback {
        assert_eq!(settle(&store, &holder, completion).await, SettleResult::LeaseLost, "it is settled");
    }
    assert_eq!(state(&store, recorded.id).await, State::Done);
}

/// A renewed lease lives for its new duration.
pub async fn a_renewed_lease_is_not_reclaimed(store: Shared) {
    record(&store, failed("k")).await;
    // Long enough to be renewed in time on a busy machine.
    let lease = Duration::from_secs(2);
    let claimed = claim_one(&store, lease).await;
    assert_eq!(store.renew(&[claimed.lease], LONG).await.unwrap(), [true]);
    sleep(lease + SHORT).await;
    assert_eq!(store.reclaim_expired().await.unwrap(), 0);
    assert_eq!(settle(&store, &claimed, Completion::Done).await, SettleResult::Written);
}

/// A delivery with a delay is claimed when the delay is over, not before.
pub async fn a_callback_can_be_recorded_with_a_delay(store: Shared) {
    let mut later = failed("later");
    later.due_after = LONG;
    let later = record(&store, later).await;
    let mut never = failed("never");
    never.due_after = Duration::MAX;
    record(&store, never).await;
    let now = record(&store, failed("now")).await;
    assert_eq!(claim_one(&store, LONG).await.lease.id, now.id);
    assert!(claim(&store, 1, LONG).await.is_empty(), "the others are not due yet");
    assert!(store.get(later.id).await.unwrap().unwrap().run_at.unwrap() > SystemTime::now());
    let mut soon = failed("soon");
    soon.due_after = SHORT;
    let soon = record(&store, soon).await;
    assert_eq!(claim_when_due(&store, Lane::Main, LONG).await.lease.id, soon.id);
}

/// A retry is due after its delay. It keeps the error, and its attempt is
/// counted.
pub async fn a_retry_is_due_later(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let claimed = claim_one(&store, LONG).await;
    let retry = |after| Completion::Retry { after, error: "no bread".into() };
    assert_eq!(settle(&store, &claimed, retry(LONG)).await, SettleResult::Written);
    assert!(claim(&store, 1, LONG).await.is_empty(), "it is not due yet");
    let entry = store.get(recorded.id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.attempts), (State::Ready, 1));
    assert!(entry.run_at.unwrap() > SystemTime::now());

    record(&store, failed("soon")).await;
    let claimed = claim_one(&store, LONG).await;
    assert_eq!(settle(&store, &claimed, retry(SHORT)).await, SettleResult::Written);
    let claimed = claim_when_due(&store, Lane::Main, LONG).await;
    assert_eq!((claimed.key.as_str(), claimed.attempt), ("soon", 2));
    assert_eq!(claimed.last_error.expect("the error").as_str(), "no bread");
}

/// A snoozed callback is due after its delay, and its attempt does not count.
pub async fn a_snoozed_attempt_does_not_count(store: Shared) {
    record(&store, failed("k")).await;
    for _ in 0..3 {
        let claimed = claim_one(&store, LONG).await;
        assert_eq!(claimed.attempt, 1);
        assert_eq!(
            settle(&store, &claimed, Completion::Snoozed { after: Duration::ZERO }).await,
            SettleResult::Written
        );
    }
}

/// Dead callbacks are listed. After a requeue the callback is ready again, with
/// all its attempts.
pub async fn a_dead_callback_runs_again_after_a_requeue(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let claimed = claim_one(&store, LONG).await;
    settle(&store, &claimed, Completion::Dead { error: "given up".into() }).await;
    let dead = store.list(&Filter::default().state(State::Dead)).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].error.as_ref().expect("why").as_str(), "given up");
    assert!(dead[0].settled_at.is_some());
    assert!(claim(&store, 1, LONG).await.is_empty());

    let (dead, held) = (Requeue::from(State::Dead), Requeue::from(State::Held));
    assert_eq!(store.requeue(recorded.id, &held).await.unwrap(), None, "it is dead, not held");
    assert_eq!(store.requeue(recorded.id, &dead).await.unwrap(), Some(Requeued::new(None)));
    assert_eq!(store.requeue(recorded.id, &dead).await.unwrap(), None, "it is ready now");
    assert_eq!(claim_one(&store, LONG).await.attempt, 1);
    assert_eq!(store.requeue(CallbackId::from_stored(i64::MAX), &dead).await.unwrap(), None, "there is none");
}

/// A callback that is done becomes ready again on request. Its next claim has a
/// higher repetition, so the transactor uses another idempotency key.
pub async fn a_done_callback_can_be_handled_again(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let done = Requeue { reason: Some("a mistake was mended"), ..Requeue::from(State::Done) };
    assert_eq!(store.requeue(recorded.id, &done).await.unwrap(), None, "it is not done yet");
    for repetition in 0..3 {
        let claimed = claim_one(&store, LONG).await;
        assert_eq!((claimed.attempt, claimed.repetition), (1, repetition));
        settle(&store, &claimed, Completion::Done).await;
        assert!(store.requeue(recorded.id, &done).await.unwrap().is_some());
        let entry = store.get(recorded.id).await.unwrap().unwrap();
        assert_eq!((entry.state, entry.error.expect("why").as_str()), (State::Ready, "a mistake was mended"));
    }
}

/// Releasing a conflict makes it ready and records the payment that it reports.
pub async fn a_held_callback_is_released_with_its_payment(store: Shared) {
    let first = record(&store, failed("k")).await;
    let success = stk("k", "0", 70, "RCPT7", "Success");
    let payment = success.payment.clone().expect("it shows money");
    let conflict = record(&store, success).await;
    assert_eq!((conflict.verdict, conflict.payment), (Verdict::Conflict, None));
    let claimed = claim_one(&store, LONG).await;
    assert_eq!(claimed.lease.id, first.id);
    let reopening = Requeue { payment: Some(&*payment), ..Requeue::from(State::Held) };
    let reopened = store.requeue(conflict.id, &reopening).await.unwrap().expect("it was held");
    assert_eq!(reopened.payment.map(|(_, verdict)| verdict), Some(Verdict::First));
    let claimed = claim(&store, 10, LONG).await;
    let kinds: HashSet<_> = claimed.iter().map(|claimed| (claimed.kind.clone(), claimed.verdict)).collect();
    assert_eq!(kinds, HashSet::from([(Kind::Stk, Verdict::Conflict), (Kind::Payment, Verdict::First)]));
}

/// Whether the store takes a write can be asked at any time, by several at once.
pub async fn a_check_of_writing_leaves_nothing_behind(store: Shared) {
    let (one, other) = tokio::join!(store.check_write(), store.check_write());
    assert!(one.is_ok() && other.is_ok());
    assert!(store.list(&Filter::default()).await.unwrap().is_empty());
    store.close().await.unwrap();
    assert!(store.check_write().await.is_err(), "it is closed");
}

/// A callback that is held, dead or quarantined can be closed without handling
/// it.
pub async fn held_and_dead_callbacks_can_be_dismissed(store: Shared) {
    record(&store, failed("k")).await;
    let conflict = record(&store, stk("k", "0", 5, "R", "Success")).await;
    assert!(store.dismiss(conflict.id).await.unwrap());
    assert_eq!(state(&store, conflict.id).await, State::Done);
    assert!(!store.dismiss(conflict.id).await.unwrap());
    let claimed = claim_one(&store, LONG).await;
    assert!(!store.dismiss(claimed.lease.id).await.unwrap(), "it is running");
    // Attempts show whether a handler has seen it.
    settle(&store, &claimed, Completion::Dead { error: "no bread".into() }).await;
    assert!(store.dismiss(claimed.lease.id).await.unwrap());
    let entries = store.list(&Filter::default()).await.unwrap();
    let attempts = |id: CallbackId| entries.iter().find(|entry| entry.id == id).map(|entry| entry.attempts);
    assert_eq!((attempts(conflict.id), attempts(claimed.lease.id)), (Some(0), Some(1)));
    assert!(entries.iter().all(|entry| entry.error.is_some()), "both keep their reasons");
}

/// A claim returns the other callback with the same receipt.
pub async fn a_claim_returns_related_callbacks(store: Shared) {
    record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    let confirmation = delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"RCPT1","TransAmount":"100.00"}"#);
    record(&store, confirmation).await;
    record(&store, delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"RCPT2","TransAmount":"100.00"}"#)).await;
    let claimed = claim(&store, 10, LONG).await;
    let related = |kind: &Kind, key: &str| {
        let claimed = claimed.iter().find(|claimed| claimed.kind == *kind && claimed.key == key).expect("claimed");
        claimed.related.first().map(|related| (related.kind.clone(), related.key.as_str().to_owned()))
    };
    assert_eq!(related(&Kind::Stk, "push"), Some((Kind::C2bConfirmation, "RCPT1".into())));
    assert_eq!(related(&Kind::C2bConfirmation, "RCPT1"), Some((Kind::Stk, "push".into())));
    assert_eq!(related(&Kind::C2bConfirmation, "RCPT2"), None);
    let payment = claimed.iter().find(|claimed| claimed.kind == Kind::Payment && claimed.key == "RCPT1").expect("it");
    let told: Vec<_> = payment.related.iter().map(|related| related.kind.clone()).collect();
    assert_eq!(told, [Kind::Stk, Kind::C2bConfirmation], "a payment knows all that told of it");
}
