//! What the steps of a callback's life have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::expect::Expecting;
use crate::process::{Backoff, Handle, InFlight, Settler};
use crate::quarantine::{Quarantine, QuarantineLimits};
use crate::receive::{Guard, Pending, Places, Recorder, Spooling};
use crate::routes::Routes;
use crate::secret::Secret;
use crate::store::Store;
use crate::urls::Environment;

/// What all steps work with.
pub(crate) struct Engine {
    pub(crate) guard: Guard,
    /// One for each request that may be in flight.
    pub(crate) places: Places,
    pub(crate) quarantine: Quarantine,
    /// What per-payment URLs are minted under: the first of the secrets.
    pub(crate) secret: Secret,
    pub(crate) environment: Environment,
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
    /// One for each handler that may run at once.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) in_flight: InFlight,
    /// One for each hook that may run at once.
    pub(crate) hooks: Arc<Semaphore>,
    /// Decisions of validations that may not be on disk yet.
    pub(crate) pending: Pending,
    /// How often in a row the ledger was away.
    pub(crate) ledger_failures: AtomicU32,
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

/// The numbers of an inbox.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) body: usize,
    pub(crate) body_deadline: Duration,
    pub(crate) recording: Duration,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_per_source: usize,
    pub(crate) quarantine: QuarantineLimits,
    pub(crate) concurrency: usize,
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) lease: Duration,
    pub(crate) sweep: Duration,
    pub(crate) handling: Duration,
    pub(crate) retention: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Daraja's bodies are under 2 KiB.
            body: 64 * 1024,
            body_deadline: Duration::from_secs(5),
            recording: Duration::from_secs(5),
            in_flight: 1024,
            in_flight_per_source: 256,
            quarantine: QuarantineLimits::default(),
            concurrency: 64,
            retries: 11,
            backoff: Backoff::default(),
            lease: Duration::from_secs(30),
            sweep: Duration::from_secs(5),
            handling: Duration::from_secs(10 * 60),
            retention: None,
        }
    }
}
