//! The application's own database, where effects are made exactly once: the contract.

use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::kind::Kind;
use crate::payload::{Digest, Sensitive};
use crate::store::Cause;

/// The application's own database, in which a handler's transaction also carries a mark of the callback it applied.
///
/// A handler that takes a `tx` runs between [`begin`](Transactor::begin) and [`commit`](Transactor::commit). Its effects and the
/// mark are committed together or not at all, so they are made exactly once: whatever is repeated, whoever crashed,
/// however many processes have the same callback in hand.
///
/// The trait is small enough to write for any database; `mpesa-callbacks-conformance` checks an implementation.
#[async_trait]
pub trait Transactor: Debug + Send + Sync + 'static {
    /// A transaction, as the handlers take it (`tx: &mut Tx`). Dropping it rolls it back.
    type Tx: Send + 'static;

    /// Whether it opens transactions at all: `false` for [`NoTransactor`] only, with which an inbox whose handlers take
    /// transactions does not start.
    const HAS_TRANSACTIONS: bool = true;

    /// Creates the table of marks, unless it is there. Called by `start()`; may run twice, and at the same time.
    async fn prepare(&self) -> Result<(), TransactorError>;

    /// Opens a transaction and writes the mark into it.
    ///
    /// When another transaction holds the same mark and is not finished, this waits for it, or fails with
    /// [`TransactorError::Unavailable`]. It never gives a second transaction with a mark that is committed.
    async fn begin(&self, mark: &IdempotencyKey) -> Result<BeginOutcome<Self::Tx>, TransactorError>;

    /// Writes another mark into a transaction that was begun; `false` when that mark is there already. It waits for whoever has the same
    /// mark in hand, or fails, as [`begin`](Transactor::begin) does; after an error the transaction is rolled back.
    async fn add_key(&self, tx: &mut Self::Tx, mark: &IdempotencyKey) -> Result<bool, TransactorError>;

    /// Commits the transaction. After an error the outcome may be unknown; the next attempt's `begin` finds out.
    async fn commit(&self, tx: Self::Tx) -> Result<(), TransactorError>;

    /// Rolls the transaction back, the mark included.
    async fn rollback(&self, tx: Self::Tx) -> Result<(), TransactorError>;
}

/// What [`Transactor::begin`] found.
#[derive(Debug)]
pub enum BeginOutcome<Tx> {
    /// A transaction with the mark in it: run the handler.
    New(Tx),
    /// The mark is committed: the handler's effects are there.
    AlreadyApplied,
}

/// What a handler's transaction is marked with.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyKeys {
    /// That the handler was run.
    pub(crate) callback: IdempotencyKey,
    /// When the handler accounts for the payment that the callback shows, because nobody handles payments.
    pub(crate) payment: Option<PaymentKeys>,
}

/// That a payment was accounted for: whichever release comes next finds it, also when nothing could be settled before the process
/// ended.
#[derive(Clone, Debug)]
pub(crate) struct PaymentKeys {
    /// As `#[payment]` marks it.
    pub(crate) payment: IdempotencyKey,
    /// And that it was callbacks that did: of one payment there may be two, and both are handled.
    pub(crate) by_callbacks: IdempotencyKey,
}

impl PaymentKeys {
    pub(crate) fn new(receipt: &Sensitive, content_digest: &Digest) -> PaymentKeys {
        let by_callbacks = Digest::of(b"accounted for by callbacks");
        PaymentKeys {
            payment: IdempotencyKey::new(&Kind::Payment, receipt, content_digest, 0),
            by_callbacks: IdempotencyKey::new(&Kind::Payment, receipt, &by_callbacks, 0),
        }
    }
}

/// What makes one callback's effects known again: its kind, key and meaning; and how often it was deliberately
/// [handled again](crate::Inbox::handle_again).
///
/// Meaning belongs to it, because two callbacks may contradict each other under one key, and an operator may release the
/// second; and because a later delivery in other words must not be applied again.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    kind: Kind,
    digest: Digest,
}

impl IdempotencyKey {
    pub(crate) fn new(kind: &Kind, key: &Sensitive, content_digest: &Digest, repetition: u32) -> IdempotencyKey {
        let mut text = kind.name().as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(key.as_str().as_bytes());
        text.push(0);
        text.extend_from_slice(content_digest.as_bytes());
        if repetition > 0 {
            text.extend_from_slice(&repetition.to_be_bytes());
        }
        IdempotencyKey { kind: kind.clone(), digest: Digest::of(&text) }
    }

    /// A mark for tests of transactors.
    pub fn for_test(kind: Kind, key: &str) -> IdempotencyKey {
        IdempotencyKey::new(&kind, &key.into(), &Digest::of(b"test"), 0)
    }

    /// The kind of callback, for people who look at the table.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its 32 bytes: the primary key. A SHA-256, so that no phone number stands in the table as it is. It is no pseudonym:
    /// whoever has the table and guesses a key can check the guess.
    pub fn as_bytes(&self) -> &[u8] {
        self.digest.as_bytes()
    }
}

impl Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({}, {:?})", self.kind, self.digest)
    }
}

/// What can go wrong in a transactor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactorError {
    /// The database cannot be reached, or is busy. The handler was not run, or its effects are rolled back or unknown;
    /// it is tried again, and the attempt does not count.
    #[error("transactor unavailable")]
    Unavailable(#[source] Cause),
    /// The database refuses what the transactor itself needs, and will until somebody mends it: its table is gone, a permission is
    /// missing, the disk's contents are damaged. The handler was not run. The attempt counts, so that the callback is shown as
    /// dead when nobody does.
    #[error("the transactor's own statements are refused")]
    Broken(#[source] Cause),
    /// A setting that durability hangs on is not what it must be.
    #[error("the transactor's database is not durable: {setting} is {found}, and must be {needed}")]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// The database refused to commit what the handler wrote: a deferred constraint, a serialisation conflict.
    #[error("transactor refuses to commit")]
    Refused(#[source] Cause),
}

/// The transaction of handler sets that take none.
#[derive(Clone, Copy, Debug)]
pub enum NoTx {}

/// The transactor of an inbox that was given none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransactor;

#[async_trait]
impl Transactor for NoTransactor {
    type Tx = NoTx;
    const HAS_TRANSACTIONS: bool = false;

    async fn prepare(&self) -> Result<(), TransactorError> {
        Ok(())
    }

    async fn begin(&self, _: &IdempotencyKey) -> Result<BeginOutcome<NoTx>, TransactorError> {
        Err(TransactorError::Unavailable("the inbox has no transactor".into()))
    }

    async fn add_key(&self, tx: &mut NoTx, _: &IdempotencyKey) -> Result<bool, TransactorError> {
        match *tx {}
    }

    async fn commit(&self, tx: NoTx) -> Result<(), TransactorError> {
        match tx {}
    }

    async fn rollback(&self, tx: NoTx) -> Result<(), TransactorError> {
        match tx {}
    }
}
