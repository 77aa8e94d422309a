//! Settling: the result of an attempt, and of writing it.

use std::time::Duration;

use super::{Lease, State};
use crate::payload::Sensitive;

/// The result of handling one callback.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The lease of the callback.
    pub lease: Lease,
    /// How the attempt ended.
    pub completion: Completion,
    /// Lease of the payment that was [claimed with it](super::Claimed::payment). It becomes `Done`
    /// with the callback, else `Ready`; both are written or neither.
    pub payment: Option<Lease>,
}

impl Settlement {
    /// Returns the result of handling under this lease.
    pub fn new(lease: Lease, completion: Completion) -> Settlement {
        Settlement { lease, completion, payment: None }
    }

    /// Adds the payment that was claimed with it.
    #[must_use]
    pub fn with_payment(mut self, payment: Option<Lease>) -> Settlement {
        self.payment = payment;
        self
    }
}

/// How the attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// The handler succeeded, or nothing needs to be handled.
    Done,
    /// The handler failed, and is retried.
    Retry {
        /// Delay until it is due again.
        after: Duration,
        /// Error of the handler.
        error: Sensitive,
    },
    /// The handler failed for the last time.
    Dead {
        /// Error of the handler.
        error: Sensitive,
    },
    /// A person must decide.
    Held {
        /// The error of the handler. It may contain personal data.
        error: Sensitive,
    },
    /// It was not handled (shutdown, transactor unavailable); the attempt does not count.
    Snoozed {
        /// Delay until it is due again.
        after: Duration,
    },
}

impl Completion {
    /// Returns the state that it leads to.
    pub fn state(&self) -> State {
        match self {
            Completion::Done => State::Done,
            Completion::Retry { .. } | Completion::Snoozed { .. } => State::Ready,
            Completion::Dead { .. } => State::Dead,
            Completion::Held { .. } => State::Held,
        }
    }
}

/// The result of a settlement. Exhaustive: the engine needs no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleResult {
    /// The settlement was written.
    Written,
    /// The lease was lost; nothing was changed.
    LeaseLost,
}
