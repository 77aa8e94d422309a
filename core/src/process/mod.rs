//! From a recorded callback to its end: handle, settle, and everything that keeps that going.

mod handle;

mod settle;

mod backoff;

mod worker;

mod upkeep;

mod notice;

pub use self::backoff::Backoff;
pub(crate) use self::handle::{Handle, WithLedger};
pub(crate) use self::notice::Notice;
pub(crate) use self::settle::Settler;
pub(crate) use self::upkeep::{InFlight, keep_up};
pub(crate) use self::worker::work;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::engine::Engine;
use crate::store::Claimed;

/// The rest of a callback's life, once a worker has claimed it.
pub(crate) async fn run(engine: Arc<Engine>, claimed: Claimed, _permits: OwnedSemaphorePermit, expires: Instant) {
    let lease = claimed.lease;
    let cancelled = engine.in_flight.enter(lease, expires);
    let ended = engine.handle(claimed, &cancelled).await; // the user's method, in a transaction if it asks for one
    engine.settle(lease, ended).await; //                     done, retry with back-off, or dead
    engine.in_flight.leave(lease);
}
