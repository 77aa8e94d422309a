//! Starting an inbox: from validated options to running background tasks.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Kind;
use crate::builder::Options;
use crate::engine::Engine;
use crate::expect::{Expecting, LookAgain};
use crate::handler::MpesaCallbacks;
use crate::inbox::Inbox;
use crate::process::{
    HeldLeases, Room, Settler, WithTransactor, drain, maintain, poll_suspects, prepare, retain, work,
};
use crate::quarantine::Quarantine;
use crate::receive::{Budgets, Guard, InFlightLimiter, Pending, Recorder, Spooling, error_chain};
use crate::routes::Routes;
use crate::secret::Secret;
use crate::source::{IpAllowlist, TrustedProxies};
use crate::start_error::StartError;
use crate::store::{GuardedStore, Owner, Store, StoreError};
use crate::transactor::{Transactor, TransactorError};
use crate::urls::Urls;

/// Longer durations are taken for mistakes.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A store that needs this many times the recording timeout hangs.
const HANGING_FACTOR: u32 = 4;

/// Maximum number of concurrent hooks.
const MAX_HOOKS: usize = 64;

/// Validates the options, adopts the store and starts the background tasks.
pub(crate) async fn start<H, L>(handler: H, transactor: L, mut options: Options) -> Result<Inbox, StartError>
where
    H: MpesaCallbacks<L::Tx> + 'static,
    L: Transactor,
{
    let store = options.store.take().ok_or(StartError::NoStore)?;
    let store: Arc<dyn Store> = Arc::new(GuardedStore::new(store, options.limits.recording_timeout));
    let secrets = secrets(&options)?;
    options.check_limits()?;
    let allowlist = options.allowlist.take().map(IpAllowlist::checked).transpose()?;
    let proxies = options.proxies.take().map(TrustedProxies::checked).transpose()?;
    let guard = Guard::new(&secrets, allowlist, proxies);
    let routes = handler.routes().checked()?;
    check_routes::<L>(&routes, &options.required)?;
    // With a spool, callbacks are accepted while the databases are unavailable.
    let can_wait = options.spool.is_some();
    let inbox = options.name.take().unwrap_or_else(|| handler.name());
    let owner = Owner { inbox, environment: options.environment };
    let is_adopted = adopt(&*store, &owner, can_wait).await?;
    let is_prepared = prepare_transactor(&transactor, can_wait).await?;
    let handling = WithTransactor { handler, transactor };
    let parts = Parts { store, guard, secrets, routes, owner, is_adopted, is_prepared };
    Ok(Inbox::new(parts.run(options, handling)))
}

/// What `start` has validated.
struct Parts {
    store: Arc<dyn Store>,
    guard: Guard,
    secrets: Vec<Secret>,
    routes: Routes,
    owner: Owner,
    is_adopted: bool,
    is_prepared: bool,
}

impl Parts {
    /// Makes the engine and spawns its tasks.
    fn run<H, L>(self, options: Options, handling: WithTransactor<H, L>) -> Arc<Engine>
    where
        H: MpesaCallbacks<L::Tx> + 'static,
        L: Transactor,
    {
        let Parts { store, guard, mut secrets, routes, owner, is_adopted, is_prepared } = self;
        let limits = options.limits;
        let is_expecting = routes.of(&Kind::Overdue).is_some() || !options.required.is_empty();
        let expecting =
            is_expecting.then_some(Expecting { required: options.required, look_again: Arc::new(LookAgain::new()) });
        let (closing, giving_up) = (CancellationToken::new(), CancellationToken::new());
        let (recorder, recording) = Recorder::start(
            store.clone(),
            expecting.clone(),
            limits.recording_timeout.saturating_mul(HANGING_FACTOR),
            closing.clone(),
        );
        let (settler, settling) = Settler::start(store.clone(), limits.lease);
        let kinds: Vec<(Kind, bool)> = routes.iter().map(|route| (route.kind.clone(), !route.implied)).collect();
        let engine = Arc::new(Engine {
            guard,
            in_flight_limiter: InFlightLimiter::new(limits.in_flight),
            quarantine: Quarantine::new(limits.quarantine),
            budgets: Budgets::default(),
            owner,
            is_adopted: AtomicBool::new(is_adopted),
            shown: Mutex::default(),
            secret: secrets.swap_remove(0),
            environment: options.environment,
            public_url: options.public_url,
            room: Arc::new(Room::new(limits.max_concurrent_handlers, &kinds)),
            routes,
            store,
            handling: Arc::new(handling),
            clock: options.clock,
            limits,
            recorder,
            expecting,
            spooling: options.spool.map(Spooling::new),
            settler,
            wake: Arc::new(Notify::new()),
            held_leases: HeldLeases::new(giving_up.clone()),
            hooks: Arc::new(Semaphore::new(MAX_HOOKS)),
            pending: Pending::default(),
            transactor_failures: AtomicU32::new(0),
            giving_up,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            closing,
            requests: TaskTracker::new(),
            keepers: TaskTracker::new(),
        });
        engine.keepers.spawn(recording);
        tokio::spawn(settling);
        engine.spawn_tasks(is_prepared);
        engine
    }
}

impl Engine {
    fn spawn_tasks(self: &Arc<Self>, is_prepared: bool) {
        if self.spooling.is_none() {
            tracing::info!(
                "there is no spool: while the store is away callbacks hear 503, and Daraja does not send them again"
            );
        }
        self.keepers.spawn(drain(self.clone()));
        self.keepers.spawn(retain(self.clone()));
        if !is_prepared {
            self.keepers.spawn(prepare(self.clone()));
        }
        self.tasks.spawn(work(self.clone()));
        self.tasks.spawn(poll_suspects(self.clone()));
        self.keepers.spawn(maintain(self.clone()));
        if let Some(url) = &self.public_url {
            Urls::warn_about(self, url);
        }
    }
}

impl Options {
    fn check_limits(&self) -> Result<(), StartError> {
        let limits = &self.limits;
        for (option, is_zero) in [
            ("max_concurrent_handlers", limits.max_concurrent_handlers == 0),
            ("max_body_bytes", limits.max_body_bytes == 0),
            ("ip_allowlist", self.allowlist.as_ref().is_some_and(IpAllowlist::is_empty)),
            ("max_in_flight", limits.in_flight.by_secret == 0 || limits.in_flight.per_source == Some(0)),
            ("lease", limits.lease.is_zero()),
            ("lease_check_interval", limits.lease_check_interval.is_zero()),
            ("handler_timeout", limits.handler_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(StartError::InvalidOption { option, reason: "must not be 0 or empty" });
            }
        }
        for (option, is_too_large) in [
            ("max_concurrent_handlers", limits.max_concurrent_handlers > Semaphore::MAX_PERMITS.min(u32::MAX as usize)),
            ("lease", limits.lease > MAX_DURATION),
            ("lease_check_interval", limits.lease_check_interval > MAX_DURATION),
            ("handler_timeout", limits.handler_timeout > MAX_DURATION),
            ("body_timeout", limits.body_timeout > MAX_DURATION),
            ("recording_timeout", limits.recording_timeout > MAX_DURATION),
            ("counterpart_timeout", limits.counterpart_timeout > MAX_DURATION),
        ] {
            if is_too_large {
                return Err(StartError::InvalidOption { option, reason: "is too large; durations are at most a week" });
            }
        }
        Ok(())
    }
}

fn secrets(options: &Options) -> Result<Vec<Secret>, StartError> {
    let secrets = options.secrets.iter().cloned().map(Secret::new).collect::<Result<Vec<_>, _>>()?;
    if secrets.is_empty() { Err(StartError::NoSecret) } else { Ok(secrets) }
}

fn check_routes<L: Transactor>(routes: &Routes, required: &[Kind]) -> Result<(), StartError> {
    let transactional = routes.iter().find(|route| route.transactional);
    if let Some(route) = transactional.filter(|_| !L::HAS_TRANSACTIONS) {
        return Err(StartError::NoTransactor { kind: route.kind.clone() });
    }
    match required.iter().find(|kind| !kind.can_be_expected()) {
        Some(kind) => Err(StartError::NotExpectable { kind: kind.clone() }),
        None => Ok(()),
    }
}

/// Adopts the store and reclaims expired leases; `false` if it is unavailable and there is a spool.
async fn adopt(store: &dyn Store, owner: &Owner, can_wait: bool) -> Result<bool, StartError> {
    match store.adopt(owner).await {
        Err(error @ StoreError::Unavailable(_)) if can_wait => {
            tracing::error!(cause = error_chain(&error), "started while the store is away: callbacks go to the spool");
            return Ok(false);
        }
        adopted => adopted?,
    }
    store.reclaim_expired().await?;
    Ok(true)
}

/// Prepares the transactor; `false` if its database is unavailable and there is a spool.
async fn prepare_transactor<L: Transactor>(transactor: &L, can_wait: bool) -> Result<bool, StartError> {
    match transactor.prepare().await {
        Err(error @ TransactorError::Unavailable(_)) if can_wait => {
            tracing::error!(
                cause = error_chain(&error),
                "started while the transactor is away: nothing is handled in transactions"
            );
            Ok(false)
        }
        prepared => Ok(prepared.map(|()| true)?),
    }
}
