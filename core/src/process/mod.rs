//! From a stored callback to its end: claim, handle, settle, retry.

mod handle;

mod dispatch;

mod settle;

mod backoff;

mod worker;

mod leases;

mod maintain;

mod measure;

mod ticks;

mod drain;

mod retain;

mod room;

mod prepare;

mod notice;

pub use self::backoff::Backoff;
pub(crate) use self::backoff::RETRIES;
pub(crate) use self::dispatch::{Handle, WithTransactor};
pub(crate) use self::drain::drain;
pub(crate) use self::leases::HeldLeases;
pub(crate) use self::maintain::maintain;
pub(crate) use self::notice::Notice;
pub(crate) use self::prepare::prepare;
pub(crate) use self::retain::retain;
pub(crate) use self::room::Room;
use self::room::{Free, RoomPermit};
pub(crate) use self::settle::Settler;
pub(crate) use self::worker::{poll_suspects, work};

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::engine::Engine;
use crate::store::{Claimed, Lease};

/// The life of a callback after it was claimed.
pub(crate) async fn run(
    engine: Arc<Engine>,
    claimed: Claimed,
    cancelled: CancellationToken,
    _place: Option<RoomPermit>,
) {
    let (lease, payment) = (claimed.lease, claimed.payment);
    // Runs however this ends, also when the store panics: stop renewing the lease.
    let _leaving = Leaving { engine: engine.clone(), lease, payment };
    let span = tracing::info_span!("handle", callback = %lease.id, kind = %claimed.kind, attempt = claimed.attempt);
    async {
        let ended = engine.handle(claimed, &cancelled).await; // the user's method, in a transaction if it asks for one
        engine.settle(lease, payment, ended).await; //            done, retry with back-off, or dead
    }
    .instrument(span)
    .await;
}

struct Leaving {
    engine: Arc<Engine>,
    lease: Lease,
    payment: Option<Lease>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.engine.held_leases.leave(self.lease);
        if let Some(payment) = self.payment {
            self.engine.held_leases.leave(payment);
        }
    }
}
