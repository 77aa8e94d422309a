//! Putting an inbox together.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::engine::{Engine, Limits};
use crate::expect::Expecting;
use crate::handler::MpesaCallbacks;
use crate::inbox::Inbox;
use crate::kind::Kind;
use crate::process::{
    Backoff, HeldLeases, Room, Settler, WithTransactor, drain, maintain, poll_suspects, prepare, retain, work,
};
use crate::quarantine::Quarantine;
use crate::receive::{Budgets, Guard, InFlightLimiter, InFlightLimits, Pending, Recorder, Spooling, error_chain};
use crate::secret::Secret;
use crate::source::{IpAllowlist, TrustedProxies};
use crate::start_error::StartError;
use crate::store::{Owner, Spool, Store, StoreError};
use crate::transactor::{NoTransactor, Transactor, TransactorError};
use crate::urls::{Environment, Urls};

/// Puts an inbox together; [`start`](InboxBuilder::start) checks everything and begins.
pub struct InboxBuilder<H, L> {
    handler: H,
    transactor: L,
    options: Options,
}

/// Everything but the handler and its transactions.
struct Options {
    store: Option<Arc<dyn Store>>,
    spool: Option<Arc<dyn Spool>>,
    required: Vec<Kind>,
    secrets: Vec<String>,
    allowlist: Option<IpAllowlist>,
    proxies: Option<TrustedProxies>,
    name: Option<String>,
    environment: Environment,
    public_url: Option<String>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl<H> InboxBuilder<H, NoTransactor> {
    pub(crate) fn new(handler: H) -> InboxBuilder<H, NoTransactor> {
        let options = Options {
            store: None,
            spool: None,
            required: Vec::new(),
            secrets: Vec::new(),
            allowlist: None,
            proxies: None,
            name: None,
            environment: Environment::Production,
            public_url: None,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        };
        InboxBuilder { handler, transactor: NoTransactor, options }
    }

    /// The application's own database, for handlers that take a `tx`.
    #[must_use]
    pub fn transactor<L: Transactor>(self, transactor: L) -> InboxBuilder<H, L> {
        InboxBuilder { handler: self.handler, transactor, options: self.options }
    }
}

impl<H, L> InboxBuilder<H, L> {
    /// Where callbacks are kept.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> InboxBuilder<H, L> {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// Where callbacks go while the store is away: onto this machine's disk, acknowledged, and into the store when it is back.
    /// Without one they hear 503 then, and Daraja does not send them again. Each process has a spool of its own.
    #[must_use]
    pub fn spool(mut self, spool: impl Spool) -> InboxBuilder<H, L> {
        self.options.spool = Some(Arc::new(spool));
        self
    }

    /// Money of these kinds that nobody asked for is held and shown, and not handled: callbacks that tell of a success and
    /// for which nothing was [expected](Inbox::expect_callback).
    #[must_use]
    pub fn require_expected(mut self, kinds: impl IntoIterator<Item = Kind>) -> InboxBuilder<H, L> {
        self.options.required.extend(kinds);
        self
    }

    /// The secret path segment, at least 128 random bits (`openssl rand -hex 16`). Say it again for a second one that is
    /// valid too: register URLs with the new one, and take the old one away once nothing comes to it. New URLs are made
    /// with the first.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.secrets.push(secret.into());
        self
    }

    /// The addresses from which callbacks are taken: [`IpAllowlist::safaricom`]. From anywhere, unless said otherwise; the secret
    /// is the first fence, and this the second.
    #[must_use]
    pub fn ip_allowlist(mut self, allowlist: IpAllowlist) -> InboxBuilder<H, L> {
        self.options.allowlist = Some(allowlist);
        self
    }

    /// The proxies in front of the application, that are believed when they tell who spoke to them.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> InboxBuilder<H, L> {
        self.options.proxies = Some(proxies);
        self
    }

    /// The inbox's name. Default: the package's and the handler type's, `shop/Shop`.
    ///
    /// A store belongs to one inbox: the first that uses it. One with another name, or in the other
    /// [environment](InboxBuilder::sandbox), does not start with that store, because it would handle the other's callbacks.
    /// Several inboxes of one handler type (one for each pay bill, for instance) need names, and stores, of their own.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.name = Some(name.into());
        self
    }

    /// The inbox is for Daraja's sandbox: its URLs may be `http`, or those of a tunnel to a developer's machine.
    #[must_use]
    pub fn sandbox(mut self) -> InboxBuilder<H, L> {
        self.options.environment = Environment::Sandbox;
        self
    }

    /// Where the world reaches the place at which the inbox is mounted: `https://shop.example.com/pay`. Whatever Daraja
    /// would not like about the URLs below it is logged as a warning when the inbox starts.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.public_url = Some(url.into());
        self
    }

    /// How many requests that know the secret may be in flight at once. Default: 1,024. One more is answered with 503.
    ///
    /// Others have places of their own and cannot keep these out: C2B validations a quarter as many (one more is answered at once
    /// as if nobody had decided), URLs of one payment half as many, four of them for each payment.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> InboxBuilder<H, L> {
        let per_source = self.options.limits.in_flight.per_source;
        self.options.limits.in_flight = InFlightLimits { per_source, ..InFlightLimits::new(requests) };
        self
    }

    /// How many of the requests that know the secret may come from one address. Default: no limit. Safaricom calls from few
    /// addresses, and through a proxy that is not [trusted](InboxBuilder::trusted_proxies) everything comes from one.
    #[must_use]
    pub fn max_in_flight_per_ip(mut self, requests: usize) -> InboxBuilder<H, L> {
        self.options.limits.in_flight.per_source = Some(requests);
        self
    }

    /// How many callbacks that cannot be read are kept, and how many bytes of them; 10,000 and 64 MiB unless said
    /// otherwise. The oldest go first, and it is logged as an error.
    #[must_use]
    pub fn max_quarantined(mut self, callbacks: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.rows = callbacks;
        self
    }

    /// Limit of the quarantine's size, in bytes of bodies. Default: 64 MiB. When it is exceeded, the oldest are deleted, and
    /// that is logged as an error.
    #[must_use]
    pub fn max_quarantined_bytes(mut self, bytes: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.bytes = bytes;
        self
    }

    /// How many callbacks a second may come that cannot be read; 50 unless said otherwise, and ten times as many at once
    /// after a pause. One more hears 503, and is not kept.
    #[must_use]
    pub fn max_quarantined_per_second(mut self, per_second: u32) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.per_second = per_second;
        self
    }

    /// How many handlers run at once; 64 unless said otherwise. A quarter of it is kept for payments, and another quarter shared
    /// out among the other kinds, so that handlers of one kind that hang do not stop the others. Callbacks that were
    /// interrupted again and again have a quarter more, beside the others.
    #[must_use]
    pub fn max_concurrent_handlers(mut self, handlers: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_concurrent_handlers = handlers;
        self
    }

    /// How often a handler that failed is tried again; 60 times unless said otherwise, here or at the handler. With the default
    /// [`Backoff`] that is more than a day.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> InboxBuilder<H, L> {
        self.options.limits.max_retries = max_retries;
        self
    }

    /// When a handler that failed is tried again.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> InboxBuilder<H, L> {
        self.options.limits.backoff = backoff;
        self
    }

    /// How long a handler may take; 2 minutes unless said otherwise, here or at the handler.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.handler_timeout = timeout;
        self
    }

    /// For how long a process has the right to handle a callback before it must ask again; 30 seconds unless said
    /// otherwise. A callback whose process died is handled again after this long and a sweep.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease = lease;
        self
    }

    /// How often expired leases are looked for; every 5 seconds unless said otherwise.
    #[must_use]
    pub fn lease_check_interval(mut self, interval: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease_check_interval = interval;
        self
    }

    /// The largest body that is read, in bytes; 64 KiB unless said otherwise.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_body_bytes = bytes;
        self
    }

    /// How long a body may take to come; 5 seconds unless said otherwise.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.body_timeout = timeout;
        self
    }

    /// How long recording may take before the callback goes to the spool, or its sender hears 503; 5 seconds unless said
    /// otherwise.
    #[must_use]
    pub fn recording_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.recording_timeout = timeout;
        self
    }

    /// How long a payment without a [reference](crate::payload::Payment::reference) waits for its counterpart, before it is
    /// handled as it is. Default: 3 s; 0 is not at all.
    ///
    /// A push to a short code with C2B URLs is told of twice, in either order: the STK callback knows the order from its URL,
    /// the C2B confirmation has the account that the customer typed. Should the order become known later than this,
    /// `#[payment_completed]` is told. Nothing waits whose order is known from its URL, from what was
    /// [expected](Inbox::expect_callback), or where only one of the two is received.
    #[must_use]
    pub fn counterpart_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.counterpart_timeout = timeout;
        self
    }

    /// How long the bodies of callbacks that are done are kept; for ever unless said otherwise. They hold names and phone numbers.
    /// What makes a callback recognisable stays. Looked at every hour: see [`Inbox::purge`].
    #[must_use]
    pub fn retention(mut self, age: Duration) -> InboxBuilder<H, L> {
        self.options.limits.retention = Some(age);
        self
    }

    /// The clock by which deliveries are stamped.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> InboxBuilder<H, L> {
        self.options.clock = clock;
        self
    }

    /// Checks everything and begins to work, in the current Tokio runtime. Whatever an earlier process left behind is
    /// taken up again.
    ///
    /// # Errors
    /// [`StartError`] says what is missing or wrong, and what to do.
    pub async fn start(self) -> Result<Inbox, StartError>
    where
        H: MpesaCallbacks<L::Tx> + 'static,
        L: Transactor,
    {
        let options = self.options;
        let store = options.store.ok_or(StartError::NoStore)?;
        let mut secrets = options.secrets.into_iter().map(Secret::new).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(StartError::NoSecret);
        }
        let limits = options.limits;
        for (option, is_zero) in [
            ("max_concurrent_handlers", limits.max_concurrent_handlers == 0),
            ("max_body_bytes", limits.max_body_bytes == 0),
            ("ip_allowlist", options.allowlist.as_ref().is_some_and(IpAllowlist::is_empty)),
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
            ("lease", limits.lease > LONGEST),
            ("lease_check_interval", limits.lease_check_interval > LONGEST),
            ("handler_timeout", limits.handler_timeout > LONGEST),
            ("body_timeout", limits.body_timeout > LONGEST),
            ("recording_timeout", limits.recording_timeout > LONGEST),
            ("counterpart_timeout", limits.counterpart_timeout > LONGEST),
        ] {
            if is_too_large {
                return Err(StartError::InvalidOption { option, reason: "is too large; durations are at most a week" });
            }
        }
        let allowlist = options.allowlist.map(IpAllowlist::checked).transpose()?;
        let proxies = options.proxies.map(TrustedProxies::checked).transpose()?;
        let routes = self.handler.routes().checked()?;
        let transactional = routes.iter().find(|route| route.transactional);
        if let Some(route) = transactional.filter(|_| !L::HAS_TRANSACTIONS) {
            return Err(StartError::NoTransactor { kind: route.kind.clone() });
        }
        if let Some(kind) = options.required.iter().find(|kind| !kind.can_be_expected()) {
            return Err(StartError::NotExpectable { kind: kind.clone() });
        }
        let is_expecting = routes.of(&Kind::Overdue).is_some() || !options.required.is_empty();
        let expecting = is_expecting.then_some(Expecting { required: options.required });
        // With a spool, callbacks are taken also when the databases are away.
        let can_wait = options.spool.is_some();
        let inbox = options.name.unwrap_or_else(|| self.handler.name());
        let owner = Owner { inbox, environment: options.environment };
        let is_adopted = match store.adopt(&owner).await {
            Err(error @ StoreError::Unavailable(_)) if can_wait => {
                tracing::error!(
                    cause = error_chain(&error),
                    "started while the store is away: callbacks go to the spool"
                );
                false
            }
            adopted => adopted.map(|()| true)?,
        };
        if is_adopted {
            store.reclaim_expired().await?;
        }
        let is_prepared = match self.transactor.prepare().await {
            Err(error @ TransactorError::Unavailable(_)) if can_wait => {
                tracing::error!(
                    cause = error_chain(&error),
                    "started while the transactor is away: nothing is handled in transactions"
                );
                false
            }
            prepared => prepared.map(|()| true)?,
        };

        let closing = CancellationToken::new();
        let giving_up = CancellationToken::new();
        let (recorder, recording) = Recorder::start(
            store.clone(),
            expecting.clone(),
            limits.recording_timeout.saturating_mul(HANGING),
            closing.clone(),
        );
        let (settler, settling) = Settler::start(store.clone(), limits.lease);
        let kinds: Vec<(Kind, bool)> = routes.iter().map(|route| (route.kind.clone(), !route.implied)).collect();
        let engine = Arc::new(Engine {
            guard: Guard::new(&secrets, allowlist, proxies),
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
            handling: Arc::new(WithTransactor { handler: self.handler, transactor: self.transactor }),
            clock: options.clock,
            limits,
            recorder,
            expecting,
            spooling: options.spool.map(Spooling::new),
            settler,
            wake: Arc::new(Notify::new()),
            held_leases: HeldLeases::new(giving_up.clone()),
            hooks: Arc::new(Semaphore::new(HOOKS)),
            pending: Pending::default(),
            transactor_failures: AtomicU32::new(0),
            giving_up,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            closing,
            requests: TaskTracker::new(),
            keepers: TaskTracker::new(),
        });
        if engine.spooling.is_none() {
            tracing::info!(
                "there is no spool: while the store is away callbacks hear 503, and Daraja does not send them again"
            );
        }
        engine.keepers.spawn(recording);
        engine.keepers.spawn(drain(engine.clone()));
        engine.keepers.spawn(retain(engine.clone()));
        if !is_prepared {
            engine.keepers.spawn(prepare(engine.clone()));
        }
        tokio::spawn(settling);
        engine.tasks.spawn(work(engine.clone()));
        engine.tasks.spawn(poll_suspects(engine.clone()));
        engine.keepers.spawn(maintain(engine.clone()));
        if let Some(url) = &engine.public_url {
            Urls::warn_about(&engine, url);
        }
        Ok(Inbox::new(engine))
    }
}

impl<H, L: fmt::Debug> fmt::Debug for InboxBuilder<H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxBuilder")
            .field("store", &self.options.store)
            .field("transactor", &self.transactor)
            .field("limits", &self.options.limits)
            .finish_non_exhaustive()
    }
}

/// No duration of an inbox makes sense beyond a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A store that takes so many times as long as recording may take hangs.
const HANGING: u32 = 4;

/// How many hooks run at once.
const HOOKS: usize = 64;
