//! Where deliveries wait while the store is away: the contract.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Body, Delivery, DeliveryId, StoreError, rfc3339};
use crate::kind::Kind;
use crate::payload::Sensitive;

/// Keeps deliveries on this machine while the store is away, until they are replayed into it.
///
/// It judges nothing: the same delivery may be kept twice, and replayed twice; the store tells it by its digest. One process
/// owns a spool.
///
/// # If the caller goes away
///
/// A future of this trait may be dropped at any time; what it did is done as a whole or not at all, and may be repeated.
#[async_trait]
pub trait Spool: Debug + Send + Sync + 'static {
    /// Keeps deliveries. When this returns `Ok`, all of them survive a power cut.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is full, or the disk fails.
    async fn put(&self, batch: &[Spooled]) -> Result<(), StoreError>;

    /// Up to `limit` deliveries that were put after `behind`, oldest first, with their numbers.
    async fn oldest(&self, behind: SpoolId, limit: usize) -> Result<Vec<(SpoolId, Spooled)>, StoreError>;

    /// Deletes deliveries that are in the store.
    async fn remove(&self, ids: &[SpoolId]) -> Result<(), StoreError>;

    /// How many deliveries wait, and since when.
    async fn depth(&self) -> Result<SpoolDepth, StoreError>;

    /// Lets go of the files. What waits stays there for the next process.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A delivery's number in its spool, from 1; later deliveries have larger ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpoolId(i64);

impl SpoolId {
    /// For spools: the id that was stored as this number.
    #[must_use]
    pub const fn from_stored(number: i64) -> SpoolId {
        SpoolId(number)
    }

    /// As a number, for a column.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// A delivery as a spool keeps it: as it came, credentials struck out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spooled {
    /// Which delivery it is.
    pub delivery_id: DeliveryId,
    /// To the URL of which kind it came.
    pub came_to: Kind,
    /// Its bytes.
    pub body: Body,
    /// When it was received.
    pub received_at: SystemTime,
    /// Who sent it.
    pub client_ip: Option<IpAddr>,
    /// The merchant's own id, from a per-payment URL.
    pub reference: Option<Sensitive>,
    /// The answer that it got: of a validation.
    pub decision: Option<String>,
}

impl Spooled {
    /// These bytes, come to the URL of this kind; a spool sets what else it knows.
    pub fn new(came_to: Kind, body: Body, received_at: SystemTime) -> Spooled {
        let delivery_id = DeliveryId::random();
        Spooled { delivery_id, came_to, body, received_at, client_ip: None, reference: None, decision: None }
    }

    pub(crate) fn of(came_to: &Kind, delivery: &Delivery) -> Spooled {
        Spooled {
            delivery_id: delivery.delivery_id,
            came_to: came_to.clone(),
            body: delivery.body.clone(),
            received_at: delivery.received_at,
            client_ip: delivery.client_ip,
            reference: delivery.reference.clone(),
            decision: delivery.decision.clone(),
        }
    }
}

/// How much waits in a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SpoolDepth {
    /// How many deliveries.
    pub deliveries: u64,
    /// When the oldest of them was received.
    #[serde(serialize_with = "rfc3339::optional")]
    pub oldest: Option<SystemTime>,
}

impl SpoolDepth {
    /// So many deliveries, the oldest received then.
    pub fn new(deliveries: u64, oldest: Option<SystemTime>) -> SpoolDepth {
        SpoolDepth { deliveries, oldest }
    }
}
