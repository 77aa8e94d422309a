//! The builder of an inbox.

use std::fmt;
use std::sync::Arc;

use super::engine::Inbox;
use super::options::Options;
use super::start::start;
use super::start_error::StartError;
use crate::Kind;
use crate::access::{IpAllowlist, TrustedProxies};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::handler::MpesaCallbacks;
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

    /// Sets whether `GET` or `POST` of `<mount>/<secret>/probe` reports what the inbox sees: kinds and paths,
    /// the sender's address and whether the allowlist has it, how many bytes arrived, whether the store takes
    /// a write, and how many callbacks are in which state. `daraja doctor` asks it. It stores nothing, contains
    /// nothing of a callback, and answers once a second at most. Default: true.
    #[must_use]
    pub fn probe(mut self, is_on: bool) -> InboxBuilder<H, L> {
        self.options.probe = is_on;
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
