//! The contract of spools: local storage for deliveries while the store is unavailable.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Body, Delivery, DeliveryId, StoreError, rfc3339};
use crate::Kind;
use crate::payload::Sensitive;

/// Keeps deliveries on this machine until they are replayed into the store.
///
/// It does not classify them: a delivery may be kept and replayed twice, and the store recognises
/// it by its digest. A spool belongs to one process.
///
/// # Cancel safety
///
/// Every future may be dropped at any time; its effect is then complete or absent. Every call may
/// be repeated.
#[async_trait]
pub trait Spool: Debug + Send + Sync + 'static {
    /// Stores deliveries. When this returns `Ok`, all of them survive a power cut.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is full, or the disk fails.
    async fn put(&self, batch: &[Spooled]) -> Result<(), StoreError>;

    /// Returns up to `limit` deliveries after `behind`, oldest first, with their ids.
    async fn oldest(&self, behind: SpoolId, limit: usize) -> Result<Vec<(SpoolId, Spooled)>, StoreError>;

    /// Deletes deliveries that are in the store.
    async fn remove(&self, ids: &[SpoolId]) -> Result<(), StoreError>;

    /// Returns how many deliveries wait, and since when.
    async fn depth(&self) -> Result<SpoolDepth, StoreError>;

    /// Releases the files. The deliveries stay there for the next process.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Id of a delivery in its spool, from 1; later deliveries have larger ids.
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

/// A delivery in a spool: as received, without credentials.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spooled {
    /// Id of the delivery.
    pub delivery_id: DeliveryId,
    /// Kind of the URL that it was sent to.
    pub came_to: Kind,
    /// Body of the delivery.
    pub body: Body,
    /// The time at which the request arrived.
    pub received_at: SystemTime,
    /// IP address of the sender.
    pub client_ip: Option<IpAddr>,
    /// Reference from a per-payment URL.
    pub reference: Option<Sensitive>,
    /// Decision of a validation.
    pub decision: Option<String>,
}

impl Spooled {
    /// Returns a delivery with a new id. A spool sets the other fields.
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

/// The length of a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SpoolDepth {
    /// Number of deliveries in the spool.
    pub deliveries: u64,
    /// When the oldest of them was received.
    #[serde(serialize_with = "rfc3339::optional")]
    pub oldest: Option<SystemTime>,
}

impl SpoolDepth {
    /// Makes one from its fields.
    pub fn new(deliveries: u64, oldest: Option<SystemTime>) -> SpoolDepth {
        SpoolDepth { deliveries, oldest }
    }
}
