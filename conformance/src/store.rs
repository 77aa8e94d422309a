//! The behaviours that a store must show.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{
    CallbackId, Claimed, Disposition, Ending, Filter, Received, Recorded, Settled, Settlement, State, Store,
    StoreError, Verdict,
};
use tokio::time::sleep;

type Shared = Arc<dyn Store>;

/// Long enough that nothing expires by accident, and short enough to wait for where it should.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

fn stk(key: &str, code: &str, amount: u32, receipt: &str, desc: &str) -> Received {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":{code},"ResultDesc":"{desc}","CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
    );
    received(&Kind::Stk, &body)
}

fn received(kind: &Kind, body: &str) -> Received {
    Received::parse(kind, body.as_bytes(), SystemTime::now()).expect("a readable body")
}

/// A callback that shows no money, so that no payment comes with it.
fn failed(key: &str) -> Received {
    stk(key, "1032", 0, "", "Request cancelled by user")
}

/// What the payment was found to be.
fn payment(recorded: &Recorded) -> Option<Verdict> {
    recorded.payment.map(|(_, verdict)| verdict)
}

async fn record(store: &Shared, received: Received) -> Recorded {
    let mut recorded = store.record(&[received]).await.expect("record");
    assert_eq!(recorded.len(), 1);
    recorded.remove(0)
}

async fn claim_one(store: &Shared, lease: Duration) -> Claimed {
    let mut claimed = store.claim(1, lease).await.expect("claim");
    assert_eq!(claimed.len(), 1, "one callback is ready");
    claimed.remove(0)
}

async fn settle(store: &Shared, claimed: &Claimed, ending: Ending) -> Settled {
    let settled = store.settle(&[Settlement::new(claimed.lease, ending)]).await.expect("settle");
    settled[0]
}

async fn state(store: &Shared, id: CallbackId) -> State {
    store.get(id).await.expect("get").expect("it is there").state
}

/// Same bytes, same meaning in other bytes, another meaning: each is told from the others, and kept.
pub async fn a_first_delivery_is_told_from_repetitions_and_contradictions(store: Shared) {
    let first = record(&store, stk("k", "1032", 0, "", "cancelled")).await;
    assert_eq!((first.verdict, first.payment), (Verdict::First, None));
    let duplicate = record(&store, stk("k", "1032", 0, "", "cancelled")).await;
    assert_eq!((duplicate.verdict, duplicate.id), (Verdict::Duplicate, first.id));
    let variant = record(&store, stk("k", "1032", 0, "", "Cancelled by the user.")).await;
    assert_eq!(variant.verdict, Verdict::Variant);
    let conflict = record(&store, stk("k", "0", 5, "R1", "Success")).await;
    assert_eq!((conflict.verdict, conflict.payment), (Verdict::Conflict, None), "a contradiction applies nothing");
    let again = record(&store, stk("k", "0", 5, "R1", "The success, in other words")).await;
    assert_eq!(again.verdict, Verdict::Variant, "it says what the contradiction says");
    let other_kind = record(&store, received(&Kind::C2bConfirmation, r#"{"TransID":"k","TransAmount":"1"}"#)).await;
    assert_eq!(other_kind.verdict, Verdict::First, "keys are within their kind");

    assert_eq!(state(&store, first.id).await, State::Ready);
    assert_eq!(state(&store, variant.id).await, State::Done);
    assert_eq!(state(&store, conflict.id).await, State::Held);
    let entry = store.get(first.id).await.unwrap().unwrap();
    assert_eq!(entry.seen, 2);
    assert!(entry.last_seen_at >= entry.received_at);
    let body = store.get(conflict.id).await.unwrap().unwrap().body.expect("the body is kept");
    assert!(String::from_utf8_lossy(body.as_bytes()).contains("R1"));
}

/// A repetition within one batch is one.
pub async fn the_deliveries_of_one_batch_see_each_other(store: Shared) {
    let batch = [failed("a"), failed("b"), failed("a"), stk("a", "0", 5, "R1", "Success"), failed("b")];
    let verdicts: Vec<_> = store.record(&batch).await.unwrap().iter().map(|recorded| recorded.verdict).collect();
    use Verdict::{Conflict, Duplicate, First};
    assert_eq!(verdicts, [First, First, Duplicate, Conflict, Duplicate]);
    assert_eq!(store.record(&[]).await.unwrap(), []);
}

/// Of any number of callers with one key, one is first; the others are judged beside it.
pub async fn of_racing_recorders_exactly_one_is_first(store: Shared) {
    for round in 0..5 {
        let racers = (0..24).map(|racer| {
            let store = store.clone();
            let (code, desc) = (if racer % 2 == 0 { "1032" } else { "1" }, format!("spelling {}", racer % 4));
            tokio::spawn(async move { record(&store, stk(&format!("race {round}"), code, 0, "", &desc)).await })
        });
        let mut verdicts = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            verdicts.push(racer.await.expect("a racer").verdict);
        }
        let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
        assert_eq!(count(Verdict::First), 1, "{verdicts:?}");
        assert_eq!(count(Verdict::Conflict), 1, "{verdicts:?}");
        // Four distinct bodies of two meanings: the other two are variants, everything else repeats one of the four.
        assert_eq!(count(Verdict::Variant), 2, "{verdicts:?}");
        assert_eq!(count(Verdict::Duplicate), 20, "{verdicts:?}");
    }
}

/// One payment, two callbacks: the first that shows the money records it, the other finds it known.
pub async fn a_payment_is_recorded_with_the_first_callback_that_shows_it(store: Shared) {
    let push = record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    assert_eq!((push.verdict, payment(&push)), (Verdict::First, Some(Verdict::First)));
    let duplicate = record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    assert_eq!((duplicate.verdict, duplicate.payment), (Verdict::Duplicate, None));
    let twin = r#"{"TransID":"RCPT1","TransAmount":"100.00"}"#;
    let twin = record(&store, received(&Kind::C2bConfirmation, twin)).await;
    assert_eq!((twin.verdict, payment(&twin)), (Verdict::First, Some(Verdict::Variant)));
    let forged = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"x","ResultCode":0,"CallbackMetadata":{"Item":[
        {"Name":"Amount","Value":9000},{"Name":"MpesaReceiptNumber","Value":"RCPT1"}]}}}}"#;
    let forged = record(&store, received(&Kind::Stk, forged)).await;
    assert_eq!(payment(&forged), Some(Verdict::Conflict), "another amount under the same receipt");
    let (id, _) = forged.payment.expect("a payment");
    let entry = store.get(id).await.unwrap().expect("the payment's own row");
    assert_eq!((entry.kind, entry.state), (Kind::Payment, State::Held));

    let payments = store.list(&Filter::default().kind(Kind::Payment)).await.unwrap();
    let ready = payments.iter().filter(|payment| payment.state == State::Ready).count();
    let held = payments.iter().filter(|payment| payment.state == State::Held).count();
    assert_eq!((ready, held), (1, 1));
}

/// A body that cannot be read is kept as it came; the same bytes again are a duplicate.
pub async fn what_cannot_be_read_is_kept_once(store: Shared) {
    let unreadable = || {
        let mut received = failed("sha256:0");
        received.disposition = Disposition::Quarantine("not JSON".into());
        received
    };
    let first = record(&store, unreadable()).await;
    assert_eq!(first.verdict, Verdict::Quarantined);
    assert_eq!(record(&store, unreadable()).await.verdict, Verdict::Duplicate);
    let entry = store.get(first.id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.seen), (State::Quarantined, 2));
    assert_eq!(entry.error.expect("why").as_str(), "not JSON");
    assert!(store.claim(10, LONG).await.unwrap().is_empty());
}

/// What nothing handles is kept and held, not handled by somebody else.
pub async fn what_nothing_handles_is_held(store: Shared) {
    let mut unhandled = failed("u");
    unhandled.disposition = Disposition::Hold("nothing handles this kind".into());
    let recorded = record(&store, unhandled).await;
    assert_eq!(recorded.verdict, Verdict::First);
    assert_eq!(state(&store, recorded.id).await, State::Held);
    assert!(store.claim(10, LONG).await.unwrap().is_empty());
}

/// What was answered is what was recorded: repetitions and variants get the decision that stands.
pub async fn a_decision_stands_for_every_repetition(store: Shared) {
    let asked = |amount: &str, name: &str, decision: &str| {
        let body = format!(r#"{{"TransID":"V","TransAmount":"{amount}","FirstName":"{name}"}}"#);
        let mut received = received(&Kind::C2bValidation, &body);
        received.disposition = Disposition::Decided;
        received.decision = Some(decision.into());
        received
    };
    let first = asked("10", "A", "yes");
    let meaning = first.meaning;
    assert_eq!(store.decision(&Kind::C2bValidation, "V", &meaning).await.unwrap(), None);
    let first = record(&store, first).await;
    assert_eq!((first.verdict, first.decision.as_deref()), (Verdict::First, Some("yes")));
    assert_eq!(state(&store, first.id).await, State::Done, "it was decided: nothing is left to do");
    assert_eq!(store.decision(&Kind::C2bValidation, "V", &meaning).await.unwrap().as_deref(), Some("yes"));

    let duplicate = record(&store, asked("10", "A", "no")).await;
    assert_eq!((duplicate.verdict, duplicate.decision.as_deref()), (Verdict::Duplicate, Some("yes")));
    let variant = record(&store, asked("10.00", "B", "no")).await;
    assert_eq!((variant.verdict, variant.decision.as_deref()), (Verdict::Variant, Some("yes")));
    let conflict = record(&store, asked("999", "A", "no")).await;
    assert_eq!((conflict.verdict, conflict.decision.as_deref()), (Verdict::Conflict, Some("no")), "another question");
}

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
    assert_eq!(settle(&store, &holder, Ending::Done).await, Settled::LeaseLost, "it is settled");
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
    sleep(SHORT * 6).await;
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

/// Lists come newest first, filtered, page by page, without bodies.
pub async fn lists_are_filtered_and_paged(store: Shared) {
    let start = SystemTime::now();
    for i in 0..25 {
        record(&store, failed(&format!("k{i}"))).await;
    }
    record(&store, received(&Kind::C2bConfirmation, r#"{"TransID":"T"}"#)).await;
    record(&store, stk("k3", "1", 0, "", "insufficient")).await;

    let mut pages = Vec::new();
    let mut filter = Filter::default().kind(Kind::Stk).state(State::Ready).limit(10);
    loop {
        let page = store.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter = filter.before(last.id);
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let ids: Vec<_> = pages.iter().flatten().map(|entry| entry.id).collect();
    assert!(ids.is_sorted_by(|one, other| one > other), "newest first");
    assert!(pages.iter().flatten().all(|entry| entry.body.is_none()));

    let conflicts = store.list(&Filter::default().verdict(Verdict::Conflict)).await.unwrap();
    assert_eq!((conflicts.len(), conflicts[0].key.as_str(), conflicts[0].state), (1, "k3", State::Held));
    assert_eq!(store.list(&Filter::default().state(State::Held)).await.unwrap().len(), 1);
    assert_eq!(store.list(&Filter::default().since(start)).await.unwrap().len(), 27);
    assert_eq!(store.list(&Filter::default().until(start)).await.unwrap().len(), 0);
}

/// When bodies are purged, the private key goes too; repetitions are still recognised. What is not done keeps its body.
pub async fn a_purged_callback_is_still_recognised(store: Shared) {
    let done = record(&store, failed("ws_CO_254712345678")).await;
    let claimed = claim_one(&store, LONG).await;
    settle(&store, &claimed, Ending::Done).await;
    let waiting = record(&store, failed("waiting")).await;
    assert_eq!(store.purge(LONG).await.unwrap(), 0, "nothing is that old");
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.purge(Duration::ZERO).await.unwrap(), 0);

    let entry = store.get(done.id).await.unwrap().unwrap();
    assert!(entry.body.is_none());
    assert!(!entry.key.as_str().contains("254712345678"), "the key was kept");
    assert!(store.get(waiting.id).await.unwrap().unwrap().body.is_some());
    let duplicate = record(&store, failed("ws_CO_254712345678")).await;
    assert_eq!((duplicate.verdict, duplicate.id), (Verdict::Duplicate, done.id));
    let variant = record(&store, stk("ws_CO_254712345678", "1032", 0, "", "in other words")).await;
    assert_eq!(variant.verdict, Verdict::Variant);
    let conflict = record(&store, stk("ws_CO_254712345678", "0", 5, "R", "Success")).await;
    assert_eq!(conflict.verdict, Verdict::Conflict);
}

/// How many callbacks are in which state.
pub async fn depths_are_counted(store: Shared) {
    for i in 0..5 {
        record(&store, failed(&format!("k{i}"))).await;
    }
    record(&store, stk("k0", "1", 0, "", "insufficient")).await;
    let mut unreadable = failed("sha256:1");
    unreadable.disposition = Disposition::Quarantine("not JSON".into());
    record(&store, unreadable).await;
    let claimed = store.claim(3, LONG).await.unwrap();
    settle(&store, &claimed[0], Ending::Done).await;
    settle(&store, &claimed[1], Ending::Dead { error: "given up".into() }).await;
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.ready, depth.running, depth.held, depth.dead, depth.quarantined), (2, 1, 1, 1, 1));
}

/// A future that is dropped has done all of its work or none of it.
pub async fn whoever_goes_away_leaves_all_or_nothing(store: Shared) {
    for i in 0..50 {
        let batch = [
            stk(&format!("a{i}"), "0", 5, &format!("RA{i}"), ""),
            stk(&format!("b{i}"), "0", 5, &format!("RB{i}"), ""),
        ];
        let task = tokio::spawn({
            let store = store.clone();
            async move { store.record(&batch).await.map(|_| ()) }
        });
        sleep(Duration::from_micros(i * 20)).await;
        task.abort();
        let _ = task.await;
    }
    sleep(SHORT).await;
    let keys = async |kind: Kind| -> HashSet<String> {
        let entries = store.list(&Filter::default().kind(kind).limit(1000)).await.unwrap();
        entries.into_iter().map(|entry| entry.key.into_string()).collect()
    };
    let (pushes, payments) = (keys(Kind::Stk).await, keys(Kind::Payment).await);
    for i in 0..50 {
        let there = [
            pushes.contains(&format!("a{i}")),
            pushes.contains(&format!("b{i}")),
            payments.contains(&format!("RA{i}")),
            payments.contains(&format!("RB{i}")),
        ];
        assert!(there.iter().all(|one| *one == there[0]), "half of batch {i} was recorded: {there:?}");
    }
}

/// A closed store fails, and says why.
pub async fn a_closed_store_says_so(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    store.close().await.unwrap();
    assert!(matches!(store.record(&[failed("l")]).await, Err(StoreError::Closed)));
    assert!(matches!(store.get(recorded.id).await, Err(StoreError::Closed)));
    assert!(matches!(store.claim(1, LONG).await, Err(StoreError::Closed)));
}
