//! Starting an inbox: from validated options to running background tasks.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};

use super::engine::{Engine, Inbox};
use super::options::Options;
use super::start_error::StartError;
use super::urls::Urls;
use crate::Kind;
use crate::access::{Guard, IpAllowlist, Secret, TrustedProxies};
use crate::error_chain::error_chain;
use crate::handler::{Handle, Hooks, InboxHandle, MpesaCallbacks, Permits, Routes, WithTransactor};
use crate::lifecycle::Lifecycle;
use crate::process::{HeldLeases, Processor, Settler, maintain, poll, poll_suspects, prepare, replay_spool, retain};
use crate::receive::{BodyReader, Parser, Probe, Receiver, Validator};
use crate::record::{
    Budgets, CommitQueue, Expecting, LookAgain, PendingDecisions, Quarantine, Ready, Recorder, Spooling,
};
use crate::store::{GuardedStore, Owner, Store, StoreError};
use crate::transactor::{Transactor, TransactorError};

/// A store that needs this many times the recording timeout hangs.
const HANGING_FACTOR: u32 = 4;

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
    let guard = Guard::new(&secrets, allowlist, proxies, options.limits.in_flight, options.clock.clone());
    let routes = handler.routes().checked()?;
    check_routes::<L>(&routes, &options.required)?;
    // With a spool, callbacks are accepted while the databases are unavailable.
    let can_wait = options.spool.is_some();
    let inbox = options.name.take().unwrap_or_else(|| handler.name());
    let owner = Owner { inbox, environment: options.environment };
    let is_adopted = adopt(&*store, &owner, can_wait).await?;
    let handling: Arc<dyn Handle> = Arc::new(WithTransactor { handler, transactor });
    let is_prepared = prepare_transactor(&*handling, can_wait).await?;
    let parts = Parts { store, guard, secrets, routes, owner, is_adopted, is_prepared };
    Ok(Inbox::new(parts.run(options, handling)))
}

/// Options and parts that `start` has validated.
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
    /// Makes the three owners and spawns their tasks.
    fn run(self, options: Options, handling: Arc<dyn Handle>) -> Arc<Engine> {
        let Parts { store, guard, mut secrets, routes, owner, is_adopted, is_prepared } = self;
        let (limits, clock, environment) = (options.limits, options.clock, owner.environment);
        let lifecycle = Arc::new(Lifecycle::default());
        let kinds: Vec<(Kind, bool)> = routes.iter().map(|route| (route.kind.clone(), !route.implied)).collect();
        let permits = Arc::new(Permits::new(limits.max_concurrent_handlers, &kinds));
        let ready = Arc::new(Ready::new(permits.clone(), store.clone(), lifecycle.clone()));
        let hooks = Arc::new(Hooks::new(handling.clone(), store.clone(), limits.handler_timeout, lifecycle.clone()));
        let is_expecting = routes.of(&Kind::Overdue).is_some() || !options.required.is_empty();
        let expecting = is_expecting
            .then_some(Expecting { required: options.required, look_again: Arc::new(LookAgain::new(clock.now())) });
        let (queue, recording) = CommitQueue::start(
            store.clone(),
            expecting.clone(),
            limits.recording_timeout.saturating_mul(HANGING_FACTOR),
            lifecycle.closing.clone(),
        );
        lifecycle.keepers.spawn(recording);
        let (settler, settling) = Settler::start(store.clone(), limits.lease);
        tokio::spawn(settling);
        let recorder = Arc::new(Recorder {
            store: store.clone(),
            routes: routes.clone(),
            clock: clock.clone(),
            queue,
            quarantine: Quarantine::new(limits.quarantine),
            budgets: Budgets::default(),
            decisions: PendingDecisions::default(),
            expecting,
            spooling: options.spool.map(Spooling::new),
            hooks: hooks.clone(),
            ready: ready.clone(),
            recording_timeout: limits.recording_timeout,
            lifecycle: lifecycle.clone(),
        });
        let receiver = Arc::new(Receiver {
            guard,
            routes: routes.clone(),
            reader: BodyReader { max_bytes: limits.max_body_bytes, timeout: limits.body_timeout, clock: clock.clone() },
            parser: Parser { routes: routes.clone(), is_expecting, counterpart_timeout: limits.counterpart_timeout },
            validator: Validator { handling: handling.clone(), recorder: recorder.clone() },
            recorder: recorder.clone(),
            probe: Probe::new(options.probe),
            environment,
            lifecycle: lifecycle.clone(),
        });
        let processor = Arc::new(Processor {
            leases: HeldLeases::new(store.clone(), limits.lease, lifecycle.giving_up.clone()),
            store,
            routes,
            clock,
            recorder: recorder.clone(),
            handling,
            hooks,
            permits,
            ready,
            settler,
            transactor_failures: AtomicU32::new(0),
            limits,
            owner,
            is_adopted: AtomicBool::new(is_adopted),
            shown: Mutex::default(),
            lifecycle: lifecycle.clone(),
        });
        let (secret, public_url) = (secrets.swap_remove(0), options.public_url);
        let engine = Arc::new(Engine { receiver, recorder, processor, lifecycle, secret, environment, public_url });
        engine.spawn_tasks(is_prepared);
        engine
    }
}

impl Engine {
    fn spawn_tasks(self: &Arc<Self>, is_prepared: bool) {
        if self.recorder.spooling.is_none() {
            tracing::info!(
                "there is no spool: while the store is unavailable, callbacks are answered with 503, and Daraja does not send them again"
            );
        }
        let Lifecycle { keepers, tasks, .. } = &*self.lifecycle;
        let (processor, inbox) = (&self.processor, InboxHandle::new(self.clone()));
        keepers.spawn(replay_spool(self.receiver.clone(), processor.limits.recording_timeout, inbox.clone()));
        keepers.spawn(retain(processor.clone()));
        if !is_prepared {
            keepers.spawn(prepare(processor.clone()));
        }
        tasks.spawn(poll(processor.clone(), inbox.clone()));
        tasks.spawn(poll_suspects(processor.clone(), inbox.clone()));
        keepers.spawn(maintain(processor.clone(), inbox));
        if let Some(url) = &self.public_url {
            Urls::warn_about(self, url);
        }
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
            tracing::error!(
                cause = error_chain(&error),
                "started while the store is unavailable: callbacks go to the spool"
            );
            return Ok(false);
        }
        adopted => adopted?,
    }
    store.reclaim_expired().await?;
    Ok(true)
}

/// Prepares the transactor; `false` if its database is unavailable and there is a spool.
async fn prepare_transactor(handling: &dyn Handle, can_wait: bool) -> Result<bool, StartError> {
    match handling.prepare().await {
        Err(error @ TransactorError::Unavailable(_)) if can_wait => {
            tracing::error!(
                cause = error_chain(&error),
                "started while the transactor is unavailable: nothing is handled in transactions"
            );
            Ok(false)
        }
        prepared => Ok(prepared.map(|()| true)?),
    }
}
