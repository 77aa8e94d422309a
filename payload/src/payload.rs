//! The facts that every payload provides.

use std::borrow::Cow;

use crate::{Amount, Digest, Kind, Outcome, Payment, RequestFacts};

/// A payload. Its type also has `read(root, raw)`, which the table of kinds calls.
pub(crate) trait Payload {
    /// Returns the idempotency key within its kind; `None` if the body has none.
    fn key(&self) -> Option<Cow<'_, str>>;

    /// Returns the outcome of the transaction; `None` if there is none to have an outcome.
    fn outcome(&self) -> Option<Outcome>;

    /// Returns the digest of the content. Two bodies of one key with the same digest are one callback
    /// in two spellings.
    fn content_digest(&self, kind: &Kind) -> Digest;

    /// Returns the digest of fields that not every sender fills; compared only if both callbacks have
    /// it.
    fn detail(&self) -> Option<Digest> {
        None
    }

    /// Returns M-Pesa's receipt, if there is one.
    fn receipt(&self) -> Option<&str> {
        None
    }

    /// Returns the amount that was moved, in KES, for any outcome.
    fn amount(&self) -> Option<Amount> {
        None
    }

    /// Adds the fields of this callback to the payment that it reports.
    fn complete(&self, payment: Payment) -> Payment {
        payment
    }

    /// Adds the facts that only this payload has to those that are compared with an expectation.
    fn tell(&self, facts: RequestFacts) -> RequestFacts {
        facts
    }
}
