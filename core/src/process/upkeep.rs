//! Maintenance: renews leases, reclaims expired ones, trims the quarantine, measures the queues.

use std::collections::{HashMap, HashSet};
use std::mem::replace;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::observe;
use crate::receive::error_chain;
use crate::store::{Claimed, Lease, StoreError, Waiting, catch_panic};

/// Interval between measurements.
const MEASURE: Duration = Duration::from_secs(15);

/// A queue without a handler is logged as a warning after this long. A deployment takes less.
const UNHANDLED: Duration = Duration::from_secs(60);

/// Leases of callbacks that this process is handling.
#[derive(Debug)]
pub(crate) struct HeldLeases {
    flights: Mutex<HashMap<Lease, HeldLease>>,
    giving_up: CancellationToken,
}

#[derive(Debug)]
struct HeldLease {
    cancel: CancellationToken,
    expires: Instant,
}

impl HeldLeases {
    /// No leases. Cancelling `giving_up` cancels all handlers, and those that start later.
    pub(crate) fn new(giving_up: CancellationToken) -> HeldLeases {
        HeldLeases { flights: Mutex::default(), giving_up }
    }

    /// Renews this lease from now on. The token is cancelled when the lease is lost, or when the
    /// inbox gives up waiting.
    fn enter(&self, lease: Lease, expires: Instant) -> CancellationToken {
        let cancel = self.giving_up.child_token();
        self.flights().insert(lease, HeldLease { cancel: cancel.clone(), expires });
        cancel
    }

    /// The same for a claimed callback and the payment that was claimed with it: losing either
    /// stops the handler.
    pub(super) fn enter_claimed(&self, claimed: &Claimed, expires: Instant) -> CancellationToken {
        let cancel = self.enter(claimed.lease, expires);
        if let Some(payment) = claimed.payment {
            self.flights().insert(payment, HeldLease { cancel: cancel.clone(), expires });
        }
        cancel
    }

    pub(super) fn leave(&self, lease: Lease) {
        self.flights().remove(&lease);
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Lease, HeldLease>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until everything has ended.
pub(crate) async fn maintain(engine: Arc<Engine>) {
    let every = |period: Duration| {
        let mut ticks = interval(period.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let mut renew = every(engine.limits.lease / 3);
    let mut sweep = every(engine.limits.lease_check_interval);
    let mut measure = every(MEASURE);
    loop {
        tokio::select! {
            // Renew before reclaiming: a process that was paused must not reclaim its own leases.
            biased;
            _ = renew.tick() => drop(engine.renew(true).await),
            _ = sweep.tick() => {
                engine.sweep().await;
                engine.trim().await;
            }
            _ = measure.tick() => engine.measure().await,
            () = engine.drained() => break,
        }
    }
    // Also when the last inbox was dropped without `shutdown`.
    engine.closing.cancel();
}

impl Engine {
    /// Waits until nothing new is claimed and all handlers have ended.
    async fn drained(&self) {
        self.stopping.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Renews the leases in use: those that are due, or all. Returns whether the store answered.
    async fn renew(&self, only_due: bool) -> bool {
        let asked = Instant::now();
        let lease = self.limits.lease;
        // A lease that was claimed a moment ago need not be renewed yet.
        let is_due = |flight: &HeldLease| !only_due || flight.expires.saturating_duration_since(asked) < lease * 2 / 3;
        let leases: Vec<Lease> =
            self.held_leases.flights().iter().filter(|(_, flight)| is_due(flight)).map(|(lease, _)| *lease).collect();
        if leases.is_empty() {
            return true;
        }
        // A store that does not answer in time counts as unavailable.
        let renewed = timeout(lease / 3, catch_panic(self.store.renew(&leases, lease))).await;
        let mut flights = self.held_leases.flights();
        match renewed {
            Ok(Ok(renewed)) => {
                for (held, lease) in renewed.into_iter().zip(leases) {
                    match flights.get_mut(&lease) {
                        Some(flight) if held => flight.expires = asked + self.limits.lease,
                        Some(flight) => flight.cancel.cancel(),
                        None => {}
                    }
                }
                true
            }
            failed => {
                let cause = failed.map_or_else(
                    |_| "no answer".to_owned(),
                    |error| error.err().map(|error| error_chain(&error)).unwrap_or_default(),
                );
                tracing::warn!(cause, "cannot renew leases");
                // A handler whose lease may expire before the next renewal stops now, because
                // another process may start.
                let soon = Instant::now() + lease / 3;
                flights.values().filter(|flight| flight.expires < soon).for_each(|flight| flight.cancel.cancel());
                false
            }
        }
    }

    /// Trims the quarantine, oldest first.
    async fn trim(&self) {
        if !self.quarantine.has_grown() {
            return;
        }
        let limits = self.quarantine.limits;
        let trimming = catch_panic(self.store.trim_quarantine(limits.rows, limits.bytes));
        // Renewing leases must not wait for this; the rest is trimmed next time.
        match timeout(self.limits.lease / 3, trimming).await.unwrap_or(Err(StoreError::Unavailable("no answer".into())))
        {
            Ok(0) => {}
            Ok(trimmed) => {
                tracing::error!(
                    callbacks = trimmed,
                    "deleted the oldest of what cannot be read: the quarantine is full"
                );
                observe::trimmed(trimmed);
            }
            Err(error) => {
                self.quarantine.grew();
                tracing::warn!(cause = error_chain(&error), "cannot trim the quarantine");
            }
        }
    }

    /// Reclaims expired leases. The own leases are renewed first: after a pause or a clock step
    /// they may look expired, too.
    async fn sweep(&self) {
        if !self.renew(false).await {
            return;
        }
        match catch_panic(self.store.reclaim_expired()).await {
            Ok(0) => {}
            Ok(swept) => {
                tracing::warn!(callbacks = swept, "taken back from handlers that ended without a word");
                observe::swept(swept);
                self.wake.notify_one();
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot sweep expired leases"),
        }
    }

    /// Reports the queue per kind. A kind that this process does not handle waits for another
    /// process; if there is none, an operator must know.
    fn show_waiting(&self, waiting: &[Waiting]) {
        let now = self.clock.now();
        observe::waiting(waiting, now);
        let kinds: HashSet<_> = waiting.iter().map(|waiting| waiting.kind.clone()).collect();
        let earlier = replace(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner), kinds.clone());
        earlier.difference(&kinds).for_each(observe::waits_no_more);
        for Waiting { kind, count, due_since } in waiting {
            let overdue = now.duration_since(*due_since).unwrap_or_default();
            if self.routes.of(kind).is_none() && overdue > UNHANDLED {
                tracing::warn!(
                    %kind,
                    callbacks = count,
                    seconds = overdue.as_secs(),
                    "callbacks of a kind that this process does not handle wait for one that does; is there one?"
                );
            }
        }
    }

    async fn measure(&self) {
        match catch_panic(self.store.counts()).await {
            Ok(depth) => observe::depth(&depth),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count callbacks"),
        }
        match catch_panic(self.store.waiting()).await {
            Ok(waiting) => self.show_waiting(&waiting),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count callbacks kind by kind"),
        }
        let Some(spooling) = &self.spooling else { return };
        match catch_panic(spooling.spool.depth()).await {
            Ok(depth) => observe::spool_depth(&depth, self.clock.now()),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count what waits in the spool"),
        }
    }
}
