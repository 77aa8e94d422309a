//! What the steps of a callback's life have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::expect::Expecting;
use crate::kind::Kind;
use crate::process::{Backoff, Handle, HeldLeases, RETRIES, Room, Settler};
use crate::quarantine::{Quarantine, QuarantineLimits};
use crate::receive::{Budgets, Guard, InFlightLimiter, InFlightLimits, Pending, Recorder, Spooling, error_chain};
use crate::routes::Routes;
use crate::secret::Secret;
use crate::store::{Owner, Store, catch_panic};
use crate::urls::Environment;

/// What all steps work with.
pub(crate) struct Engine {
    pub(crate) guard: Guard,
    /// One for each request that may be in flight.
    pub(crate) in_flight_limiter: InFlightLimiter,
    pub(crate) quarantine: Quarantine,
    /// What URLs of one payment may still bring.
    pub(crate) budgets: Budgets,
    /// What per-payment URLs are minted under: the first of the secrets.
    pub(crate) secret: Secret,
    pub(crate) environment: Environment,
    pub(crate) public_url: Option<String>,
    /// Whose the store is, once it says so.
    pub(crate) owner: Owner,
    pub(crate) is_adopted: AtomicBool,
    /// The kinds whose waiting was shown in metrics.
    pub(crate) shown: Mutex<HashSet<Kind>>,
    pub(crate) routes: Routes,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handling: Arc<dyn Handle>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) recorder: Recorder,
    /// What is expected, where an application expects anything.
    pub(crate) expecting: Option<Expecting>,
    /// Where callbacks go while the store is away.
    pub(crate) spooling: Option<Spooling>,
    pub(crate) settler: Settler,
    /// Rung when something is ready.
    pub(crate) wake: Arc<Notify>,
    /// Where handlers run.
    pub(crate) room: Arc<Room>,
    pub(crate) held_leases: HeldLeases,
    /// One for each hook that may run at once.
    pub(crate) hooks: Arc<Semaphore>,
    /// Decisions of validations that may not be on disk yet.
    pub(crate) pending: Pending,
    /// How often in a row the transactor was away.
    pub(crate) transactor_failures: AtomicU32,
    /// Requests of those who may speak.
    pub(crate) requests: TaskTracker,
    /// Handlers and hooks.
    pub(crate) tasks: TaskTracker,
    /// Nothing new is claimed.
    pub(crate) stopping: CancellationToken,
    /// What runs is stopped.
    pub(crate) giving_up: CancellationToken,
    /// Nothing new is recorded.
    pub(crate) closing: CancellationToken,
    /// The recorder, the drainer and upkeep.
    pub(crate) keepers: TaskTracker,
}

/// How long to wait before a store that was away is asked again whose it is.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Waits until the store is known to be this inbox's; `false` when the inbox stops before.
    pub(crate) async fn adopted(&self) -> bool {
        while !self.is_adopted.load(Ordering::Relaxed) {
            match catch_panic(self.store.adopt(&self.owner)).await {
                Ok(()) => self.is_adopted.store(true, Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(
                        cause = error_chain(&error),
                        "nothing is handled until the store is known to be this inbox's"
                    );
                    tokio::select! {
                        () = sleep(ASK_AGAIN) => {}
                        () = self.stopping.cancelled() => return false,
                    }
                }
            }
        }
        true
    }
}

/// The numbers of an inbox.
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
            // Daraja's bodies are under 2 KiB.
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
