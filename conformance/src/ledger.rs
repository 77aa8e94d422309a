//! The behaviours that a ledger must show.

use std::pin::Pin;
use std::sync::Arc;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::ledger::{Begun, Ledger, LedgerError, Mark};

/// How to write something in a ledger's transactions, and how to count it afterwards.
#[allow(async_fn_in_trait, reason = "called from this crate's tests only")]
pub trait LedgerBench: Sync {
    /// The ledger.
    type Ledger: Ledger;

    /// The ledger, on a database that is empty but for a table to write into. Always the same one.
    fn ledger(&self) -> Arc<Self::Ledger>;

    /// Writes one row of this text; says whether that worked.
    fn write<'a>(&'a self, tx: &'a mut <Self::Ledger as Ledger>::Tx, text: &'a str) -> Writing<'a>;

    /// In how many ways this database ends a transaction before its owner does.
    fn endings(&self) -> usize;

    /// Makes the database end the transaction by itself, in this one of the ways.
    fn end<'a>(
        &'a self,
        tx: &'a mut <Self::Ledger as Ledger>::Tx,
        way: usize,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Counts the rows of this text, outside of any transaction.
    async fn count(&self, text: &str) -> u64;
}

/// What [`LedgerBench::write`] returns.
pub type Writing<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

fn mark(key: &str) -> Mark {
    Mark::for_test(Kind::Stk, key)
}

async fn begin<B: LedgerBench>(bench: &B, key: &str) -> Option<<B::Ledger as Ledger>::Tx> {
    match bench.ledger().begin(&mark(key)).await.expect("begin") {
        Begun::New(tx) => Some(tx),
        Begun::AlreadyApplied => None,
    }
}

async fn prepared<B: LedgerBench>(bench: &B) -> Arc<B::Ledger> {
    let ledger = bench.ledger();
    ledger.prepare().await.expect("prepare");
    ledger
}

/// Preparing twice is preparing once.
pub async fn preparing_twice_is_preparing_once<B: LedgerBench>(bench: &B) {
    prepared(bench).await.prepare().await.expect("prepare again");
}

/// Effects and mark are committed together, and then the callback is applied.
pub async fn effects_and_mark_are_committed_together<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    let mut tx = begin(bench, "a").await.expect("a new mark");
    assert!(bench.write(&mut tx, "a").await);
    ledger.commit(tx).await.expect("commit");
    assert_eq!(bench.count("a").await, 1);
    assert!(begin(bench, "a").await.is_none(), "a mark that is committed was given out again");
}

/// Another mark in the same transaction is committed with it, rolled back with it, and found again.
pub async fn another_mark_is_committed_with_the_first<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    for is_committed in [false, true] {
        let mut tx = begin(bench, "one").await.expect("a new mark");
        assert!(ledger.mark_also(&mut tx, &mark("other")).await.expect("mark"));
        assert!(!ledger.mark_also(&mut tx, &mark("other")).await.expect("mark"), "it is there");
        assert!(bench.write(&mut tx, "one").await);
        match is_committed {
            true => ledger.commit(tx).await.expect("commit"),
            false => ledger.rollback(tx).await.expect("rollback"),
        }
    }
    assert_eq!(bench.count("one").await, 1);
    assert!(begin(bench, "other").await.is_none(), "it was committed");
    let mut tx = begin(bench, "third").await.expect("a new mark");
    assert!(!ledger.mark_also(&mut tx, &mark("other")).await.expect("mark"));
    assert!(bench.write(&mut tx, "third").await, "a mark that is there breaks nothing");
    ledger.commit(tx).await.expect("commit");
}

/// A rolled back transaction leaves neither effects nor mark.
pub async fn a_rolled_back_transaction_leaves_neither<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    let mut tx = begin(bench, "b").await.expect("a new mark");
    assert!(bench.write(&mut tx, "b").await);
    ledger.rollback(tx).await.expect("rollback");
    assert_eq!(bench.count("b").await, 0);
    let tx = begin(bench, "b").await.expect("the mark was rolled back");
    ledger.rollback(tx).await.expect("rollback");
}

/// A dropped transaction, of a handler that panicked or overran, leaves neither.
pub async fn a_dropped_transaction_leaves_neither<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    let mut tx = begin(bench, "c").await.expect("a new mark");
    assert!(bench.write(&mut tx, "c").await);
    drop(tx);
    let mut tx = begin(bench, "c").await.expect("the mark was rolled back");
    assert_eq!(bench.count("c").await, 0);
    assert!(bench.write(&mut tx, "c").await);
    ledger.commit(tx).await.expect("commit");
    assert_eq!(bench.count("c").await, 1);
}

/// Marks of other callbacks, of other kinds too, do not matter.
pub async fn marks_of_other_callbacks_do_not_matter<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    let tx = begin(bench, "d").await.expect("a new mark");
    ledger.commit(tx).await.expect("commit");
    let tx = begin(bench, "e").await.expect("another key");
    ledger.commit(tx).await.expect("commit");
    let other = Mark::for_test(Kind::Payment, "d");
    match ledger.begin(&other).await.expect("begin") {
        Begun::New(tx) => ledger.commit(tx).await.expect("commit"),
        Begun::AlreadyApplied => panic!("another kind of callback with this key was applied, not this one"),
    }
}

/// Of workers that have the same callback in hand, exactly one applies it.
pub async fn of_racing_workers_exactly_one_applies<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    for round in 0..10 {
        let key = format!("race {round}");
        let apply = async || {
            loop {
                match ledger.begin(&mark(&key)).await {
                    Ok(Begun::New(mut tx)) => {
                        assert!(bench.write(&mut tx, &key).await);
                        tokio::task::yield_now().await;
                        match ledger.commit(tx).await {
                            Ok(()) => return true,
                            Err(LedgerError::Unavailable(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Ok(Begun::AlreadyApplied) => return false,
                    // Busy: the engine tries again later, too.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let applied = tokio::join!(apply(), apply(), apply(), apply());
        let applied = [applied.0, applied.1, applied.2, applied.3];
        assert_eq!(applied.iter().filter(|applied| **applied).count(), 1, "{applied:?}");
        assert_eq!(bench.count(&key).await, 1);
    }
}

/// A transaction that the database ended by itself (a full disk, a deadlock, a connection that was cut) is never reported as
/// committed, leaves nothing of what a handler did before or after, and costs the pool no connection: more of them than a pool
/// holds, and everything goes on.
pub async fn a_transaction_that_the_database_ended_costs_nobody_anything<B: LedgerBench>(bench: &B) {
    let ledger = prepared(bench).await;
    for way in 0..bench.endings() {
        let key = format!("ended {way}");
        for round in 0..12 {
            let mut tx = begin(bench, &key).await.expect("it was never applied");
            assert!(bench.write(&mut tx, &key).await);
            bench.end(&mut tx, way).await;
            // A handler may go on: whether it gets an error or not, it takes no effect.
            bench.write(&mut tx, &key).await;
            match round % 3 {
                0 => assert!(ledger.commit(tx).await.is_err(), "committed what the database had ended"),
                1 => drop(ledger.rollback(tx).await),
                _ => drop(tx),
            }
            assert_eq!(bench.count(&key).await, 0, "way {way}, round {round}");
        }
        let mut tx = begin(bench, &key).await.expect("it was never applied");
        assert!(bench.write(&mut tx, &key).await);
        ledger.commit(tx).await.expect("commit");
        assert_eq!(bench.count(&key).await, 1);
    }
}
