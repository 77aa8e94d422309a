//! Claims, leases and endings.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{CallbackId, Ending, Filter, Settled, State, Verdict};
use tokio::time::sleep;

use super::{LONG, SHORT, Shared, claim_one, failed, received, record, settle, state, stk};

/// Claimants that race get different callbacks, and all of them are claimed.
pub async fn racing_claimants_share_the_work_and_nobody_gets_the_same(store: Shared) {
    let batch: Vec<_> = (0..200).map(|i| failed(&format!("c{i}"))).collect();
    store.record(&batch).await.unwrap();
    let claimants = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = store.claim(7, LONG).await.expect("claim");
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

/// A callback that kills the process has been counted: after each sweep, the attempt is one more.
pub async fn an_attempt_is_counted_when_it_begins(store: Shared) {
    record(&store, failed("k")).await;
    for attempt in 1..=3 {
        let claimed = claim_one(&store, SHORT).await;
        assert_eq!((claimed.attempt, claimed.interruptions), (attempt, attempt - 1));
        assert_eq!(claimed.kind, Kind::Stk);
        assert_eq!(claimed.key, "k");
        assert!(!claimed.body.as_bytes().is_empty());
        assert_eq!(store.sweep().await.unwrap(), 0, "its lease lives");
        sleep(SHORT * 2).await;
        assert!(store.claim(1, LONG).await.unwrap().is_empty(), "a claim takes no expired lease: a sweep does");
        assert_eq!(store.sweep().await.unwrap(), 1);
        assert_eq!(store.sweep().await.unwrap(), 0);
    }
}

/// Whoever lost the lease changes nothing, and is told so; whoever has it now settles.
pub async fn a_lost_lease_changes_nothing(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let stale = claim_one(&store, SHORT).await;
    sleep(SHORT * 2).await;
    store.sweep().await.unwrap();
    assert_eq!(settle(&store, &stale, Ending::Done).await, Settled::LeaseLost, "nobody runs it");
    let holder = claim_one(&store, LONG).await;
    assert!(holder.lease.fence > stale.lease.fence);
    let error = || "late".into();
    for ending in [Ending::Done, Ending::Dead { error: error() }, Ending::Retry { after: LONG, error: error() }] {
        assert_eq!(settle(&store, &stale, ending).await, Settled::LeaseLost);
    }
    assert_eq!(store.renew(&[stale.lease, holder.lease], LONG).await.unwrap(), [false, true]);
    assert_eq!(state(&store, recorded.id).await, State::Running);
    assert_eq!(settle(&store, &holder, Ending::Done).await, Settled::Written);
    assert_eq!(settle(&store, &holder, Ending::Done).await, Settled::Written, "whoever did not hear of it asks again");
    let otherwise = [Ending::Dead { error: error() }, Ending::Released { after: LONG }];
    for ending in otherwise {
        assert_eq!(settle(&store, &holder, ending).await, Settled::LeaseLost, "it is settled");
    }
    assert_eq!(state(&store, recorded.id).await, State::Done);
}

/// A lease that is renewed lasts.
pub async fn a_renewed_lease_is_not_swept(store: Shared) {
    record(&store, failed("k")).await;
    let claimed = claim_one(&store, SHORT).await;
    assert_eq!(store.renew(&[claimed.lease], LONG).await.unwrap(), [true]);
    sleep(SHORT * 2).await;
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(settle(&store, &claimed, Ending::Done).await, Settled::Written);
}

/// What is recorded for later is claimed later.
pub async fn a_callback_may_be_due_later_from_the_start(store: Shared) {
    let mut later = failed("later");
    later.due_after = SHORT * 20;
    let later = record(&store, later).await;
    let now = record(&store, failed("now")).await;
    assert_eq!(claim_one(&store, LONG).await.lease.id, now.id);
    assert!(store.get(later.id).await.unwrap().unwrap().run_at.unwrap() > SystemTime::now());
    sleep(SHORT * 21).await;
    assert_eq!(claim_one(&store, LONG).await.lease.id, later.id);
}

/// A retry is due after its time, with the error kept.
pub async fn a_retry_is_due_later(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let claimed = claim_one(&store, LONG).await;
    let retry = Ending::Retry { after: SHORT * 4, error: "no bread".into() };
    assert_eq!(settle(&store, &claimed, retry).await, Settled::Written);
    assert!(store.claim(1, LONG).await.unwrap().is_empty(), "it is not due yet");
    let entry = store.get(recorded.id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.attempts), (State::Ready, 1));
    assert!(entry.run_at.is_some());
    sleep(SHORT * 21).await;
    let claimed = claim_one(&store, LONG).await;
    assert_eq!((claimed.attempt, claimed.last_error.expect("why").as_str()), (2, "no bread"));
}

/// A release gives the attempt back.
pub async fn a_release_does_not_count(store: Shared) {
    record(&store, failed("k")).await;
    for _ in 0..3 {
        let claimed = claim_one(&store, LONG).await;
        assert_eq!(claimed.attempt, 1);
        assert_eq!(settle(&store, &claimed, Ending::Released { after: Duration::ZERO }).await, Settled::Written);
    }
}

/// The dead are shown, and run again after a requeue with all their attempts before them.
pub async fn the_dead_run_again_after_a_requeue(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    let claimed = claim_one(&store, LONG).await;
    settle(&store, &claimed, Ending::Dead { error: "given up".into() }).await;
    let dead = store.list(&Filter::default().state(State::Dead)).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].error.as_ref().expect("why").as_str(), "given up");
    assert!(dead[0].settled_at.is_some());
    assert!(store.claim(1, LONG).await.unwrap().is_empty());

    assert!(!store.reopen(recorded.id, State::Held, None).await.unwrap(), "it is dead, not held");
    assert!(store.reopen(recorded.id, State::Dead, None).await.unwrap());
    assert!(!store.reopen(recorded.id, State::Dead, None).await.unwrap(), "it is ready now");
    assert_eq!(claim_one(&store, LONG).await.attempt, 1);
    assert!(!store.reopen(CallbackId(i64::MAX), State::Dead, None).await.unwrap(), "there is none");
}

/// Releasing a contradiction lets it be handled, and records the money that it shows.
pub async fn a_held_callback_is_released_with_its_payment(store: Shared) {
    let first = record(&store, failed("k")).await;
    let success = stk("k", "0", 70, "RCPT7", "Success");
    let payment = success.payment.clone().expect("it shows money");
    let conflict = record(&store, success).await;
    assert_eq!((conflict.verdict, conflict.payment), (Verdict::Conflict, None));
    let claimed = claim_one(&store, LONG).await;
    assert_eq!(claimed.lease.id, first.id);
    assert!(store.reopen(conflict.id, State::Held, Some(&*payment)).await.unwrap());
    let claimed = store.claim(10, LONG).await.unwrap();
    let kinds: HashSet<_> = claimed.iter().map(|claimed| (claimed.kind.clone(), claimed.verdict)).collect();
    assert_eq!(kinds, HashSet::from([(Kind::Stk, Verdict::Conflict), (Kind::Payment, Verdict::First)]));
}

/// What waits for somebody's decision can be closed.
pub async fn what_is_open_can_be_dismissed(store: Shared) {
    record(&store, failed("k")).await;
    let conflict = record(&store, stk("k", "1", 0, "", "insufficient")).await;
    assert!(store.dismiss(conflict.id).await.unwrap());
    assert_eq!(state(&store, conflict.id).await, State::Done);
    assert!(!store.dismiss(conflict.id).await.unwrap());
    let claimed = claim_one(&store, LONG).await;
    assert!(!store.dismiss(claimed.lease.id).await.unwrap(), "it is running");
}

/// Callbacks of one receipt know each other when they are claimed.
pub async fn siblings_know_each_other(store: Shared) {
    record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    let twin = received(&Kind::C2bConfirmation, r#"{"TransID":"RCPT1","TransAmount":"100.00"}"#);
    record(&store, twin).await;
    record(&store, received(&Kind::C2bConfirmation, r#"{"TransID":"RCPT2","TransAmount":"100.00"}"#)).await;
    let claimed = store.claim(10, LONG).await.unwrap();
    let sibling = |kind: &Kind, key: &str| {
        let claimed = claimed.iter().find(|claimed| claimed.kind == *kind && claimed.key == key).expect("claimed");
        claimed.sibling.as_ref().map(|sibling| (sibling.kind.clone(), sibling.key.as_str().to_owned()))
    };
    assert_eq!(sibling(&Kind::Stk, "push"), Some((Kind::C2bConfirmation, "RCPT1".into())));
    assert_eq!(sibling(&Kind::C2bConfirmation, "RCPT1"), Some((Kind::Stk, "push".into())));
    assert_eq!(sibling(&Kind::C2bConfirmation, "RCPT2"), None);
}
