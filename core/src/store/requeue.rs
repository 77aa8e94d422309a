//! Making a callback ready again: a person's decision.

use super::{CallbackId, Delivery, State, Verdict};
use crate::payload::Sensitive;

/// Parameters of [`Store::requeue`](super::Store::requeue): from which state,
/// and the values to write with it.
#[derive(Clone, Copy, Debug)]
pub struct Requeue<'a> {
    /// The state that it must be in: `Held`, `Dead` or `Done`.
    pub from: State,
    /// Its payment, to be recorded with it.
    pub payment: Option<&'a Delivery>,
    /// The reference that it gets if it has none.
    pub reference: Option<&'a Sensitive>,
    /// The reason to store with it; `None` keeps the stored one.
    pub reason: Option<&'a str>,
}

impl<'a> Requeue<'a> {
    /// From this state, with nothing else.
    pub fn from(state: State) -> Requeue<'a> {
        Requeue { from: state, payment: None, reference: None, reason: None }
    }
}

/// A callback was made ready again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requeued {
    /// Id of its payment, and the verdict on that; `None` if none was recorded.
    pub payment: Option<(CallbackId, Verdict)>,
}

impl Requeued {
    /// Makes one from its field.
    pub fn new(payment: Option<(CallbackId, Verdict)>) -> Requeued {
        Requeued { payment }
    }
}
