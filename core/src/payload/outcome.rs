//! How a transaction ended, as far as a callback tells.

use serde::Serialize;

/// How a transaction ended, as far as a callback tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out. Only result code 0 says so.
    Success,
    /// It was not carried out, for a reason that the catalogue knows.
    Failed,
    /// It may have been carried out or not: a queue timeout, an unreachable phone, a code that no list explains. Ask the
    /// transaction status API; do not pay again. Debits have been seen minutes after a 1037.
    Unknown,
}

impl Outcome {
    /// Whether it was carried out.
    pub fn is_success(self) -> bool {
        self == Outcome::Success
    }
}
