//! What every payload tells of itself.

use std::borrow::Cow;

use crate::{Amount, Digest, Kind, Outcome, Payment, RequestFacts};

/// A payload. Its type also has `read(root, raw)`, which the table of kinds calls.
pub(crate) trait Payload {
    /// Idempotency key within its kind; `None` if the body has none.
    fn key(&self) -> Option<Cow<'_, str>>;

    /// Outcome of the transaction; `None` if there is none to have an outcome.
    fn outcome(&self) -> Option<Outcome>;

    /// Digest of the content. Two bodies of one key with the same digest are one callback in two
    /// spellings.
    fn content_digest(&self, kind: &Kind) -> Digest;

    /// Digest of fields that not every sender fills; compared only if both callbacks have it.
    fn detail(&self) -> Option<Digest> {
        None
    }

    /// M-Pesa's receipt, if there is one.
    fn receipt(&self) -> Option<&str> {
        None
    }

    /// Amount that was moved, in KES, whatever the outcome.
    fn amount(&self) -> Option<Amount> {
        None
    }

    /// Adds the fields of this callback to the payment that it reports.
    fn complete(&self, payment: Payment) -> Payment {
        payment
    }

    /// Adds to the facts that are compared with an expectation what only this payload has.
    fn tell(&self, facts: RequestFacts) -> RequestFacts {
        facts
    }
}
