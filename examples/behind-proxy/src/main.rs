//! An inbox behind nginx that accepts callbacks from Safaricom's addresses only.
//!
//! ```sh
//! cargo run -p behind-proxy           # listens on 127.0.0.1:3000; run nginx with the `nginx.conf` beside this file
//! ```
//!
//! Safaricom's addresses are the default; `SOURCES=127.0.0.1` lets you try it from your own machine.

use std::time::Duration;
use std::{env, io};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;
use mpesa_callbacks::{IpAllowlist, Secret, TrustedProxies, axum_adapter};
use tokio::net::TcpListener;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    /// Incoming money, once per receipt.
    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext) {
        println!("{} received for {:?}, told by {:?}", payment.amount, payment.order(), ctx.client_ip());
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let sources = match env::var("SOURCES") {
        Ok(sources) => IpAllowlist::new(sources.split(',')),
        Err(_) => IpAllowlist::safaricom(),
    };
    let secret =
        env::var("CALLBACK_SECRET").or_else(|_| Secret::generate().map(|secret| secret.expose().to_owned()))?;
    let inbox = Inbox::builder(Shop)
        .store(SqliteStore::open(env::var("INBOX").unwrap_or_else(|_| "inbox.db".to_owned()))?)
        .secret(secret)
        // Only nginx is trusted: the address that it appends to `X-Forwarded-For` is the client IP. For other
        // peers the client IP is their own address.
        .trusted_proxies(TrustedProxies::addresses(["127.0.0.1"]))
        .ip_allowlist(sources)
        .sandbox() // no TLS in front; in production call `.public_url("https://…/pay")` instead
        .start()
        .await?;
    println!("{}", inbox.urls_at("http://127.0.0.1:8080/pay")?);

    let app = axum::Router::new().nest("/pay", axum_adapter::router(&inbox));
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    mpesa_callbacks::serve(listener, app).with_graceful_shutdown(stop).await?;
    inbox.shutdown(Duration::from_secs(20)).await?;
    Ok(())
}
