//! The builder's limits: how much at once, how often, how long.

use std::time::Duration;

use super::builder::InboxBuilder;
use crate::access::InFlightLimits;
use crate::process::Backoff;

impl<H, L> InboxBuilder<H, L> {
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
    /// [expectation](crate::Inbox::expect_callback), or if you receive only one of the
    /// two kinds. If you send no STK pushes, set it to zero: payments that
    /// customers start are then handled at once.
    #[must_use]
    pub fn counterpart_timeout(mut self, timeout: Duration) -> InboxBuilder<H, L> {
        self.options.limits.counterpart_timeout = timeout;
        self
    }

    /// Sets how long bodies of callbacks that are done are kept;
    /// [`Inbox::purge`](crate::Inbox::purge) then runs every hour. Bodies contain names and phone
    /// numbers: your privacy policy decides. Default: forever.
    #[must_use]
    pub fn retention(mut self, age: Duration) -> InboxBuilder<H, L> {
        self.options.limits.retention = Some(age);
        self
    }
}
