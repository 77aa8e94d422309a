//! The outcome of a transaction.

use serde::Serialize;

/// The outcome of a transaction, as far as a callback shows it. Exhaustive: match all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out. Only result code 0 means this.
    Success,
    /// It was not carried out, for a listed reason.
    Failed,
    /// It may have been carried out: a queue timeout, an unreachable phone, an unlisted code. Query
    /// the transaction status; do not pay again. Debits have been seen minutes after a 1037.
    Unknown,
}

impl Outcome {
    /// Returns whether it is [`Outcome::Success`].
    pub fn is_success(self) -> bool {
        self == Outcome::Success
    }
}
