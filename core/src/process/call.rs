//! The arguments of one call of the user's method.

use crate::handler::CallbackContext;
use crate::payload::{Expectation, Parsed};
use crate::transactor::IdempotencyKey;

/// Arguments of the user's method.
pub(super) struct Call {
    pub(super) parsed: Parsed,
    pub(super) ctx: CallbackContext,
    /// The keys of `payment_completed` callbacks that this call makes unnecessary.
    pub(super) completed: Vec<IdempotencyKey>,
    /// The expectation that is overdue.
    pub(super) overdue: Option<Expectation>,
}
