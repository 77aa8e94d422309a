//! The protocol by which callbacks are recorded, claimed, handled and settled: a model, for stateright to try in all orders.
//!
//! A store's `claim`, `renew`, `settle` and `sweep` are one transaction each, so one step here, of one callback at a time.
//! Recording is two steps: a row has its id before it is committed. A number of workers is a number of callbacks in hand, each
//! as if in a process of its own; which of them has what is the same to the store.
//!
//! Whatever goes wrong takes one of the `faults`. So there are no cycles, and every way has an end: what became of all once
//! things had stopped going wrong.
//!
//! There are two callbacks: one that is delivered twice, and one whose outcome is unknown in one delivery and definite in another,
//! which come in any order. What is definite updates what was unknown; an unknown outcome after it adds nothing.
//!
//! Left out: time, but for leases that run out whenever they like (a retry is due at once); contradictions; payments; `reopen`, `dismiss`, `purge`; the spool, whose replay is a delivery like another;
//! handlers without a transactor.

mod state;

mod steps;

mod properties;

pub use self::state::{Lease, State};
pub use self::steps::Action;

/// The size of the checked model.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How many callbacks may be in hand at once.
    pub workers: usize,
    /// How often a handler is tried.
    pub attempts: u8,
    /// How many interruptions of a callback are no attempts. (In the real protocol: while it was the only suspect in hand.)
    pub forgiven: u8,
    /// How often something may go wrong.
    pub faults: u8,
    /// A mutation of the protocol, which must be refuted.
    pub mutant: Option<Mutant>,
}

/// The protocol with one thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The sender is answered before the commit.
    AcknowledgesFirst,
    /// `record` looks for the key, and inserts if it did not see it; no unique index stops it.
    RecordsWithoutIndex,
    /// `claim` takes rows that were ready when it looked, and run by now.
    ClaimsWithoutState,
    /// `claim` looks only above the largest claimed id (and at rows that were claimed before).
    ClaimsByCursor,
    /// `claim` takes rows with an expired lease, too.
    Retakes,
    /// The same, and it counts the interruption. Nothing here finds fault with this one.
    RetakesAndCounts,
    /// An attempt counts only when it is settled: a sweep takes it back, however often.
    CountsLate,
    /// `record` takes a definite outcome for a repetition of the unknown one.
    ForgetsUpdates,
    /// `record` takes an unknown outcome for news, though the definite one is known.
    UpdatesBackwards,
    /// The transactor's mark is not written with the effects, but when the callback is settled.
    MarksLate,
    /// `settle` checks `state = 1` only.
    SettlesWithoutFence,
    /// `settle` checks the fence only.
    SettlesWithoutState,
    /// `sweep` goes by a clock that is ahead of the one by which leases are given.
    SweepsEarly,
}

impl Protocol {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
