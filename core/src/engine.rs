//! The state that the steps of a callback's life share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Kind;
use crate::clock::Clock;
use crate::expect::Expecting;
use crate::process::{Backoff, Handle, HeldLeases, RETRIES, Room, Settler};
use crate::quarantine::{Quarantine, QuarantineLimits};
use crate::receive::{Budgets, Guard, InFlightLimiter, InFlightLimits, Pending, Recorder, Spooling, error_chain};
use crate::routes::Routes;
use crate::secret::Secret;
use crate::store::{Owner, Store};
use crate::urls::Environment;

/// Shared state of an inbox.
pub(crate) struct Engine {
    pub(crate) guard: Guard,
    /// Limits of concurrent requests.
    pub(crate) in_flight_limiter: InFlightLimiter,
    pub(crate) quarantine: Quarantine,
    /// Remaining budget per per-payment URL.
    pub(crate) budgets: Budgets,
    /// The first secret, which signs per-payment URLs.
    pub(crate) secret: Secret,
    pub(crate) environment: Environment,
    pub(crate) public_url: Option<String>,
    /// Owner that the store must have.
    pub(crate) owner: Owner,
    pub(crate) is_adopted: AtomicBool,
    /// Kinds whose queue is shown in metrics.
    pub(crate) shown: Mutex<HashSet<Kind>>,
    pub(crate) routes: Routes,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handling: Arc<dyn Handle>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) recorder: Recorder,
    /// Present if the application uses expectations.
    pub(crate) expecting: Option<Expecting>,
    /// Present if there is a spool.
    pub(crate) spooling: Option<Spooling>,
    pub(crate) settler: Settler,
    /// Wakes the poller when a callback is ready.
    pub(crate) wake: Arc<Notify>,
    /// Concurrency of handlers.
    pub(crate) room: Arc<Room>,
    pub(crate) held_leases: HeldLeases,
    /// Concurrency of hooks.
    pub(crate) hooks: Arc<Semaphore>,
    /// Validation decisions that may not be stored yet.
    pub(crate) pending: Pending,
    /// Number of consecutive transactor failures.
    pub(crate) transactor_failures: AtomicU32,
    /// Authenticated requests in progress.
    pub(crate) requests: TaskTracker,
    /// Handlers and hooks in progress.
    pub(crate) tasks: TaskTracker,
    /// Cancelled at shutdown: nothing new is claimed.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the grace period is over: running handlers are aborted.
    pub(crate) giving_up: CancellationToken,
    /// Cancelled when nothing more is recorded.
    pub(crate) closing: CancellationToken,
    /// Background tasks: recorder, spool replay, maintenance.
    pub(crate) keepers: TaskTracker,
}

/// Delay before the next attempt to adopt a store that is unavailable.
const ADOPT_RETRY_DELAY: Duration = Duration::from_secs(1);

impl Engine {
    /// Waits until the store has been adopted; `false` when the inbox stops first.
    pub(crate) async fn adopted(&self) -> bool {
        while !self.is_adopted.load(Ordering::Relaxed) {
            match self.store.adopt(&self.owner).await {
                Ok(()) => self.is_adopted.store(true, Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(
                        cause = error_chain(&error),
                        "nothing is handled until the store is known to be this inbox's"
                    );
                    tokio::select! {
                        () = sleep(ADOPT_RETRY_DELAY) => {}
                        () = self.stopping.cancelled() => return false,
                    }
                }
            }
        }
        true
    }
}

/// Limits and timeouts of an inbox. The builder documents each.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) recording_timeout: Duration,
    pub(crate) in_flight: InFlightLimits,
    pub(crate) quarantine: QuarantineLimits,
    pub(crate) max_concurrent_handlers: usize,
    pub(crate) max_retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) lease: Duration,
    pub(crate) lease_check_interval: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) counterpart_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Daraja's bodies are smaller than 2 KiB.
            max_body_bytes: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            recording_timeout: Duration::from_secs(5),
            in_flight: InFlightLimits::new(1024),
            quarantine: QuarantineLimits::default(),
            max_concurrent_handlers: 64,
            max_retries: RETRIES,
            backoff: Backoff::default(),
            lease: Duration::from_secs(30),
            lease_check_interval: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(2 * 60),
            retention: None,
            counterpart_timeout: Duration::from_secs(3),
        }
    }
}
