//! Which delivery it is.

/// Distinguishes one delivery (one HTTP request) from all others, including one with the same bytes at the same moment.
///
/// A store that is asked to record the same delivery twice, because the answer to the first commit was lost, recognises
/// it by this id, and can return the verdict of the first time. Random, 64 bits; kept by the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId(i64);

impl DeliveryId {
    /// The id of a new delivery.
    #[must_use]
    pub fn random() -> DeliveryId {
        DeliveryId(fastrand::i64(..))
    }

    /// The id that was stored as this number.
    #[must_use]
    pub fn from_stored(number: i64) -> DeliveryId {
        DeliveryId(number)
    }

    /// As a number, for a column.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}
