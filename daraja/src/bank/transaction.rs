//! A transaction of a short code.

use std::time::Duration;

/// A transaction that is carried out.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) receipt: String,
    pub(crate) conversation_id: String,
    pub(crate) originator_conversation_id: String,
    pub(crate) short_code: String,
    /// Phone number or short code of the other party.
    pub(crate) party: String,
    /// Account number, for money that came in.
    pub(crate) account: String,
    /// Whole shillings.
    pub(crate) amount: i64,
    /// Whether money came in to the short code.
    pub(crate) is_in: bool,
    /// When it happened, in seconds since 1970.
    pub(crate) at: i64,
    /// The same moment, since the start.
    pub(crate) since: Duration,
    /// When it was reversed.
    pub(crate) reversed: Option<Duration>,
}

impl Transaction {
    /// Returns how it has changed the money of the short code by then.
    pub(super) fn change(&self, at: Duration) -> i64 {
        let amount = if self.is_in { self.amount } else { -self.amount };
        let has_happened = self.since <= at;
        let is_reversed = self.reversed.is_some_and(|since| since <= at);
        if has_happened && !is_reversed { amount } else { 0 }
    }
}
