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

/// Builds an inbox. [`start`](InboxBuilder::start) validates the options and starts the background
/// tasks.
pub struct InboxBuilder<H, L> {
    handler: H,
    transactor: L,
    options: Options,
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

    /// The application's own database, for handlers that take a `tx`. Default: none.
    #[must_use]
    pub fn transactor<L: Transactor>(self, transactor: L) -> InboxBuilder<H, L> {
        InboxBuilder { handler: self.handler, transactor, options: self.options }
    }
}

impl<H, L> InboxBuilder<H, L> {
    /// Where callbacks are stored. Required.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> InboxBuilder<H, L> {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// Local disk buffer for when the store is unavailable. Callbacks are committed to it,
    /// acknowledged, and replayed into the store when that is back. Without a spool they are
    /// answered with 503, and Daraja does not send them again. Use one directory per process.
    /// Default: none.
    #[must_use]
    pub fn spool(mut self, spool: impl Spool) -> InboxBuilder<H, L> {
        self.options.spool = Some(Arc::new(spool));
        self
    }

    /// Holds successful callbacks of these kinds for which nothing was
    /// [expected](Inbox::expect_callback). Default: none.
    #[must_use]
    pub fn require_expected(mut self, kinds: impl IntoIterator<Item = Kind>) -> InboxBuilder<H, L> {
        self.options.required.extend(kinds);
        self
    }

    /// The secret path segment: at least 128 random bits, for example from `openssl rand -hex 16`.
    /// Required.
    ///
    /// To rotate it, call this twice: new URLs use the first secret, and both are accepted. Remove
    /// the old one when the metric `mpesa_callbacks_received_total` shows no more requests for it.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.secrets.push(secret.into());
        self
    }

    /// IP addresses that may send callbacks, [`IpAllowlist::safaricom`] for example. Default: any;
    /// the secret authenticates the sender.
    #[must_use]
    pub fn ip_allowlist(mut self, allowlist: IpAllowlist) -> InboxBuilder<H, L> {
        self.options.allowlist = Some(allowlist);
        self
    }

    /// Reverse proxies whose `X-Forwarded-For` or `Forwarded` header is trusted to determine the
    /// client IP. Default: none.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> InboxBuilder<H, L> {
        self.options.proxies = Some(proxies);
        self
    }

    /// Name of the inbox. Default: package and handler type, `shop/Shop`.
    ///
    /// A store belongs to the first inbox that uses it. An inbox with another name, or for the
    /// other [environment](InboxBuilder::sandbox), does not start with it, because it would handle
    /// the other inbox's callbacks. Give several inboxes of one handler type names and stores of
    /// their own.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.name = Some(name.into());
        self
    }

    /// Uses Daraja's sandbox: URLs may be `http` or point to a tunnel, and logs contain the errors
    /// of handlers. Default: production.
    #[must_use]
    pub fn sandbox(mut self) -> InboxBuilder<H, L> {
        self.options.environment = Environment::Sandbox;
        self
    }

    /// Public base URL at which the inbox is mounted, `https://shop.example.com/pay`. Used by
    /// [`Inbox::urls`]. Anything that Daraja would not accept is logged as a warning at start.
    /// Default: none.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> InboxBuilder<H, L> {
        self.options.public_url = Some(url.into());
        self
    }

    /// Maximum number of authenticated requests in flight; one more is answered with 503. Default:
    /// 1,024.
    ///
    /// C2B validations have a limit of their own, a quarter of this; one more gets the fallback at
    /// once. Per-payment URLs share half of this, at most four requests per reference.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> InboxBuilder<H, L> {
        let per_source = self.options.limits.in_flight.per_source;
        self.options.limits.in_flight = InFlightLimits { per_source, ..InFlightLimits::new(requests) };
        self
    }

    /// Maximum number of authenticated requests in flight per client IP. Default: no limit, because
    /// Safaricom calls from few addresses, and an [untrusted](InboxBuilder::trusted_proxies) proxy
    /// makes all requests come from one.
    #[must_use]
    pub fn max_in_flight_per_ip(mut self, requests: usize) -> InboxBuilder<H, L> {
        self.options.limits.in_flight.per_source = Some(requests);
        self
    }

    /// Maximum number of quarantined callbacks. When it is exceeded, the oldest are deleted, and
    /// that is logged as an error. Default: 10,000.
    #[must_use]
    pub fn max_quarantined(mut self, callbacks: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.rows = callbacks;
        self
    }

    /// Maximum size of the quarantine, in bytes of bodies. When it is exceeded, the oldest are
    /// deleted, and that is logged as an error. Default: 64 MiB.
    #[must_use]
    pub fn max_quarantined_bytes(mut self, bytes: u64) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.bytes = bytes;
        self
    }

    /// Rate limit for bodies that cannot be parsed, per second, with bursts of ten times as many.
    /// One more is answered with 503 and not stored. Default: 50.
    #[must_use]
    pub fn max_quarantined_per_second(mut self, per_second: u32) -> InboxBuilder<H, L> {
        self.options.limits.quarantine.per_second = per_second;
        self
    }

    /// Maximum number of handlers that run concurrently. Default: 64.
    ///
    /// A quarter is reserved for payments and a quarter is divided among the other kinds, so that
    /// one slow kind cannot block the others. Callbacks that were interrupted repeatedly have a
    /// quarter of this in addition.
    #[must_use]
    pub fn max_concurrent_handlers(mut self, handlers: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_concurrent_handlers = handlers;
        self
    }

    /// How often a failed handler is retried, unless its attribute sets `max_retries`. Default: 60,
    /// which with the default [`Backoff`] is more than 24 hours.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> InboxBuilder<H, L> {
        self.options.limits.max_retries = max_retries;
        self
    }

    /// Delays between retries of a failed handler. Default: [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> InboxBuilder<H, L> {
        self.options.limits.backoff = backoff;
        self
    }

    /// Timeout of a handler, unless its attribute sets `timeout`. Default: 2 minutes.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.handler_timeout = timeout;
        self
    }

    /// How long a claimed callback is reserved for this process; renewed while its handler runs. If
    /// the process dies, another one handles the callback after the lease has expired. Default: 30
    /// s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease = lease;
        self
    }

    /// How often expired leases are looked for. Default: 5 s.
    #[must_use]
    pub fn lease_check_interval(mut self, interval: Duration) -> InboxBuilder<H, L> {
        self.options.limits.lease_check_interval = interval;
        self
    }

    /// Maximum size of a body, in bytes; a larger one is answered with 413. Default: 64 KiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> InboxBuilder<H, L> {
        self.options.limits.max_body_bytes = bytes;
        self
    }

    /// Timeout for reading a body; a slower one is answered with 408. Default: 5 s.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.body_timeout = timeout;
        self
    }

    /// Timeout for committing a delivery to the store. When it expires the delivery goes to the
    /// spool, or is answered with 503 if there is no spool. Default: 5 s.
    #[must_use]
    pub fn recording_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.recording_timeout = timeout;
        self
    }

    /// How long a payment without a [reference](crate::payload::Payment::reference) waits for its
    /// counterpart before it is handled without one. Default: 3 s; zero disables waiting.
    ///
    /// A push to a short code with C2B URLs is reported twice, in either order: the STK callback
    /// knows the order from its URL, the C2B confirmation contains the account that the customer
    /// typed. If the order becomes known later, `#[payment_completed]` runs. A payment does not
    /// wait if its order is known from its URL or from an [expectation](Inbox::expect_callback), or
    /// if only one of the two kinds is received.
    #[must_use]
    pub fn counterpart_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.counterpart_timeout = timeout;
        self
    }

    /// How long bodies of callbacks that are done are kept; [`Inbox::purge`] runs every hour.
    /// Bodies contain names and phone numbers. Default: forever.
    #[must_use]
    pub fn retention(mut self, age: Duration) -> InboxBuilder<H, L> {
        self.options.limits.retention = Some(age);
        self
    }

    /// Clock that stamps deliveries. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> InboxBuilder<H, L> {
        self.options.clock = clock;
        self
    }

    /// Validates the options, adopts the store and starts the background tasks on the current Tokio
    /// runtime. Callbacks that an earlier process left are handled.
    ///
    /// # Errors
    /// [`StartError`] says what is missing or invalid, and what to do.
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
