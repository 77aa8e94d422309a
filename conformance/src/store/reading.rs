//! Lists, counts, purges and the end of a store.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::store::{
    Body, Claim, Completion, Disposition, Extent, Filter, Lookup, Owner, State, StoreError, Verdict,
};
use mpesa_callbacks_core::{Environment, Kind};
use tokio::time::sleep;

use super::{LONG, SHORT, Shared, claim, claim_one, delivery_of, failed, record, settle, state, stk};

/// A list returns the newest callbacks first, filtered by kind, state, verdict,
/// reference and time, in pages, and without bodies.
pub async fn lists_are_filtered_and_paged(store: Shared) {
    let start = SystemTime::now();
    for i in 0..25 {
        record(&store, failed(&format!("k{i}"))).await;
    }
    record(&store, delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"T","TransAmount":"5"}"#)).await;
    record(&store, stk("k3", "0", 5, "R3", "Success")).await;

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
    assert_eq!(store.list(&Filter::default().since(start)).await.unwrap().len(), 28);
    assert_eq!(store.list(&Filter::default().until(start)).await.unwrap().len(), 0);
}

/// A purge deletes bodies and replaces keys by keyed HMACs. Late duplicates and
/// conflicts are still recognised. Callbacks that are not done keep their body.
pub async fn a_purged_callback_is_still_recognised(store: Shared) {
    let done = record(&store, failed("ws_CO_254712345678")).await;
    let claimed = claim_one(&store, LONG).await;
    settle(&store, &claimed, Completion::Done).await;
    let waiting = record(&store, failed("waiting")).await;
    assert_eq!(store.purge(LONG, Extent::All).await.unwrap(), 0, "nothing is that old");
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 1);
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 0);

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

/// After a purge no row contains the key, the receipt, the reference or a
/// digest of the content in a readable form. The receipt is still recognised.
pub async fn a_purged_callback_contains_no_personal_data(store: Shared) {
    let push = record(&store, stk("push", "0", 500, "RCPT1", "Success")).await;
    let (payment, _) = push.payment.expect("a payment");
    for claimed in claim(&store, 10, LONG).await {
        settle(&store, &claimed, Completion::Done).await;
    }
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 2);
    for id in [push.id, payment] {
        let entry = store.get(id).await.unwrap().unwrap();
        assert!(entry.receipt.as_deref().is_some_and(|receipt| receipt != "RCPT1"), "{:?}", entry.receipt);
        assert_ne!(entry.key, "RCPT1");
        assert_ne!(
            entry.content_digest,
            Some(stk("push", "0", 500, "RCPT1", "Success").content_digest),
            "amounts can be guessed"
        );
    }
    let found = store.find(&[Lookup::Receipt("RCPT1".into())]).await.unwrap();
    let found: HashSet<_> = found.iter().map(|entry| entry.id).collect();
    assert_eq!(found, HashSet::from([push.id, payment]));

    let again = record(&store, stk("push", "0", 500, "RCPT1", "Success")).await;
    assert_eq!((again.verdict, again.id), (Verdict::Duplicate, push.id));
    let reworded = record(&store, stk("push", "0", 500, "RCPT1", "in other words")).await;
    assert_eq!(reworded.verdict, Verdict::Variant);
    let forged = record(&store, stk("other", "0", 500, "RCPT1", "Success")).await;
    assert_eq!(forged.verdict, Verdict::Conflict, "its receipt belongs to another");
    let confirmation = delivery_of(&Kind::C2bConfirmation, r#"{"TransID":"RCPT1","TransAmount":"500"}"#);
    let confirmation = record(&store, confirmation).await;
    assert_eq!(
        (confirmation.verdict, super::payment(&confirmation)),
        (Verdict::First, Some(Verdict::Variant)),
        "money is booked once"
    );
}

/// Due callbacks are counted per kind, with the time since when the oldest is
/// due.
pub async fn ready_callbacks_are_counted_per_kind(store: Shared) {
    record(&store, failed("a")).await;
    record(&store, failed("b")).await;
    record(&store, delivery_of(&Kind::Ratiba, r#"{"responseHeader":{"requestRefID":"r","responseCode":"1032"}}"#))
        .await;
    let claimed = claim_one(&store, LONG).await;
    let mut waiting = store.waiting().await.unwrap();
    waiting.sort_by_key(|waiting| waiting.kind.clone());
    let counts: Vec<_> = waiting.iter().map(|waiting| (waiting.kind.clone(), waiting.count)).collect();
    assert_eq!(counts, [(Kind::Stk, 1), (Kind::Ratiba, 1)]);
    assert!(waiting.iter().all(|waiting| waiting.due_since <= SystemTime::now()));
    settle(&store, &claimed, Completion::Retry { after: LONG, error: "no".into() }).await;
    let waiting = store.waiting().await.unwrap();
    assert_eq!(waiting.iter().map(|waiting| waiting.count).sum::<u64>(), 3);
}

/// The first inbox that adopts a store owns it. Another name or environment
/// gets an error.
pub async fn a_store_belongs_to_one_inbox(store: Shared) {
    let owner = |inbox: &str, environment| Owner { inbox: inbox.to_owned(), environment };
    let shop = owner("shop", Environment::Production);
    store.adopt(&shop).await.unwrap();
    store.adopt(&shop).await.unwrap();
    for other in [owner("school", Environment::Production), owner("shop", Environment::Sandbox)] {
        let error = store.adopt(&other).await.expect_err("it is the shop's");
        assert!(matches!(&error, StoreError::OtherOwner { .. }), "{error:?}");
        assert!(error.to_string().contains("shop (production)"), "{error}");
    }
    record(&store, failed("k")).await;
    store.adopt(&shop).await.unwrap();
}

/// Two purges at the same time, by two processes or by hand, replace a key
/// once: an HMAC of an HMAC would not be recognised.
pub async fn concurrent_purges_replace_a_key_once(store: Shared) {
    let keys: Vec<String> = (0..300).map(|i| format!("k{i}")).collect();
    for key in &keys {
        let mut done = failed(key);
        done.disposition = Disposition::Decided;
        record(&store, done).await;
    }
    sleep(SHORT).await;
    let purges: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let store = store.clone();
                async move { store.purge(Duration::ZERO, Extent::All).await.unwrap() }
            })
        })
        .collect();
    let mut purged = 0;
    for purge in purges {
        purged += purge.await.unwrap();
    }
    assert_eq!(purged, 300);
    for key in &keys {
        assert_eq!(record(&store, failed(key)).await.verdict, Verdict::Duplicate, "{key}");
    }
}

/// The clock of the machine was ahead for a while, so some callbacks seem to be
/// from the future. They are purged later, and do not keep others from being
/// purged.
pub async fn a_callback_from_the_future_does_not_block_a_purge(store: Shared) {
    let done = |key: &str, received_at: SystemTime| {
        let mut done = failed(key);
        (done.disposition, done.received_at) = (Disposition::Decided, received_at);
        done
    };
    let ahead = record(&store, done("ahead", SystemTime::now() + LONG)).await;
    let behind = record(&store, done("behind", SystemTime::now())).await;
    sleep(SHORT).await;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 1);
    assert!(store.get(ahead.id).await.unwrap().unwrap().body.is_some());
    assert!(store.get(behind.id).await.unwrap().unwrap().body.is_none());
}

/// A lookup by kind and key, by reference or by receipt returns the callbacks
/// with their bodies.
pub async fn find_returns_bodies(store: Shared) {
    let first = record(&store, stk("a", "0", 5, "RA", "")).await;
    let conflict = record(&store, failed("a")).await;
    assert_eq!(conflict.verdict, Verdict::Conflict);
    let mut referenced = failed("b");
    referenced.reference = Some("order-1".into());
    let other = record(&store, referenced).await;
    record(&store, failed("c")).await;
    let names = [(Kind::Stk, "a"), (Kind::Stk, "b"), (Kind::Lipia, "c"), (Kind::Stk, "d")];
    let names = names.map(|(kind, key)| Lookup::Key(kind, key.into()));
    let mut found = store.find(&names).await.unwrap();
    found.sort_by_key(|entry| entry.id);
    let ids: Vec<_> = found.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [first.id, conflict.id, other.id]);
    assert!(found.iter().all(|entry| entry.body.is_some()));
    assert_eq!(found[1].content_digest, Some(failed("a").content_digest));
    let claimed = claim(&store, 10, LONG).await;
    let content_digest = claimed.iter().find(|one| one.lease.id == first.id).and_then(|one| one.content_digest);
    assert_eq!(content_digest, Some(stk("a", "0", 5, "RA", "").content_digest));
    assert_eq!(found[1].body.as_ref().map(Body::as_bytes), Some(failed("a").body()));
    assert!(store.find(&[]).await.unwrap().is_empty());
    let found = store.find(&[Lookup::Receipt("RA".into())]).await.unwrap();
    let kinds: HashSet<_> = found.iter().map(|entry| entry.kind.clone()).collect();
    assert_eq!((found.len(), kinds), (2, HashSet::from([Kind::Stk, Kind::Payment])));
    let lookups = [Lookup::Reference(Kind::Stk, "order-1".into()), Lookup::Key(Kind::Stk, "b".into())];
    let found = store.find(&lookups).await.unwrap();
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), [other.id], "each once");

    let listed = store.list(&Filter::default().reference("order-1")).await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.id).collect::<Vec<_>>(), [other.id]);
    assert!(store.list(&Filter::default().reference("order-1").kind(Kind::Lipia)).await.unwrap().is_empty());
    assert!(store.list(&Filter::default().reference("order-2")).await.unwrap().is_empty());
}

/// Callbacks are counted per state.
pub async fn callbacks_are_counted_per_state(store: Shared) {
    for i in 0..5 {
        record(&store, failed(&format!("k{i}"))).await;
    }
    record(&store, stk("k0", "0", 5, "R0", "Success")).await;
    let mut unreadable = failed("sha256:1");
    unreadable.disposition = Disposition::Quarantine("not JSON".into());
    record(&store, unreadable).await;
    let claimed = claim(&store, 3, LONG).await;
    settle(&store, &claimed[0], Completion::Done).await;
    settle(&store, &claimed[1], Completion::Dead { error: "given up".into() }).await;
    let depth = store.counts().await.unwrap();
    assert_eq!((depth.ready, depth.running, depth.held, depth.dead, depth.quarantined), (2, 1, 1, 1, 1));
}

/// If the quarantine exceeds its limits, the oldest quarantined bodies are
/// deleted until it fits. Those of per-payment URLs go first. No other callback
/// is deleted.
pub async fn the_quarantine_is_trimmed_oldest_first(store: Shared) {
    let first = record(&store, failed("kept")).await;
    let mut ids = Vec::new();
    for i in 0..10 {
        let mut unreadable = failed(&format!("sha256:{i}"));
        unreadable.disposition = Disposition::Quarantine("not JSON".into());
        ids.push(record(&store, unreadable).await.id);
    }
    let quarantined = async || -> Vec<_> {
        let entries = store.list(&Filter::default().state(State::Quarantined)).await.unwrap();
        entries.into_iter().rev().map(|entry| entry.id).collect()
    };
    assert_eq!(store.trim_quarantine(10, u64::MAX).await.unwrap(), 0);
    assert_eq!(store.trim_quarantine(7, u64::MAX).await.unwrap(), 3);
    assert_eq!(quarantined().await, ids[3..]);
    assert!(store.get(ids[0]).await.unwrap().is_none());
    let size = store.get(ids[9]).await.unwrap().unwrap().body.unwrap().as_bytes().len() as u64;
    assert_eq!(store.trim_quarantine(7, size * 2).await.unwrap(), 5);
    assert_eq!(quarantined().await, ids[8..]);
    assert_eq!(store.trim_quarantine(0, 0).await.unwrap(), 1, "the newest stays");
    assert_eq!(quarantined().await, ids[9..]);
    // What came to the URL of one payment goes first.
    let mut kept = vec![ids[9]];
    for i in 10..14 {
        let mut unreadable = failed(&format!("sha256:{i}"));
        unreadable.disposition = Disposition::Quarantine("not JSON".into());
        unreadable.reference = (i % 2 == 0).then(|| "order-1".into());
        let id = record(&store, unreadable).await.id;
        if i % 2 == 1 {
            kept.push(id);
        }
    }
    assert_eq!(store.trim_quarantine(3, u64::MAX).await.unwrap(), 2);
    assert_eq!(quarantined().await, kept);
    assert_eq!(state(&store, first.id).await, State::Ready);
    let again = record(&store, failed("later")).await;
    assert!(again.id > kept[2], "no id is given twice");
}

/// The future of a call may be dropped at any `await`. The call then has
/// written all or nothing, and the next call works.
pub async fn a_dropped_call_is_all_or_nothing(store: Shared) {
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

/// After `close`, every call returns `StoreError::Closed`.
pub async fn a_closed_store_returns_an_error(store: Shared) {
    let recorded = record(&store, failed("k")).await;
    store.close().await.unwrap();
    assert!(matches!(store.record(&[failed("l")]).await, Err(StoreError::Closed)));
    assert!(matches!(store.get(recorded.id).await, Err(StoreError::Closed)));
    let claim = Claim::new(&[Kind::Stk], 1, LONG);
    assert!(matches!(store.claim(&claim).await, Err(StoreError::Closed)));
}
