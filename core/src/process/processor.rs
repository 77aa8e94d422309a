//! The life of a callback after it was claimed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::leases::HeldLeases;
use super::settler::Settler;
use crate::Kind;
use crate::clock::Clock;
use crate::defaults::Limits;
use crate::handler::{Handle, HandlerPermit, Hooks, InboxHandle, Permits, Routes};
use crate::lifecycle::Lifecycle;
use crate::record::{Ready, Recorder};
use crate::store::{Claimed, Lease, Owner, Store};

/// Claims stored callbacks, runs their handlers and settles them. Owner of
/// everything that step 6 and 7 need.
pub(crate) struct Processor {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) routes: Routes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) handling: Arc<dyn Handle>,
    pub(crate) hooks: Arc<Hooks>,
    /// Limits how many handlers run at the same time.
    pub(crate) permits: Arc<Permits>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) leases: HeldLeases,
    pub(crate) settler: Settler,
    /// Number of consecutive transactor failures.
    pub(crate) transactor_failures: AtomicU32,
    pub(crate) limits: Limits,
    /// Owner that the store must have.
    pub(crate) owner: Owner,
    pub(crate) is_adopted: AtomicBool,
    /// Kinds whose queue is shown in metrics.
    pub(crate) shown: Mutex<HashSet<Kind>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Processor {
    /// The life of a callback after it was claimed.
    pub(crate) async fn process(
        self: Arc<Self>,
        claimed: Claimed,
        cancelled: CancellationToken,
        _permit: Option<HandlerPermit>,
        inbox: InboxHandle,
    ) {
        let (lease, payment) = (claimed.lease, claimed.payment);
        // Runs however this ends, also when the store panics: stop renewing the lease.
        let _leaving = Leaving { leases: &self.leases, lease, payment };
        let span = tracing::info_span!("handle", callback = %lease.id, kind = %claimed.kind, attempt = claimed.attempt);
        async {
            let exit = self.handle(claimed, &cancelled, &inbox).await; // the user's method, in a transaction if it asks for one
            self.settle(lease, payment, exit).await; //                   done, retry with back-off, or dead
        }
        .instrument(span)
        .await;
    }
}

struct Leaving<'a> {
    leases: &'a HeldLeases,
    lease: Lease,
    payment: Option<Lease>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.leases.leave(self.lease);
        if let Some(payment) = self.payment {
            self.leases.leave(payment);
        }
    }
}
