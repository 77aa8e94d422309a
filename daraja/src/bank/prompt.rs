//! A push on the screen of a phone.

use std::time::Duration;

use crate::script::Fault;

/// A push to a phone.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// The exchange of its request.
    pub(crate) exchange: usize,
    pub(crate) merchant_request_id: String,
    pub(crate) checkout_request_id: String,
    pub(crate) short_code: String,
    pub(crate) account: String,
    /// Whole shillings.
    pub(crate) amount: i64,
    pub(crate) phone: String,
    pub(crate) callback_url: String,
    pub(crate) faults: Vec<Fault>,
    /// What is true from when on; empty until the customer has answered.
    pub(crate) truths: Vec<Truth>,
    /// Number of queries that Daraja fails to answer.
    pub(crate) flaky_queries: u32,
}

/// How a push has ended.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) since: Duration,
    pub(crate) code: String,
}

impl Prompt {
    /// Returns whether the customer has not answered yet.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.truths.first().is_none_or(|truth| truth.since > now)
    }

    /// Returns how it has ended by now.
    pub(crate) fn truth(&self, now: Duration) -> Option<&Truth> {
        self.truths.iter().rfind(|truth| truth.since <= now)
    }
}
