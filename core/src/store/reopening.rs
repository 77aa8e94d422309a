//! Reopening: what a person decides about a callback.

use super::{CallbackId, Delivery, State, Verdict};

/// How to make a callback ready once more.
#[derive(Clone, Copy, Debug)]
pub struct Requeue<'a> {
    /// The state that it is in: `Held`, `Dead` or `Done`.
    pub from: State,
    /// The payment that it shows, to be recorded with it.
    pub payment: Option<&'a Delivery>,
    /// Why, to be kept with it; nothing keeps what is there.
    pub reason: Option<&'a str>,
}

impl<'a> Requeue<'a> {
    /// From this state.
    pub fn from(state: State) -> Requeue<'a> {
        Requeue { from: state, payment: None, reason: None }
    }
}

/// A callback was made ready once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requeued {
    /// Its payment, and what that is beside what was known; `None` when none was recorded.
    pub payment: Option<(CallbackId, Verdict)>,
}

impl Requeued {
    /// With what became of its payment.
    pub fn new(payment: Option<(CallbackId, Verdict)>) -> Requeued {
        Requeued { payment }
    }
}
