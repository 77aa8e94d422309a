//! Leases renewed, expired ones swept, the quarantine trimmed, depths measured.

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

/// How often the depths are measured.
const MEASURE: Duration = Duration::from_secs(15);

/// After so long, callbacks that nothing has handled are worth a warning. A deployment takes less.
const UNHANDLED: Duration = Duration::from_secs(60);

/// The callbacks that this process is handling.
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
    /// None yet. Once `giving_up` is cancelled, so is everything in flight, and all that comes.
    pub(crate) fn new(giving_up: CancellationToken) -> HeldLeases {
        HeldLeases { flights: Mutex::default(), giving_up }
    }

    /// From now on the lease is renewed; the token is cancelled when it is lost, or when the inbox gives up waiting.
    fn enter(&self, lease: Lease, expires: Instant) -> CancellationToken {
        let cancel = self.giving_up.child_token();
        self.flights().insert(lease, HeldLease { cancel: cancel.clone(), expires });
        cancel
    }

    /// The same for a callback that was claimed, and for the payment that was claimed with it: losing either stops the handler.
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

/// Renews, sweeps, trims and measures until everything has ended.
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
            // Renewing comes before sweeping, or a process that was paused would sweep its own handlers.
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
    // Also when the last inbox was dropped without a `shutdown`.
    engine.closing.cancel();
}

impl Engine {
    /// Nothing new is claimed, and every handler has ended.
    async fn drained(&self) {
        self.stopping.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Renews the leases of what is in flight: those that need it, or all. Whether the store could be asked.
    async fn renew(&self, only_due: bool) -> bool {
        let asked = Instant::now();
        let lease = self.limits.lease;
        // What began a moment ago needs no renewal yet.
        let is_due = |flight: &HeldLease| !only_due || flight.expires.saturating_duration_since(asked) < lease * 2 / 3;
        let leases: Vec<Lease> =
            self.held_leases.flights().iter().filter(|(_, flight)| is_due(flight)).map(|(lease, _)| *lease).collect();
        if leases.is_empty() {
            return true;
        }
        // A store that does not answer is as good as one that is away.
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
                // Whoever may have lost the lease by the next time stops now: somebody else may begin.
                let soon = Instant::now() + lease / 3;
                flights.values().filter(|flight| flight.expires < soon).for_each(|flight| flight.cancel.cancel());
                false
            }
        }
    }

    /// Makes room in the quarantine: the oldest go first.
    async fn trim(&self) {
        if !self.quarantine.has_grown() {
            return;
        }
        let limits = self.quarantine.limits;
        let trimming = catch_panic(self.store.trim_quarantine(limits.rows, limits.bytes));
        // Renewing leases must not wait for it; what is left is for the next time.
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

    /// Takes back what others left behind. What is in flight here is renewed first: after a pause, or a step of the
    /// clock, its leases may look expired too.
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

    /// What waits, and since when. Kinds that this process does not handle wait for one that does; should none come, somebody
    /// must know.
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
