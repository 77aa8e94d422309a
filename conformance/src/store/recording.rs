//! Recording: the verdict on a delivery, compared with the stored callbacks.

use std::time::SystemTime;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Outcome;
use mpesa_callbacks_core::store::{Delivery, Disposition, Filter, State, Verdict};

use super::{LONG, Shared, claim, delivery_of, failed, payment, record, state, stk};

/// The first delivery of a key is *first*. The same bytes are a *duplicate*,
/// other bytes with the same content a *variant*, and other content a
/// *conflict*. Each returns the id of the callback that it belongs to.
pub async fn first_duplicate_variant_and_conflict_are_distinguished(store: Shared) {
    let first = record(&store, stk("k", "1032", 0, "", "cancelled")).await;
    assert_eq!((first.verdict, first.payment), (Verdict::First, None));
    let duplicate = record(&store, stk("k", "1032", 0, "", "cancelled")).await;
    assert_eq!((duplicate.verdict, duplicate.id), (Verdict::Duplicate, first.id));
    let variant = record(&store, stk("k", "1032", 0, "", "Cancelled by the user.")).await;
    assert_eq!(variant.verdict, Verdict::Variant);
    let other_failure = record(&store, stk("k", "1", 0, "", "insufficient")).await;
    assert_eq!(other_failure.verdict, Verdict::Variant, "both say that nothing was paid");
    let conflict = record(&store, stk("k", "0", 5, "R1", "Success")).await;
    assert_eq!((conflict.verdict, conflict.payment), (Verdict::Conflict, None), "a contradiction applies nothing");
    let entry = store.get(conflict.id).await.unwrap().unwrap();
    assert_eq!((entry.earlier, entry.outcome), (Some(first.id), Some(Outcome::Success)), "it says what it contradicts");
    let again = record(&store, stk("k", "0", 5, "R1", "The success, in other words")).await;
    assert_eq!(again.verdict, Verdict::Variant, "it says what the contradiction says");
    let other_kind = record(&store, delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"k","TransAmount":"1"}"#)).await;
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

/// A definite outcome after an unknown one is an *update*. A second unknown
/// outcome, or a second failure with another code, adds nothing and is a
/// *variant*.
pub async fn outcomes_progress(store: Shared) {
    let unknown = record(&store, stk("k", "1037", 0, "", "unreachable")).await;
    assert_eq!(unknown.verdict, Verdict::First);
    let another = record(&store, stk("k", "1019", 0, "", "expired")).await;
    assert_eq!(another.verdict, Verdict::Variant);
    let paid = record(&store, stk("k", "0", 5, "R1", "Success")).await;
    assert_eq!((paid.verdict, payment(&paid)), (Verdict::Update, Some(Verdict::First)), "its payment is recorded");
    assert_eq!(state(&store, paid.id).await, State::Ready);
    let late = record(&store, stk("k", "1037", 0, "", "unreachable, in other words")).await;
    assert_eq!(late.verdict, Verdict::Variant);
    let failed = record(&store, stk("k", "1032", 0, "", "cancelled")).await;
    assert_eq!(failed.verdict, Verdict::Conflict, "what was paid is not un-booked");
    let claimed = claim(&store, 10, LONG).await;
    let update = claimed.iter().find(|claimed| claimed.lease.id == paid.id).expect("it is handled");
    assert_eq!((update.verdict, update.earlier), (Verdict::Update, Some(unknown.id)));

    record(&store, stk("l", "1037", 0, "", "unreachable")).await;
    assert_eq!(record(&store, stk("l", "1032", 0, "", "cancelled")).await.verdict, Verdict::Update);
    // An update owns its receipt as a first does.
    assert_eq!(record(&store, stk("m", "0", 5, "R1", "Success")).await.verdict, Verdict::Conflict);
}

/// A callback that contradicted its expectation does not count as stored. The
/// next callback of the key that agrees with the expectation is *first*.
pub async fn a_contradicted_expectation_does_not_count_as_stored(store: Shared) {
    let mut forged = stk("k", "0", 1, "R0", "Success");
    forged.disposition = Disposition::Contradict("its amount is not the one that was expected".into());
    forged.payment = None;
    let forged = record(&store, forged).await;
    assert_eq!((forged.verdict, state(&store, forged.id).await), (Verdict::Conflict, State::Held));
    let genuine = record(&store, stk("k", "0", 1500, "R1", "Success")).await;
    assert_eq!((genuine.verdict, payment(&genuine)), (Verdict::First, Some(Verdict::First)));
    assert_eq!(record(&store, stk("k", "0", 1500, "R1", "Success")).await.verdict, Verdict::Duplicate);
}

/// A confirmation agrees with a reconciled payment if receipt and amount agree.
/// Accounts are compared without case and padding, short codes only if both
/// have one.
pub async fn details_are_compared_only_if_both_have_them(store: Shared) {
    let confirmation = |account: &str, code: &str| {
        let body =
            format!(r#"{{"TransID":"T","TransAmount":"5.00","BillRefNumber":"{account}","BusinessShortCode":{code}}}"#);
        delivery_of(&Kind::C2bConfirmation, &body)
    };
    assert_eq!(record(&store, confirmation("ORDER-1", "null")).await.verdict, Verdict::First);
    assert_eq!(record(&store, confirmation(" order-1 ", "600638")).await.verdict, Verdict::Variant);
    assert_eq!(record(&store, confirmation("order-2", "null")).await.verdict, Verdict::Conflict);
}

/// One payment has one callback per kind: a second STK callback with the
/// receipt under another key is a *conflict*. A confirmation with the same
/// receipt is not.
pub async fn a_receipt_under_two_keys_of_one_kind_is_a_contradiction(store: Shared) {
    let first = record(&store, stk("a", "0", 5, "R1", "Success")).await;
    assert_eq!((first.verdict, payment(&first)), (Verdict::First, Some(Verdict::First)));
    let forged = record(&store, stk("b", "0", 5, "R1", "Success")).await;
    assert_eq!((forged.verdict, payment(&forged)), (Verdict::Conflict, None));
    assert_eq!(state(&store, forged.id).await, State::Held);
    assert_eq!(record(&store, stk("b", "0", 5, "R1", "Success")).await.verdict, Verdict::Duplicate);
    let confirmation = delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"R1","TransAmount":"5.00"}"#);
    let confirmation = record(&store, confirmation).await;
    assert_eq!((confirmation.verdict, payment(&confirmation)), (Verdict::First, Some(Verdict::Variant)));
    let other = record(&store, stk("c", "0", 5, "R2", "Success")).await;
    assert_eq!(other.verdict, Verdict::First);
}

/// Two deliveries of one key in one batch are compared with each other: the
/// second is a duplicate.
pub async fn deliveries_of_one_batch_see_each_other(store: Shared) {
    let batch = [failed("a"), failed("b"), failed("a"), stk("a", "0", 5, "R1", "Success"), failed("b")];
    let verdicts: Vec<_> = store.record(&batch).await.unwrap().iter().map(|recorded| recorded.verdict).collect();
    use Verdict::{Conflict, Duplicate, First};
    assert_eq!(verdicts, [First, First, Duplicate, Conflict, Duplicate]);
    assert_eq!(store.record(&[]).await.unwrap(), []);
}

/// Two deliveries with the same bytes and the same time of receipt are two
/// deliveries. Only the same `DeliveryId` is the same delivery.
pub async fn two_deliveries_at_the_same_time_are_two(store: Shared) {
    let now = SystemTime::now();
    let delivery = || {
        let body = br#"{"TransID":"T","TransAmount":"5.00"}"#;
        Delivery::parse(&Kind::C2bConfirmation, body, now).expect("a readable body")
    };
    let first = record(&store, delivery()).await;
    assert_eq!((first.verdict, payment(&first)), (Verdict::First, Some(Verdict::First)));
    for seen in 2..4 {
        let again = record(&store, delivery()).await;
        assert_eq!((again.verdict, again.payment), (Verdict::Duplicate, None));
        assert_eq!(store.get(first.id).await.unwrap().expect("an entry").seen, seen);
    }
}

/// Any number of concurrent recorders of one key get one *first*. The others
/// are compared with it.
pub async fn exactly_one_of_racing_recorders_is_first(store: Shared) {
    for round in 0..5 {
        let racers = (0..24).map(|racer| {
            let store = store.clone();
            let (receipt, desc) = (format!("R{}{round}", racer % 2), format!("spelling {}", racer % 4));
            tokio::spawn(async move { record(&store, stk(&format!("race {round}"), "0", 5, &receipt, &desc)).await })
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

/// The first callback that reports money records the payment. The second
/// callback of the payment finds it recorded.
pub async fn a_payment_is_recorded_with_its_first_callback(store: Shared) {
    let push = record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    assert_eq!((push.verdict, payment(&push)), (Verdict::First, Some(Verdict::First)));
    let duplicate = record(&store, stk("push", "0", 100, "RCPT1", "Success")).await;
    assert_eq!((duplicate.verdict, duplicate.payment), (Verdict::Duplicate, None));
    let confirmation = r#"{"TransID":"RCPT1","TransAmount":"100.00"}"#;
    let confirmation = record(&store, delivery_of(&Kind::C2bConfirmation, confirmation)).await;
    assert_eq!((confirmation.verdict, payment(&confirmation)), (Verdict::First, Some(Verdict::Variant)));
    let forged = r#"{"transactionId":"RCPT1","paidAmount":"9000"}"#;
    let forged = record(&store, delivery_of(&Kind::BillManager, forged)).await;
    assert_eq!(payment(&forged), Some(Verdict::Conflict), "another amount under the same receipt");
    let (id, _) = forged.payment.expect("a payment");
    let entry = store.get(id).await.unwrap().expect("the payment's own row");
    assert_eq!((entry.kind, entry.state), (Kind::Payment, State::Held));

    let payments = store.list(&Filter::default().kind(Kind::Payment)).await.unwrap();
    let ready = payments.iter().filter(|payment| payment.state == State::Ready).count();
    let held = payments.iter().filter(|payment| payment.state == State::Held).count();
    assert_eq!((ready, held), (1, 1));
}

/// A body that cannot be parsed is stored unchanged. The same bytes again are a
/// duplicate.
pub async fn an_unparsable_body_is_stored_once(store: Shared) {
    let unreadable = || {
        let mut delivery = failed("sha256:0");
        delivery.disposition = Disposition::Quarantine("not JSON".into());
        delivery
    };
    let first = record(&store, unreadable()).await;
    assert_eq!(first.verdict, Verdict::Quarantined);
    assert_eq!(record(&store, unreadable()).await.verdict, Verdict::Duplicate);
    let entry = store.get(first.id).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.seen), (State::Quarantined, 2));
    assert_eq!(entry.error.expect("why").as_str(), "not JSON");
    assert!(claim(&store, 10, LONG).await.is_empty());
}

/// A validation is recorded with its decision. Repetitions and variants get the
/// stored decision, not their own.
pub async fn a_repeated_validation_gets_the_stored_decision(store: Shared) {
    let asked = |amount: &str, name: &str, decision: &str| {
        let body = format!(r#"{{"TransID":"V","TransAmount":"{amount}","FirstName":"{name}"}}"#);
        let mut delivery = delivery_of(&Kind::C2bValidation, &body);
        delivery.disposition = Disposition::Decided;
        delivery.decision = Some(decision.into());
        delivery
    };
    let first = asked("10", "A", "yes");
    let content_digest = first.content_digest;
    assert_eq!(store.find_decision(&Kind::C2bValidation, "V", &content_digest).await.unwrap(), None);
    let first = record(&store, first).await;
    assert_eq!((first.verdict, first.decision.as_deref()), (Verdict::First, Some("yes")));
    assert_eq!(state(&store, first.id).await, State::Done, "it was decided: nothing is left to do");
    assert_eq!(store.find_decision(&Kind::C2bValidation, "V", &content_digest).await.unwrap().as_deref(), Some("yes"));

    let duplicate = record(&store, asked("10", "A", "no")).await;
    assert_eq!((duplicate.verdict, duplicate.decision.as_deref()), (Verdict::Duplicate, Some("yes")));
    let variant = record(&store, asked("10.00", "B", "no")).await;
    assert_eq!((variant.verdict, variant.decision.as_deref()), (Verdict::Variant, Some("yes")));
    let conflict = record(&store, asked("999", "A", "no")).await;
    assert_eq!((conflict.verdict, conflict.decision.as_deref()), (Verdict::Conflict, Some("no")), "another question");
}
