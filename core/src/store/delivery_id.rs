//! The id of a delivery.

/// Identifies one delivery (one HTTP request), also among those with the same bytes at the same
/// moment.
///
/// If the same delivery is passed to a store twice, because the answer to the first commit
/// was lost, it can recognise it by this id and return the first verdict. 64 random bits; the spool
/// keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId(i64);

impl DeliveryId {
    /// Generates the id of a new delivery.
    #[must_use]
    pub fn random() -> DeliveryId {
        DeliveryId(fastrand::i64(..))
    }

    /// Returns the id that was stored as this number.
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
