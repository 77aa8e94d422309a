//! The leases of the callbacks that this process is handling, and their renewal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ticks::every;
use crate::error_chain::error_chain;
use crate::store::{Claimed, Lease, Store, StoreError};

/// Leases of callbacks that this process is handling.
#[derive(Debug)]
pub(crate) struct HeldLeases {
    held: Mutex<HashMap<Lease, HeldLease>>,
    giving_up: CancellationToken,
    store: Arc<dyn Store>,
    /// Duration of a lease.
    lease: Duration,
}

#[derive(Debug)]
struct HeldLease {
    cancel: CancellationToken,
    expires: Instant,
}

impl HeldLeases {
    /// No leases. Cancelling `giving_up` cancels all handlers, and those that start later.
    pub(crate) fn new(store: Arc<dyn Store>, lease: Duration, giving_up: CancellationToken) -> HeldLeases {
        HeldLeases { held: Mutex::default(), giving_up, store, lease }
    }

    /// Renews this lease from now on. The token is cancelled when the lease is lost, or when the
    /// inbox gives up waiting.
    fn enter(&self, lease: Lease, expires: Instant) -> CancellationToken {
        let cancel = self.giving_up.child_token();
        self.held().insert(lease, HeldLease { cancel: cancel.clone(), expires });
        cancel
    }

    /// The same for a claimed callback and the payment that was claimed with it: losing
    /// either stops the handler.
    pub(super) fn enter_claimed(&self, claimed: &Claimed, expires: Instant) -> CancellationToken {
        let cancel = self.enter(claimed.lease, expires);
        if let Some(payment) = claimed.payment {
            self.held().insert(payment, HeldLease { cancel: cancel.clone(), expires });
        }
        cancel
    }

    pub(super) fn leave(&self, lease: Lease) {
        self.held().remove(&lease);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Lease, HeldLease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiring_before(&self, time: Instant) -> Vec<Lease> {
        self.held().iter().filter(|(_, held)| held.expires < time).map(|(lease, _)| *lease).collect()
    }

    fn renewed(&self, leases: &[Lease], is_held: &[bool], expires: Instant) {
        let mut held = self.held();
        for (lease, is_held) in leases.iter().zip(is_held) {
            match held.get_mut(lease) {
                Some(lease) if *is_held => lease.expires = expires,
                Some(lease) => lease.cancel.cancel(),
                None => {}
            }
        }
    }

    /// Stops handlers whose lease may expire before the next renewal: another process may start.
    fn cancel_expiring_before(&self, time: Instant) {
        self.held().values().filter(|held| held.expires < time).for_each(|held| held.cancel.cancel());
    }

    /// Renews the leases in use for as long as it is polled. Nothing else of the maintenance delays
    /// it.
    pub(super) async fn keep(&self) {
        let mut ticks = every(self.lease / 6);
        loop {
            ticks.tick().await;
            // A lease that was claimed a moment ago need not be renewed yet.
            self.renew_expiring_within(self.lease * 2 / 3).await;
        }
    }

    /// Renews the leases in use that expire so soon. Returns whether the store answered.
    pub(super) async fn renew_expiring_within(&self, remaining: Duration) -> bool {
        let asked = Instant::now();
        let lease = self.lease;
        let leases = self.expiring_before(asked + remaining);
        if leases.is_empty() {
            return true;
        }
        // A store that does not answer in time counts as unavailable.
        let no_answer = || StoreError::Unavailable("no answer".into());
        match timeout(lease / 3, self.store.renew(&leases, lease)).await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(is_held) => {
                self.renewed(&leases, &is_held, asked + lease);
                true
            }
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot renew leases");
                self.cancel_expiring_before(Instant::now() + lease / 3);
                false
            }
        }
    }
}
