//! Where callbacks are kept: the contract.

mod catch_panic;
mod claim;
pub mod columns;
mod delivery;
mod delivery_id;
mod entry;
mod error;
mod interruption;
mod memory;
mod reopening;
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
pub use self::interruption::{ALONE_AFTER, FORGIVEN_ALONE, Interruption, Lane, SUSPECT_AFTER, is_ahead};
pub use self::memory::MemoryStore;
pub use self::reopening::{Requeue, Requeued};
pub use self::settlement::{Completion, SettleResult, Settlement};
pub use self::spool::{Spool, SpoolDepth, SpoolId, Spooled};
pub use self::verdict::{Judgement, Known, Verdict};
use crate::kind::Kind;
use crate::payload::Digest;
use crate::urls::Environment;

/// A journal of what was received, and of what became of it. Implement it to keep callbacks in a database of your own;
/// `mpesa-callbacks-conformance` has the tests that an implementation must pass.
///
/// # States
///
/// ```text
///            ┌────────── retry: run_at in the future, attempt counted ──────────┐
/// record ─► Ready ──claim: fence + 1, attempts + 1──► Running ──settle──► Done  │
///            ▲ ▲                                       │  │ └──────────► Dead  │
///            │ └──── sweep: lease expired ─────────────┘  └─────────────────────┘
///            └────── requeue ◄── Held (conflict, or money unaccounted for), Dead, Done
/// ```
///
/// # Leases
///
/// A claim gives a [`Lease`]: the callback's id and a *fence*, a number that grows with every claim. `renew` and `settle`
/// change a row only while it is `Running` under that fence; whoever lost the lease changes nothing, and is told so.
///
/// # Time
///
/// A store reads one clock, its own. Times cross this trait as durations, except what the engine stamped on a delivery.
///
/// # If the caller goes away
///
/// A future of this trait may be dropped at any time. What it did is then done as a whole or not at all; the engine
/// repeats what it did not hear the end of, and every method may be repeated.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Gives the store to this inbox, which has it from then on: called by `start()`, before anything is recorded or claimed.
    /// Adopting again under the same name and environment changes nothing.
    ///
    /// # Errors
    /// [`StoreError::OtherOwner`] when another inbox has it: one would handle the other's callbacks.
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError>;

    /// Records deliveries in one commit, and says of each what it found; one answer each, in order.
    ///
    /// Of any number of callers with the same kind and key, on any number of machines, exactly one sees
    /// [`Verdict::First`]. A delivery's [`payment`](Delivery::payment) is recorded in the same commit when the delivery
    /// [is news](Verdict::is_news), and not otherwise. Of callbacks of one kind that tell of one receipt under different keys,
    /// only one is news. When this returns `Ok`, all of it survives a power cut: begin, write,
    /// commit, and only then return. The deliveries of one batch see each other, in order.
    ///
    /// [`Delivery::judge`] and [`Delivery::state`] are the rules; a store finds the rows and obeys.
    ///
    /// # Payments that are completed
    /// A payment that is a variant tells what its receipt's first payment may not have told: which order it is for. In the same
    /// commit, when it [completes](Delivery::completes) the first one:
    /// - while that is `Ready`, it takes over this one's reference, and becomes due at once: whoever claims it finds the sibling;
    /// - otherwise, when it was claimed by itself, this one is recorded as a callback of kind [`Kind::PaymentCompleted`], `Ready`,
    ///   under [its key](Delivery::completing), unless there is one. (When it was only [claimed with a callback](Claimed::payment),
    ///   nobody was told of it: it takes over the reference.)
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when nothing was recorded or the outcome is unknown: recording again is safe.
    /// [`StoreError::Refused`] when one of the batch can never be recorded; the engine then finds out which, by halves, and records that
    /// one as what cannot be read.
    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError>;

    /// The decision that was recorded for a callback that says the same.
    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError>;

    /// Takes callbacks that are `Ready` and due, oldest first, for a lease. Each is claimed by one caller only. The attempt is
    /// counted here, so that a callback which kills the process can be counted too.
    ///
    /// Callbacks of other kinds than those asked for stay `Ready`, whatever is due: another process handles them. The cost of
    /// a claim must not grow with how many of those there are.
    ///
    /// # Claimants that do not handle payments
    /// Where the claim says that there is [no handler for payments](Claim::handles_payments), the claimant's handlers account for
    /// money themselves, and a callback that
    /// [is news](Verdict::is_news) and tells of a receipt is claimed together with its payment, so that nobody handles both:
    /// - a payment that is `Ready`, and was never claimed by itself, becomes `Running` under a lease of its own
    ///   ([`Claimed::payment`]), its attempts not counted;
    /// - a payment that is `Done`, and was never claimed by itself, was settled with another callback: nothing is to be done;
    /// - where the payment is in hand, or was claimed by itself before, the callback is left to those who handle payments.
    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError>;

    /// Makes leases last for `lease` from now; `false` for those that were lost.
    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError>;

    /// Writes down how handling ended, all in one commit; one answer each, in order. A settlement that is repeated, because
    /// nobody heard that it was written, is [`SettleResult::Written`] again when it was the end: `Done`, `Dead` or `Held` under this
    /// very fence.
    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError>;

    /// Makes `Ready` again whatever is `Running` under an expired lease, and counts the interruption. Sweep, then claim:
    /// a claim must not take expired leases itself. Returns how many there were.
    ///
    /// An interruption is not a failure, and costs no attempt, unless the callback ran [alone](Lane::Alone) and did so more
    /// often than [`FORGIVEN_ALONE`]. Interrupted [`SUSPECT_AFTER`] times, it is claimed in the lanes for suspects from then
    /// on. [`Interruption`] has the rules, and when it is due again.
    ///
    /// What a clock that was ahead has put off is put off from now: see [`is_ahead`].
    async fn reclaim_expired(&self) -> Result<u64, StoreError>;

    /// One callback, with its body when that was not purged.
    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError>;

    /// What is known under any of these, with its bodies, in any order, each once. What was purged need not be found, but by
    /// its receipt.
    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError>;

    /// Callbacks, newest first, without their bodies.
    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError>;

    /// Makes a callback `Ready` that is in the state given, with its attempts forgotten, and records its payment in the same
    /// commit; `None` when it is not in that state, or has no body any more. One that was `Done` counts one more
    /// [`repetition`](Claimed::repetition).
    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError>;

    /// Makes a callback that is `Held`, `Dead` or `Quarantined` `Done` without handling it; `false` when it is in another state.
    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError>;

    /// Deletes the bodies of callbacks that are `Done` and were received longer than `age` ago, and makes unreadable what
    /// tells of them: keys, receipts and fingerprints become keyed HMACs of themselves, because a `CheckoutRequestID` ends in
    /// the payer's phone number, and amounts and accounts can be guessed from a fingerprint. A later delivery of such a key
    /// must still be recognised: its bytes as [`Verdict::Duplicate`], its meaning as [`Verdict::Variant`]; and so must its
    /// receipt. Returns how many bodies went.
    ///
    /// `extent` says how far to look: all of it, or as far as old ones are likely.
    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError>;

    /// Deletes callbacks that are `Quarantined`, row and body, until at most `rows` of them are left, with at most `bytes` of
    /// bodies together: first those that came with a reference, whose URL is worth less than the secret, and of each the
    /// oldest. The newest of all stays whatever it is, so that no id is given twice. Returns how many went.
    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError>;

    /// How many callbacks wait, run, are held, dead and quarantined.
    async fn counts(&self) -> Result<StateCounts, StoreError>;

    /// What is `Ready`, kind by kind.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError>;

    /// Tells other processes that there is more to claim than this one can handle. A hint: they look once a second anyway.
    fn notify_peers(&self) {}

    /// Waits until another process [announced](Store::notify_peers) something; for ever where nobody can tell.
    async fn notified(&self) {
        std::future::pending::<()>().await;
    }

    /// Writes what there is to write, and lets go of files and connections. Every other method then fails with
    /// [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}

/// A callback's number in its store; later callbacks have larger ones.
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

/// What recording found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// The callback that was written, or, of a duplicate, the one it repeats.
    pub id: CallbackId,
    /// What the delivery is, beside what was known.
    pub verdict: Verdict,
    /// The decision that now stands for it: its own, or that of the callback it repeats or varies.
    pub decision: Option<String>,
    /// Its payment, and what that is beside what was known; `None` when none was recorded.
    pub payment: Option<(CallbackId, Verdict)>,
}

impl Recorded {
    /// What a store found.
    pub fn new(
        id: CallbackId,
        verdict: Verdict,
        decision: Option<String>,
        payment: Option<(CallbackId, Verdict)>,
    ) -> Recorded {
        Recorded { id, verdict, decision, payment }
    }
}

/// Whose a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The inbox's name.
    pub inbox: String,
    /// Whether it takes real money.
    pub environment: Environment,
}

impl Owner {
    /// As one text, for a store to keep: `shop/Shop (production)`.
    pub fn to_text(&self) -> String {
        let environment = match self.environment {
            Environment::Production => "production",
            Environment::Sandbox => "sandbox",
        };
        format!("{} ({environment})", self.inbox)
    }
}

/// How far a purge looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// From the oldest on, as long as some of them are old enough. Rows that bear a wrong time can end it early.
    WhileOld,
    /// At all of them.
    All,
}

/// How many callbacks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct StateCounts {
    /// Waiting to be handled.
    pub ready: u64,
    /// Being handled.
    pub running: u64,
    /// Waiting for somebody's decision.
    pub held: u64,
    /// Given up on.
    pub dead: u64,
    /// Kept because nobody could read them.
    pub quarantined: u64,
}

impl StateCounts {
    /// Counts `count` callbacks in this state.
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
