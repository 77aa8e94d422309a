//! Why a delivery was not recorded.

/// Why a delivery was not recorded. One error of the store concerns a whole batch, so it is logged
/// where it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// The store is unavailable or hangs.
    Away,
    /// The store will never accept this delivery.
    Refused,
}
