//! The contract of transactors: transactions of your own database.

use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::Kind;
use crate::payload::{Digest, Sensitive};
use crate::store::Cause;

/// Opens transactions of your own database, which also contain an idempotency
/// key of the callback.
///
/// A handler that takes a `tx` runs between [`begin`](Transactor::begin) and
/// [`commit`](Transactor::commit). Your effects and the key are committed
/// together or not at all. They take effect exactly once, through repetitions
/// and crashes, and however many processes handle the callback.
///
/// `mpesa-callbacks-sqlx-tx` has transactors for SQLite, PostgreSQL, MySQL and
/// MariaDB. For another database or driver, implement this trait: keep the keys
/// in a table with a primary key of 32 bytes, and insert the key as the first
/// statement of the transaction. `transactor_tests!` of
/// `mpesa-callbacks-conformance` tests your implementation.
///
/// The engine calls the methods in this order, each on its own future, which
/// may be dropped at shutdown:
///
/// 1. `prepare`, at start;
/// 2. for each callback `begin`; if it returns
/// [`BeginOutcome::AlreadyApplied`], nothing else;
/// 3. `add_key`, for the payment that the callback reports;
/// 4. your handler, with `&mut Tx`;
/// 5. `commit`, or `rollback` if the handler failed.
#[async_trait]
pub trait Transactor: Debug + Send + Sync + 'static {
    /// A transaction, as handlers take it (`tx: &mut Tx`). Dropping it rolls it back.
    type Tx: Send + 'static;

    /// `false` only for [`NoTransactor`]: an inbox whose handlers take transactions does not start
    /// with it.
    const HAS_TRANSACTIONS: bool = true;

    /// Creates the table of idempotency keys, unless it exists. Called by
    /// `start()`; may run twice, and concurrently. Also check here that your
    /// database is durable, and return [`TransactorError::NotDurable`] if it is
    /// not.
    async fn prepare(&self) -> Result<(), TransactorError>;

    /// Opens a transaction and inserts the key.
    ///
    /// If another open transaction has inserted the same key, waits for it, or fails with
    /// [`TransactorError::Unavailable`]. Never returns a second transaction for a committed key.
    ///
    /// [`BeginOutcome::AlreadyApplied`] must be as durable as a commit, because the callback is settled
    /// then. A replicated database waits for its standbys only if a transaction wrote something: write
    /// something before you return it.
    async fn begin(&self, key: &IdempotencyKey) -> Result<BeginOutcome<Self::Tx>, TransactorError>;

    /// Inserts another key into an open transaction; `false` if that key is committed. Waits or
    /// fails as [`begin`](Transactor::begin) does. After an error the transaction is rolled back.
    async fn add_key(&self, tx: &mut Self::Tx, key: &IdempotencyKey) -> Result<bool, TransactorError>;

    /// Commits the transaction. After an error the outcome may be unknown; the
    /// next `begin` finds out, because the key is in the transaction. Never
    /// report a success that is not durable: some databases answer `COMMIT`
    /// with a rollback.
    async fn commit(&self, tx: Self::Tx) -> Result<(), TransactorError>;

    /// Rolls the transaction back, including the key. An error is logged only:
    /// your database rolls back when the connection ends.
    async fn rollback(&self, tx: Self::Tx) -> Result<(), TransactorError>;
}

/// The result of [`Transactor::begin`].
#[derive(Debug)]
pub enum BeginOutcome<Tx> {
    /// A transaction with the key in it: run the handler.
    New(Tx),
    /// The key is committed: the handler has already taken effect.
    AlreadyApplied,
}

/// The keys of one transaction.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyKeys {
    /// The key of the callback: its handler ran.
    pub(crate) callback: IdempotencyKey,
    /// What the callback has to do with a payment.
    pub(crate) payment: PaymentRole,
    /// The facts of the payment that the handler gets: `#[payment_completed]` need not run for them.
    pub(crate) completed: Vec<IdempotencyKey>,
}

/// The part of a callback in the handling of a payment.
#[derive(Clone, Debug)]
pub(crate) enum PaymentRole {
    None,
    /// There is no `#[payment]` handler, so the handler of this callback accounts for its payment.
    AccountsFor(PaymentKeys),
    /// The same, and a person wants it again, whoever has handled the payment.
    AccountsAgain(PaymentKeys),
}

/// The payment was handled. A later release with `#[payment]` finds this, even if nothing could be
/// settled.
#[derive(Clone, Debug)]
pub(crate) struct PaymentKeys {
    /// The key that `#[payment]` uses.
    pub(crate) payment: IdempotencyKey,
    /// Handled by callbacks: a payment may have two, and both are handled.
    pub(crate) by_callbacks: IdempotencyKey,
    /// It is settled together with the callback.
    pub(crate) is_open: bool,
}

impl PaymentKeys {
    pub(crate) fn new(receipt: &Sensitive, content_digest: &Digest, is_open: bool) -> PaymentKeys {
        let by_callbacks = Digest::of(&[b"accounted for by callbacks", &content_digest.as_bytes()[..]].concat());
        PaymentKeys {
            payment: IdempotencyKey::new(&Kind::Payment, receipt, content_digest, 0),
            by_callbacks: IdempotencyKey::new(&Kind::Payment, receipt, &by_callbacks, 0),
            is_open,
        }
    }
}

/// Identifies the effects of one callback: kind, key and content digest; and how often it was
/// [handled again](crate::Inbox::handle_again).
///
/// The content is part of it, because two callbacks may contradict each other under one key, and
/// the second may be released. A reworded delivery has the same content, and is not applied again.
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

    /// Returns a key for tests of transactors. Feature `test-util`.
    #[cfg(any(test, feature = "test-util"))]
    pub fn for_test(kind: Kind, key: &str) -> IdempotencyKey {
        IdempotencyKey::new(&kind, &key.into(), &Digest::of(b"test"), 0)
    }

    /// Returns the kind of the callback, to make the table readable.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the 32 bytes of the primary key: a SHA-256, so that no phone number is stored in
    /// plain text. It is not a pseudonym: a person with the table can check a guessed key.
    pub fn as_bytes(&self) -> &[u8] {
        self.digest.as_bytes()
    }
}

impl Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({}, {:?})", self.kind, self.digest)
    }
}

/// Errors of a transactor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactorError {
    /// The database is unavailable or busy. The handler did not run, or its effects are rolled back
    /// or unknown. It is retried, and the attempt does not count.
    #[error("transactor unavailable")]
    Unavailable(#[source] Cause),
    /// The database refuses the transactor's own statements until it is repaired: a missing
    /// table, a missing permission, a damaged disk. The handler did not run. The attempt counts, so
    /// that the callback is dead in the end and `on_dead` is called.
    #[error("the transactor's own statements are refused")]
    Broken(#[source] Cause),
    /// A setting is not durable.
    #[error("the transactor's database is not durable: {setting} is {found}, and must be {needed}")]
    NotDurable {
        /// Name of the setting.
        setting: &'static str,
        /// The value that was found.
        found: String,
        /// The value that durability needs.
        needed: &'static str,
    },
    /// The database refused to commit the statements of the handler: a deferred constraint, a
    /// serialisation conflict.
    #[error("transactor refuses to commit")]
    Refused(#[source] Cause),
}

/// The transaction type of handlers without transactions.
#[derive(Clone, Copy, Debug)]
pub enum NoTx {}

/// The transactor of an inbox without one.
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
