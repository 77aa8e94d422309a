//! The shop of `examples/shop`, started for a test beside a simulator: what a suite of your own has, too.
//!
//! Nothing of the application is replaced: its databases, its client of Daraja, its router and its handlers are those
//! of production. Only two settings differ, the base URL of Daraja and the directory of the data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Filter, State};
use mpesa_callbacks_daraja::Daraja as Simulator;
use shop::{Checkout, Daraja, Merchant, Options, Order};
use tokio::net::TcpListener;

/// Longer than anything here takes, also on a machine that has much else to do.
pub const LONG: Duration = Duration::from_mins(1);

/// Where the world reaches the shop. The simulator forwards what is sent there.
pub const PUBLIC_URL: &str = "https://shop.example.com/pay";

/// A shop that runs.
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct TestShop {
    /// Its counter, with the orders and the inbox.
    pub checkout: Checkout,
    /// Its client of Daraja.
    pub daraja: Daraja,
    /// Where it listens.
    pub address: SocketAddr,
}

impl TestShop {
    /// Starts the shop in a directory, at the usual URL, and lets the simulator post to it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(simulator: &Simulator, directory: &Path) -> anyhow::Result<TestShop> {
        TestShop::start_at(simulator, directory, PUBLIC_URL).await
    }

    /// Starts the shop at this public URL.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_at(simulator: &Simulator, directory: &Path, public_url: &str) -> anyhow::Result<TestShop> {
        let shop = TestShop::start_behind(simulator, directory, public_url, |app| app).await?;
        shop::register(&shop.daraja, &shop.checkout.urls).await?;
        Ok(shop)
    }

    /// Starts the shop behind something that wraps its router.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_behind(
        simulator: &Simulator,
        directory: &Path,
        public_url: &str,
        wrap: impl FnOnce(Router) -> Router,
    ) -> anyhow::Result<TestShop> {
        TestShop::start_with(simulator, options(directory.to_owned(), public_url), wrap).await
    }

    /// Starts the shop with these options.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(
        simulator: &Simulator,
        options: Options,
        wrap: impl FnOnce(Router) -> Router,
    ) -> anyhow::Result<TestShop> {
        let merchant = Merchant::of_sandbox(simulator.base_url(), "key".to_owned(), "secret".to_owned());
        let daraja = Daraja::new(merchant);
        let (inbox, orders) = shop::open(&options, Some(daraja.clone())).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let urls = shop::urls(&inbox, &options, address)?;
        let checkout = Checkout::new(orders, inbox, urls, Some(daraja.clone()));
        let app = wrap(shop::app(checkout.clone()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        simulator.forward_to(address);
        Ok(TestShop { checkout, daraja, address })
    }

    /// Waits until the shop has handled everything, and returns an order.
    ///
    /// # Errors
    /// When there is no such order.
    pub async fn order(&self, reference: &str) -> anyhow::Result<Order> {
        self.checkout.inbox.idle(LONG).await;
        let orders = self.checkout.orders.list().await?;
        orders.into_iter().find(|order| order.reference == reference).context("no such order")
    }

    /// Waits until an order has this status.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn becomes(&self, reference: &str, status: &str) -> anyhow::Result<Order> {
        let began = Instant::now();
        loop {
            let order = self.order(reference).await?;
            if order.status == status {
                return Ok(order);
            }
            if began.elapsed() > LONG {
                bail!("still {}: {order:?}", order.status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the shop expects no callback any more, and has asked after none in vain.
    ///
    /// # Errors
    /// When that takes too long, or it has given one up.
    pub async fn nothing_is_overdue(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let expected = self.checkout.inbox.list(&Filter::default().kind(Kind::Overdue)).await?;
            if expected.iter().all(|entry| entry.state == State::Done) {
                return Ok(());
            }
            if expected.iter().any(|entry| entry.state == State::Dead) || began.elapsed() > LONG {
                bail!("still expected: {expected:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the number of payments that the shop has booked for an order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn times_paid(&self, reference: &str) -> anyhow::Result<usize> {
        Ok(self.checkout.orders.payments(reference).await?)
    }
}

/// The options of the tests.
pub fn options(directory: PathBuf, public_url: &str) -> Options {
    Options {
        public_url: Some(public_url.to_owned()),
        // The same after a restart, as in production.
        callback_secret: Some("00112233445566778899aabbccddeeff".to_owned()),
        ..Options::in_directory(directory)
    }
}
