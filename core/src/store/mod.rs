//! The contract of stores.

mod catch_panic;
mod claim;
pub mod columns;
mod delivery;
#[cfg(any(test, feature = "test-util"))]
mod delivery_for_test;
mod delivery_id;
mod entry;
mod error;
mod guarded;
mod interruption;
mod memory;
mod requeue;
mod rfc3339;
mod settlement;
mod shared;
mod spool;
mod verdict;

use std::fmt::Debug;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

pub(crate) use self::catch_panic::catch_panic;
pub use self::claim::{Claim, Claimed, Lease, RelatedCallback};
pub use self::delivery::{Delivery, Disposition};
pub use self::delivery_id::DeliveryId;
pub use self::entry::{Body, Entry, Filter, Lookup, State, Waiting};
pub use self::error::{Cause, StoreError};
pub(crate) use self::guarded::GuardedStore;
pub use self::interruption::{ALONE_AFTER, FORGIVEN_ALONE, Interruption, Lane, SUSPECT_AFTER, is_ahead};
pub use self::memory::MemoryStore;
pub use self::requeue::{Requeue, Requeued};
pub use self::settlement::{Completion, SettleResult, Settlement};
pub use self::spool::{Spool, SpoolDepth, SpoolId, Spooled};
pub use self::verdict::{Judgement, Known, Verdict};
use crate::Kind;
use crate::environment::Environment;
use crate::payload::Digest;

/// A durable queue of callbacks. Implement it to keep callbacks in a database of your own;
/// `mpesa-callbacks-conformance` contains the tests of an implementation.
///
/// # States
///
/// ```text
///            ┌────────── retry: run_at in the future, attempt counted ──────────┐
/// record ─► Ready ──claim: fence + 1, attempts + 1──► Running ──settle──► Done  │
///            ▲ ▲                                       │  │ └──────────► Dead  │
///            │ └──── reclaim: lease expired ───────────┘  └─────────────────────┘
///            └────── requeue ◄── Held (conflict, or money unaccounted for), Dead, Done
/// ```
///
/// # Leases
///
/// A claim returns a [`Lease`]: the callback's id and a *fencing token* that grows with every
/// claim. `renew` and `settle` change a row only while it is `Running` under that token. A process
/// that lost its lease changes nothing, and returns [`SettleResult::LeaseLost`].
///
/// # Time
///
/// A store reads one clock, its own. Times cross this trait as durations, except those that are
/// part of a delivery.
///
/// # Cancel safety
///
/// Every future may be dropped at any time; its effect is then complete or absent. Every call may
/// be repeated, and the engine repeats calls whose result it did not get.
///
/// # New methods
///
/// A minor release may add methods with a default implementation that keeps existing stores
/// correct. A required method is added only by a major release.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Assigns the store to this inbox. Called by `start()`, before anything else. Repeating it
    /// with the same owner changes nothing.
    ///
    /// # Errors
    /// [`StoreError::OtherOwner`] if it belongs to another inbox, whose callbacks would be handled
    /// otherwise.
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError>;

    /// Records a batch of deliveries atomically and classifies each one. Results are in input
    /// order.
    ///
    /// - **Uniqueness.** Of any number of concurrent callers with the same kind and key, on any
    ///   number of machines, exactly one gets [`Verdict::First`].
    /// - **Payments.** A delivery's [`payment`](Delivery::payment) is recorded in the same commit
    ///   if the delivery [is news](Verdict::is_news), and not otherwise.
    /// - **Receipts.** Of callbacks of one kind with one receipt and different keys, only one is
    ///   news.
    /// - **Durability.** When this returns `Ok`, the batch survives a power cut: begin, write,
    ///   commit, then return.
    /// - **Order.** The deliveries of one batch see each other, in order.
    /// - **Rules.** [`Delivery::judge`] and [`Delivery::state`] contain them; a store looks up the
    ///   rows.
    ///
    /// # Payments that learn their order
    /// A payment that is a variant may contain the order that the first payment of its receipt
    /// lacks. If it [completes](Delivery::completes) that one, then in the same commit:
    /// - the first one takes this one's reference; if it is `Ready`, it becomes due at once;
    /// - if the first one was ever claimed on its own ([`Claimed::was_told`]), a handler may have
    ///   seen it without the order: this one is recorded as [`Kind::PaymentCompleted`], `Ready`,
    ///   under [its own key](Delivery::completing), unless that exists. Also if it is `Running`, or
    ///   was settled, with a [callback](Claimed::payment) that accounts for it: whether the earlier
    ///   claim took effect is known only by its idempotency key.
    ///
    /// A payment whose reference was known when it was purged is never completed.
    ///
    /// # Errors
    /// - [`StoreError::Unavailable`]: nothing was recorded, or the outcome is unknown. Recording
    ///   again is safe.
    /// - [`StoreError::Refused`]: one delivery of the batch can never be recorded. The engine
    ///   halves the batch to find it, and quarantines it.
    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError>;

    /// Returns the decision of a validation with this content.
    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError>;

    /// Claims `Ready` callbacks that are due, oldest first. Each is claimed by one caller only. The
    /// attempt is counted here, so that a callback which ends its process is counted, too.
    ///
    /// Callbacks of other kinds stay `Ready` for other processes. The cost of a claim must not grow
    /// with their number.
    ///
    /// # Processes that do not handle payments
    /// If the claim [does not handle payments](Claim::handles_payments), the other handlers account
    /// for the money. A callback that [is news](Verdict::is_news) and has a receipt is then claimed
    /// together with its payment, so that no other process handles that:
    /// - a payment that is `Ready` and was never claimed alone becomes `Running` under its own
    ///   lease ([`Claimed::payment`]), and its attempts are not counted;
    /// - a payment that is `Done` and was never claimed alone was settled with another callback:
    ///   nothing is to be done;
    /// - if the payment is running, or was claimed alone before, the callback is left to processes
    ///   that handle payments.
    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError>;

    /// Extends leases to `lease` from now; `false` for those that were lost.
    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError>;

    /// Writes the results of handling in one commit. Results are in input order. Repeating a
    /// settlement that was written returns [`SettleResult::Written`] again if it was `Done`, `Dead`
    /// or `Held` under this fencing token.
    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError>;

    /// Makes `Running` callbacks with expired leases `Ready` again, counts the interruption, and
    /// returns their number. A claim must not take expired leases itself.
    ///
    /// An interruption costs no attempt, unless the callback ran [alone](Lane::Alone) and was
    /// interrupted there more than [`FORGIVEN_ALONE`] times. After [`SUSPECT_AFTER`] interruptions
    /// it is claimed in the lanes for suspects. [`Interruption`] contains the rules.
    ///
    /// Also reschedules rows that were scheduled by a clock that was ahead: see [`is_ahead`].
    async fn reclaim_expired(&self) -> Result<u64, StoreError>;

    /// Returns one callback, with its body unless that was purged.
    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError>;

    /// Returns the callbacks that match any of the lookups, with bodies, each once, in any order.
    /// Purged ones need to be found by receipt only.
    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError>;

    /// Returns callbacks, newest first, without bodies.
    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError>;

    /// Makes a callback in the given state `Ready`, resets its attempts, gives it the
    /// [reference](Requeue::reference) if it has none, and records its payment in the same commit;
    /// `None` if it is in another state or has no body. If it was `Done`, its
    /// [`repetition`](Claimed::repetition) grows by one.
    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError>;

    /// Makes a `Held`, `Dead` or `Quarantined` callback, or a `Ready` [payment](Kind::Payment), `Done`
    /// without handling it; `false` if it is in another state. It keeps its error, which is `dismissed` if it
    /// has none, unlike one that was handled. Its attempts stay.
    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError>;

    /// Deletes the bodies of callbacks that are `Done` and were received longer than `age` ago.
    /// Returns their number.
    ///
    /// Keys, receipts and digests are replaced by keyed HMACs, because a `CheckoutRequestID` ends
    /// in the payer's phone number, and amounts and accounts can be guessed from digests. Later
    /// deliveries must still be recognised: the same bytes as [`Verdict::Duplicate`], the same
    /// content as [`Verdict::Variant`], and the same receipt.
    ///
    /// `extent` limits the search.
    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError>;

    /// Deletes `Quarantined` callbacks until at most `rows` of them are left, with at most `bytes`
    /// of bodies, and returns how many were deleted. Those with a reference go first, because their
    /// URL needs no secret; of each group the oldest. The newest of all stays, so that no id is
    /// used twice.
    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError>;

    /// Returns the number of callbacks per state.
    async fn counts(&self) -> Result<StateCounts, StoreError>;

    /// Returns the queue per kind.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError>;

    /// Commits a transaction that writes and leaves nothing behind, as durably as a recording. An error says
    /// that callbacks cannot be recorded now. Default: reads [`counts`](Store::counts).
    async fn check_write(&self) -> Result<(), StoreError> {
        self.counts().await.map(drop)
    }

    /// Notifies other processes that there is more to claim than this one can handle. Only a hint:
    /// they poll every second. Default: does nothing.
    fn notify_peers(&self) {}

    /// Waits until another process calls [`notify_peers`](Store::notify_peers). Default: waits
    /// forever.
    async fn notified(&self) {
        std::future::pending::<()>().await;
    }

    /// Finishes writing and releases files and connections. All other methods then return
    /// [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}

/// Id of a callback in its store; later callbacks have larger ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct CallbackId(i64);

impl CallbackId {
    /// For stores: the id that was stored as this number.
    #[must_use]
    pub const fn from_stored(number: i64) -> CallbackId {
        CallbackId(number)
    }

    /// As a number, for a column.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl FromStr for CallbackId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<CallbackId, ParseIntError> {
        text.parse().map(CallbackId)
    }
}

impl std::fmt::Display for CallbackId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The result of recording a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Id of the recorded callback; for a duplicate, that of the callback it repeats.
    pub id: CallbackId,
    /// Verdict on the delivery.
    pub verdict: Verdict,
    /// The decision that applies: its own, or that of the callback that it repeats or varies.
    pub decision: Option<String>,
    /// Id of its payment, and the verdict on that; `None` if none was recorded.
    pub payment: Option<(CallbackId, Verdict)>,
}

impl Recorded {
    /// Makes one from its fields.
    pub fn new(
        id: CallbackId,
        verdict: Verdict,
        decision: Option<String>,
        payment: Option<(CallbackId, Verdict)>,
    ) -> Recorded {
        Recorded { id, verdict, decision, payment }
    }
}

/// The owner of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the inbox.
    pub inbox: String,
    /// Daraja environment of the inbox.
    pub environment: Environment,
}

impl Owner {
    /// As text for a column: `shop/Shop (production)`.
    pub fn to_text(&self) -> String {
        let environment = match self.environment {
            Environment::Production => "production",
            Environment::Sandbox => "sandbox",
        };
        format!("{} ({environment})", self.inbox)
    }
}

/// How far a purge searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// From the oldest on, while some are old enough. Rows with a wrong time can end it early.
    WhileOld,
    /// Every body that is old enough.
    All,
}

/// Number of callbacks per state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct StateCounts {
    /// Waiting to be handled.
    pub ready: u64,
    /// Number of callbacks that a process has leased.
    pub running: u64,
    /// Waiting for a person's decision.
    pub held: u64,
    /// Dead: the last attempt failed.
    pub dead: u64,
    /// Quarantined: could not be parsed.
    pub quarantined: u64,
}

impl StateCounts {
    /// Adds `count` callbacks in this state.
    pub fn add(&mut self, state: State, count: u64) {
        match state {
            State::Ready => self.ready += count,
            State::Running => self.running += count,
            State::Held => self.held += count,
            State::Dead => self.dead += count,
            State::Quarantined => self.quarantined += count,
            State::Done => {}
        }
    }
}
