//! The behaviours of a transactor, as functions that `transactor_tests!` calls.

use std::pin::Pin;
use std::sync::Arc;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::transactor::{BeginOutcome, IdempotencyKey, Transactor, TransactorError};

/// How to write something in a transactor's transactions, and how to count it afterwards.
#[allow(async_fn_in_trait, reason = "called from this crate's tests only")]
pub trait TransactorBench: Sync {
    /// The transactor that is tested.
    type Transactor: Transactor;

    /// Returns the transactor, on a database that is empty but for a table to write into. Always
    /// the same one.
    fn transactor(&self) -> Arc<Self::Transactor>;

    /// Writes one row with this text in the transaction; returns whether that
    /// worked.
    fn write<'a>(&'a self, tx: &'a mut <Self::Transactor as Transactor>::Tx, text: &'a str) -> Writing<'a>;

    /// Returns the number of ways in which this database ends a transaction on its own: a full disk, a
    /// deadlock, a closed connection.
    fn endings(&self) -> usize;

    /// Makes the database end the transaction by itself, in this one of the ways.
    fn end<'a>(
        &'a self,
        tx: &'a mut <Self::Transactor as Transactor>::Tx,
        way: usize,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Counts the rows of this text, outside of any transaction.
    async fn count(&self, text: &str) -> u64;
}

/// The future of [`TransactorBench::write`].
pub type Writing<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

fn named_key(name: &str) -> IdempotencyKey {
    IdempotencyKey::for_test(Kind::Stk, name)
}

async fn begin<B: TransactorBench>(bench: &B, key: &str) -> Option<<B::Transactor as Transactor>::Tx> {
    match bench.transactor().begin(&named_key(key)).await.expect("begin") {
        BeginOutcome::New(tx) => Some(tx),
        BeginOutcome::AlreadyApplied => None,
    }
}

async fn prepared<B: TransactorBench>(bench: &B) -> Arc<B::Transactor> {
    let transactor = bench.transactor();
    transactor.prepare().await.expect("prepare");
    transactor
}

/// `prepare` may run twice, and in two processes at once.
pub async fn prepare_is_idempotent<B: TransactorBench>(bench: &B) {
    prepared(bench).await.prepare().await.expect("prepare again");
}

/// The effect of the handler and the key are committed together. Afterwards
/// `begin` with the same key returns `AlreadyApplied`.
pub async fn effects_and_key_are_committed_together<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    let mut tx = begin(bench, "a").await.expect("a new key");
    assert!(bench.write(&mut tx, "a").await);
    transactor.commit(tx).await.expect("commit");
    assert_eq!(bench.count("a").await, 1);
    assert!(begin(bench, "a").await.is_none(), "a key that is committed was given out again");
}

/// A key of `add_key` is committed with the transaction, rolled back with it,
/// and found by later transactions.
pub async fn a_second_key_is_committed_with_the_first<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    for is_committed in [false, true] {
        let mut tx = begin(bench, "one").await.expect("a new key");
        assert!(transactor.add_key(&mut tx, &named_key("other")).await.expect("key"));
        assert!(!transactor.add_key(&mut tx, &named_key("other")).await.expect("key"), "it is there");
        assert!(bench.write(&mut tx, "one").await);
        match is_committed {
            true => transactor.commit(tx).await.expect("commit"),
            false => transactor.rollback(tx).await.expect("rollback"),
        }
    }
    assert_eq!(bench.count("one").await, 1);
    assert!(begin(bench, "other").await.is_none(), "it was committed");
    let mut tx = begin(bench, "third").await.expect("a new key");
    assert!(!transactor.add_key(&mut tx, &named_key("other")).await.expect("key"));
    assert!(bench.write(&mut tx, "third").await, "a key that is there breaks nothing");
    transactor.commit(tx).await.expect("commit");
}

/// After a rollback neither the effect nor the key exist, and the key can be
/// used again.
pub async fn a_rolled_back_transaction_leaves_no_effect_and_no_key<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    let mut tx = begin(bench, "b").await.expect("a new key");
    assert!(bench.write(&mut tx, "b").await);
    transactor.rollback(tx).await.expect("rollback");
    assert_eq!(bench.count("b").await, 0);
    let tx = begin(bench, "b").await.expect("the key was rolled back");
    transactor.rollback(tx).await.expect("rollback");
}

/// A handler panicked or exceeded its timeout, so its transaction was dropped.
/// Neither the effect nor the key exist.
pub async fn a_dropped_transaction_leaves_no_effect_and_no_key<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    let mut tx = begin(bench, "c").await.expect("a new key");
    assert!(bench.write(&mut tx, "c").await);
    drop(tx);
    let mut tx = begin(bench, "c").await.expect("the key was rolled back");
    assert_eq!(bench.count("c").await, 0);
    assert!(bench.write(&mut tx, "c").await);
    transactor.commit(tx).await.expect("commit");
    assert_eq!(bench.count("c").await, 1);
}

/// Keys of other callbacks, also of other kinds with the same text, change
/// nothing.
pub async fn keys_of_other_callbacks_do_not_matter<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    let tx = begin(bench, "d").await.expect("a new key");
    transactor.commit(tx).await.expect("commit");
    let tx = begin(bench, "e").await.expect("another key");
    transactor.commit(tx).await.expect("commit");
    let other = IdempotencyKey::for_test(Kind::Payment, "d");
    match transactor.begin(&other).await.expect("begin") {
        BeginOutcome::New(tx) => transactor.commit(tx).await.expect("commit"),
        BeginOutcome::AlreadyApplied => panic!("another kind of callback with this key was applied, not this one"),
    }
}

/// Of any number of workers that handle one callback at the same time, exactly
/// one applies it.
pub async fn exactly_one_of_racing_workers_applies<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    for round in 0..10 {
        let key = format!("race {round}");
        let apply = async || {
            loop {
                match transactor.begin(&named_key(&key)).await {
                    Ok(BeginOutcome::New(mut tx)) => {
                        assert!(bench.write(&mut tx, &key).await);
                        tokio::task::yield_now().await;
                        match transactor.commit(tx).await {
                            Ok(()) => return true,
                            Err(TransactorError::Unavailable(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Ok(BeginOutcome::AlreadyApplied) => return false,
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

/// The database ended the transaction on its own. The transactor never reports
/// it as committed. No statement of the handler takes effect, neither before
/// nor after. The connection is closed and replaced, also if it happens more
/// often than the pool has connections.
pub async fn a_transaction_that_the_database_ended_is_not_reused<B: TransactorBench>(bench: &B) {
    let transactor = prepared(bench).await;
    for way in 0..bench.endings() {
        let key = format!("ended {way}");
        for round in 0..12 {
            let mut tx = begin(bench, &key).await.expect("it was never applied");
            assert!(bench.write(&mut tx, &key).await);
            bench.end(&mut tx, way).await;
            // A handler may go on: whether it gets an error or not, it takes no effect.
            bench.write(&mut tx, &key).await;
            match round % 3 {
                0 => assert!(transactor.commit(tx).await.is_err(), "committed what the database had ended"),
                1 => drop(transactor.rollback(tx).await),
                _ => drop(tx),
            }
            assert_eq!(bench.count(&key).await, 0, "way {way}, round {round}");
        }
        let mut tx = begin(bench, &key).await.expect("it was never applied");
        assert!(bench.write(&mut tx, &key).await);
        transactor.commit(tx).await.expect("commit");
        assert_eq!(bench.count(&key).await, 1);
    }
}
