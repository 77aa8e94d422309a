//! The builder of an inbox.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Inbox;
use super::options::Options;
use super::start::start;
use super::start_error::StartError;
use crate::Kind;
use crate::access::InFlightLimits;
use crate::access::{IpAllowlist, TrustedProxies};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::handler::MpesaCallbacks;
use crate::process::Backoff;
use crate::store::{Spool, Store};
use crate::transactor::{NoTransactor, Transactor};

/// Builds an inbox. [`start`](InboxBuilder::start) validates your options and
/// starts the background tasks.
///
/// You get one from [`Inbox::builder`]. A store and a secret are required; each
/// other option documents its default.
///
/// ```
/// use mpesa_callbacks_core::store::MemoryStore;
/// use mpesa_callbacks_core::{Inbox, IpAllowlist, MpesaCallbacks, StartError};
///
/// async fn start<H: MpesaCallbacks + 'static>(handlers: H, secret: String) -> Result<Inbox, StartError> {
///     Inbox::builder(handlers)
///         .store(MemoryStore::new()) // in production: SQLite or PostgreSQL
///         .secret(secret)
///         .public_url("https://shop.example.com/pay")
///         .ip_allowlist(IpAllowlist::safaricom().report_only())
///         .start()
///         .await
/// }
/// ```
pub struct InboxBuilder<H, L> {
    handler: H,
    transactor: L,
    pub(crate) options: Options,
}

impl Inbox {
    /// Returns a builder for an inbox with these handlers.
    pub fn builder<H>(handler: H) -> InboxBuilder<H, NoTransactor> {
        InboxBuilder::new(handler)
    }
}

impl<H> InboxBuilder<H, NoTransactor> {
    pub(crate) fn new(handler: H) -> InboxBuilder<H, NoTransactor> {
        InboxBuilder { handler, transactor: NoTransactor, options: Options::default() }
    }

    /// Sets the transactor: it opens transactions of your own database for
    /// handlers that take a `tx`. Your handler's writes and the idempotency key
    /// of the callback are committed together, so the callback is applied
    /// exactly once. Default: none; then no handler may take a `tx`.
    #[must_use]
    pub fn transactor<L: Transactor>(self, transactor: L) -> InboxBuilder<H, L> {
        InboxBuilder { handler: self.handler, transactor, options: self.options }
    }
}

impl<H, L> InboxBuilder<H, L> {
    /// Sets the store, in which your callbacks are kept. Required.
    ///
    /// SQLite fits one machine, PostgreSQL several. You can also write your
    /// own: see [`Store`](crate::store::Store). An `Arc` of a store is a store,
    /// too.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> InboxBuilder<H, L> {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// Sets a local buffer for when the store is unavailable. Default: none.
    ///
    /// Your callbacks are committed to it, acknowledged, and replayed into the
    /// store when that is back. Without a spool they are answered with 503, and
    /// Daraja does not send them again. Give each of your processes a directory
    /// of its own, on a disk that outlives the process.
    #[must_use]
    pub fn spool(mut self, spool: impl Spool) -> InboxBuilder<H, L> {
        self.options.spool = Some(Arc::new(spool));
        self
    }

    /// Holds successful callbacks of these kinds for which you have not
    /// [expected](Inbox::expect_callback) anything. Default: none.
    ///
    /// Use it if your application records an expectation before every request:
    /// a forged success is then held, even if its sender knows the secret.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mpesa_callbacks_core::*;
    /// # fn example<H, L>(builder: InboxBuilder<H, L>) -> InboxBuilder<H, L> {
    /// builder.require_expected([Kind::Stk, Kind::B2cResult])
    /// # }
    /// ```
    #[must_use]
    pub fn require_expected(mut self, kinds: impl IntoIterator<Item = Kind>) -> InboxBuilder<H, L> {
        self.options.required.extend(kinds);
        self
    }

    /// Sets the secret path segment of your callback URLs: at least 128 random
    /// bits, for example from `openssl rand -hex 16`. Required.
    ///
    /// To rotate it, call this twice: your new URLs use the first secret, and
    /// both are accepted. Per-payment URLs that were signed with the old one
    /// are valid as long as you configure it, so remove it after they have
    /// expired.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mpesa_callbacks_core::*;
    /// # fn example<H, L>(builder: InboxBuilder<H, L>) -> InboxBuilder<H, L> {
    /// builder
    ///     .secret("8f3c0a52d9b14e6fa7705bd2c3e19a44") // new
    ///     .secret("00112233445566778899aabbccddeeff") // old: remove it in a week
    /// # }
    /// ```
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.secrets.push(secret.into());
        self
    }

    /// Sets the IP addresses that may send callbacks to you,
    /// [`IpAllowlist::safaricom`] for example. Default: any; the secret
    /// authenticates the sender.
    ///
    /// Begin with [`report_only`](IpAllowlist::report_only), and make it strict
    /// when all your genuine callbacks come from listed addresses.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mpesa_callbacks_core::*;
    /// # fn example<H, L>(builder: InboxBuilder<H, L>) -> InboxBuilder<H, L> {
    /// builder.ip_allowlist(IpAllowlist::safaricom().report_only())
    /// # }
    /// ```
    #[must_use]
    pub fn ip_allowlist(mut self, allowlist: IpAllowlist) -> InboxBuilder<H, L> {
        self.options.allowlist = Some(allowlist);
        self
    }

    /// Sets the reverse proxies in front of your application. Their
    /// `X-Forwarded-For` or `Forwarded` header then determines the client IP.
    /// Default: none, and the client IP is that of the connection.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mpesa_callbacks_core::*;
    /// # fn example<H, L>(builder: InboxBuilder<H, L>) -> InboxBuilder<H, L> {
    /// builder.trusted_proxies(TrustedProxies::addresses(["10.0.0.0/8"]))
    /// # }
    /// ```
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> InboxBuilder<H, L> {
        self.options.proxies = Some(proxies);
        self
    }

    /// Sets the name of the inbox. Default: your package and handler type,
    /// `shop/Shop`.
    ///
    /// A store belongs to the first inbox that uses it. An inbox with another
    /// name, or for the other [environment](InboxBuilder::sandbox), does not
    /// start with it, because it would handle the other inbox's callbacks. If
    /// you run several inboxes of one handler type, give them names and stores
    /// of their own. Set the default name explicitly before you rename your
    /// package or type.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.name = Some(name.into());
        self
    }

    /// Uses Daraja's sandbox: your URLs may be `http` or point to a tunnel, and
    /// the logs contain the errors of your handlers. Default: production.
    #[must_use]
    pub fn sandbox(mut self) -> InboxBuilder<H, L> {
        self.options.environment = Environment::Sandbox;
        self
    }

    /// Sets the public base URL at which you mount the inbox,
    /// `https://shop.example.com/pay`. [`Inbox::urls`] needs it. Anything that
    /// Daraja would not accept is logged as a warning at start. Default: none.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.public_url = Some(url.into());
        self
    }

    /// Sets the maximum number of authenticated requests in flight; one more is
    /// answered with 503. Default: 1,024.
    ///
    /// Two classes of requests have permits of their own, so that they cannot
    /// block the others: C2B validations a quarter as many (one more gets the
    /// fallback at once), per-payment URLs half as many, and at most four per
    /// reference.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> InboxBuilder<H, L> {
        let per_source = self.options.limits.in_flight.per_source;
        self.options.limits.in_flight = InFlightLimits { per_source, ..InFlightLimits::new(requests) };
        self
    }

    /// Sets the maximum number of authenticated requests in flight per client
    /// IP. Default: no limit, because Safaricom calls from few addresses, and
    /// an [untrusted](InboxBuilder::trusted_proxies) proxy makes all requests
    /// come from one.
    #[must_use]
    pub fn max_in_flight_per_ip(mut self, requests: usize) -> InboxBuilder<H, L> {
        self.options.limits.in_flight.per_source = Some(requests);
        self
    }

    /// Sets the maximum number of quarantined callbacks. When it is exceeded,
    /// the oldest are deleted, and that is logged as an error. Default: 10,000.
    #[must_use]
    pub fn max_quarantined(mut self, callbacks: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.rows = callbacks;
        self
    }

    /// Sets the maximum size of the quarantine, in bytes of bodies. When it is
    /// exceeded, the oldest are deleted, and that is logged as an error.
    /// Default: 64 MiB.
    #[must_use]
    pub fn max_quarantined_bytes(mut self, bytes: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.bytes = bytes;
        self
    }

    /// Sets the rate limit for bodies that cannot be parsed, per second, with
    /// bursts of ten times as many. One more is answered with 503 and not
    /// stored. Default: 50.
    #[must_use]
    pub fn max_quarantined_per_second(mut self, per_second: u32) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.per_second = per_second;
        self
    }

    /// Sets the maximum number of your handlers that run concurrently. Default:
    /// 64.
    ///
    /// A quarter is reserved for payments and a quarter is divided among the
    /// other kinds, so that one slow kind cannot block the others. Callbacks
    /// that were interrupted repeatedly have a quarter of this in addition. A
    /// handler that waits 100 ms for another service completes 640 callbacks
    /// per second with the default.
    #[must_use]
    pub fn max_concurrent_handlers(mut self, handlers: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_concurrent_handlers = handlers;
        self
    }

    /// Sets how often a failed handler is retried, unless its attribute sets
    /// `max_retries`. Then the callback is dead. Default: 60, which with the
    /// default [`Backoff`] takes 25 to 50 hours.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> InboxBuilder<H, L> {
        self.options.limits.max_retries = max_retries;
        self
    }

    /// Sets the delays between the attempts of a failed handler. Default:
    /// [`Backoff::default`], from 2 s to 1 h with jitter.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mpesa_callbacks_core::*;
    /// # fn example<H, L>(builder: InboxBuilder<H, L>) -> InboxBuilder<H, L> {
    /// builder.backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(600)))
    /// # }
    /// ```
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> InboxBuilder<H, L> {
        self.options.limits.backoff = backoff;
        self
    }

    /// Sets the timeout of a handler, unless its attribute sets `timeout`.
    /// Default: 2 minutes; at most a week.
    ///
    /// A handler that exceeds it is stopped at its next `await`, and the
    /// attempt has failed.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.handler_timeout = timeout;
        self
    }

    /// Sets how long a claimed callback is reserved for this process; the lease
    /// is renewed while your handler runs. If the process dies, another one
    /// handles the callback after the lease has expired. Default: 30 s; at most
    /// a week.
    ///
    /// A shorter lease recovers faster and needs more writes. Keep it well
    /// above pauses of your machine.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease = lease;
        self
    }

    /// Sets the interval at which expired leases are looked up and made ready
    /// again. Default: 5 s; at most a week.
    #[must_use]
    pub fn lease_check_interval(mut self, interval: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease_check_interval = interval;
        self
    }

    /// Sets the maximum size of a body, in bytes; a larger one is answered with
    /// 413. Default: 64 KiB. Daraja's bodies are smaller than 2 KiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_body_bytes = bytes;
        self
    }

    /// Sets the timeout for reading a body; a slower one is answered with 408.
    /// Default: 5 s; at most a week.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.body_timeout = timeout;
        self
    }

    /// Sets the timeout for committing a delivery to the store. When it expires
    /// the delivery goes to the spool, or is answered with 503 if you have
    /// configured none. Default: 5 s; at most a week.
    #[must_use]
    pub fn recording_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.recording_timeout = timeout;
        self
    }

    /// Sets how long a payment without a
    /// [reference](crate::payload::Payment::reference) waits for its
    /// counterpart before it is handled without one. Default: 3 s; zero
    /// disables waiting.
    ///
    /// A push to a short code with C2B URLs is reported twice, in either order:
    /// the STK callback knows your order from its URL, the C2B confirmation
    /// contains the account that the customer typed. If the order becomes known
    /// later, `#[payment_completed]` runs.
    ///
    /// A payment does not wait if its order is known from its URL or from an
    /// [expectation](Inbox::expect_callback), or if you receive only one of the
    /// two kinds. If you send no STK pushes, set it to zero: payments that
    /// customers start are then handled at once.
    #[must_use]
    pub fn counterpart_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.counterpart_timeout = timeout;
        self
    }

    /// Sets how long bodies of callbacks that are done are kept;
    /// [`Inbox::purge`] then runs every hour. Bodies contain names and phone
    /// numbers: your privacy policy decides. Default: forever.
    #[must_use]
    pub fn retention(mut self, age: Duration) -> InboxBuilder<H, L> {
        self.options.limits.retention = Some(age);
        self
    }

    /// Sets the clock that stamps deliveries and checks the expiry of
    /// per-payment URLs; replace it in your tests. Default:
    /// [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> InboxBuilder<H, L> {
        self.options.clock = clock;
        self
    }

    /// Validates your options, adopts the store and starts the background tasks
    /// on the current Tokio runtime. Callbacks that an earlier process left are
    /// handled.
    ///
    /// With a [spool](InboxBuilder::spool) it also starts while the store or
    /// the transactor is unavailable: your callbacks then go to the spool, and
    /// are handled when the database is back.
    ///
    /// If the future is dropped, nothing was started.
    ///
    /// # Errors
    /// [`StartError`]: an option is missing or invalid, the routes of your
    /// handlers contradict each other, the store belongs to another inbox, or a
    /// database is unavailable. Its text names the remedy.
    pub async fn start(self) -> Result<Inbox, StartError>
    where
        H: MpesaCallbacks<L::Tx> + 'static,
        L: Transactor,
    {
        start(self.handler, self.transactor, self.options).await
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
