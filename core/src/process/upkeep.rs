//! Leases renewed, expired ones swept, depths measured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::observe;
use crate::receive::error_chain;
use crate::store::Lease;

/// How often the depths are measured.
const MEASURE: Duration = Duration::from_secs(15);

/// The callbacks that this process is handling.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashMap<Lease, Flight>>);

#[derive(Debug)]
struct Flight {
    cancel: CancellationToken,
    expires: Instant,
}

impl InFlight {
    /// From now on the lease is renewed; the token is cancelled when it is lost, or when the inbox gives up waiting.
    pub(super) fn enter(&self, lease: Lease, expires: Instant) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.flights().insert(lease, Flight { cancel: cancel.clone(), expires });
        cancel
    }

    pub(super) fn leave(&self, lease: Lease) {
        self.flights().remove(&lease);
    }

    /// Stops every handler.
    pub(crate) fn cancel_all(&self) {
        self.flights().values().for_each(|flight| flight.cancel.cancel());
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Lease, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews, sweeps and measures until everything has ended.
pub(crate) async fn keep_up(engine: Arc<Engine>) {
    let every = |period: Duration| {
        let mut ticks = interval(period.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let mut renew = every(engine.limits.lease / 3);
    let mut sweep = every(engine.limits.sweep);
    let mut measure = every(MEASURE);
    loop {
        tokio::select! {
            _ = renew.tick() => engine.renew().await,
            _ = sweep.tick() => engine.sweep().await,
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

    async fn renew(&self) {
        let now = Instant::now();
        let lease = self.limits.lease;
        // What began a moment ago needs no renewal yet.
        let due = |flight: &Flight| flight.expires.saturating_duration_since(now) < lease * 2 / 3;
        let due: Vec<Lease> =
            self.in_flight.flights().iter().filter(|(_, flight)| due(flight)).map(|(lease, _)| *lease).collect();
        let renewed = match due.is_empty() {
            true => return,
            false => self.store.renew(&due, lease).await,
        };
        let mut flights = self.in_flight.flights();
        match renewed {
            Ok(renewed) => {
                for (held, lease) in renewed.into_iter().zip(due) {
                    match flights.get_mut(&lease) {
                        Some(flight) if held => flight.expires = now + self.limits.lease,
                        Some(flight) => flight.cancel.cancel(),
                        None => {}
                    }
                }
            }
            Err(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot renew leases");
                // Whoever may have lost the lease by the next time stops now: somebody else may begin.
                let margin = self.limits.lease / 3;
                flights
                    .values()
                    .filter(|flight| flight.expires < now + margin)
                    .for_each(|flight| flight.cancel.cancel());
            }
        }
    }

    async fn sweep(&self) {
        match self.store.sweep().await {
            Ok(0) => {}
            Ok(swept) => {
                tracing::warn!(callbacks = swept, "taken back from handlers that ended without a word");
                observe::swept(swept);
                self.wake.notify_one();
            }
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot sweep expired leases"),
        }
    }

    async fn measure(&self) {
        match self.store.depth().await {
            Ok(depth) => observe::depth(&depth),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count callbacks"),
        }
    }
}
