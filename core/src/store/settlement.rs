//! Settling: how an attempt ended, and what the store did with it.

use std::time::Duration;

use super::{Lease, State};
use crate::payload::Sensitive;

/// How handling one callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// Under which lease.
    pub lease: Lease,
    /// How.
    pub ending: Completion,
    /// The payment that was [claimed with it](super::Claimed::payment): `Done` with it, and `Ready` again otherwise, both or neither.
    pub payment: Option<Lease>,
}

impl Settlement {
    /// How handling under this lease ended.
    pub fn new(lease: Lease, ending: Completion) -> Settlement {
        Settlement { lease, ending, payment: None }
    }

    /// The payment that was claimed with it.
    #[must_use]
    pub fn with_payment(mut self, payment: Option<Lease>) -> Settlement {
        self.payment = payment;
        self
    }
}

/// How handling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// It is handled.
    Done,
    /// It failed and is due again after this long.
    Retry {
        /// How long.
        after: Duration,
        /// Why it failed.
        error: Sensitive,
    },
    /// It failed for the last time.
    Dead {
        /// Why.
        error: Sensitive,
    },
    /// It waits for somebody to decide: nothing here handles its kind.
    Held {
        /// Why.
        error: Sensitive,
    },
    /// It was not handled at all (shutdown, transactor away): due again after this long, and the attempt does not count.
    Snoozed {
        /// How long.
        after: Duration,
    },
}

impl Completion {
    /// The state that it leads to.
    pub fn state(&self) -> State {
        match self {
            Completion::Done => State::Done,
            Completion::Retry { .. } | Completion::Snoozed { .. } => State::Ready,
            Completion::Dead { .. } => State::Dead,
            Completion::Held { .. } => State::Held,
        }
    }
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleResult {
    /// It was written.
    Written,
    /// The lease was lost; nothing was changed.
    LeaseLost,
}
