//! Callbacks in a table of the application's own database.
//!
//! ```sh
//! export EVENTS_SECRET=$(openssl rand -hex 16)   # HMAC key for events whose payload was deleted: keep it
//! cargo run -p own-store                         # listens on 127.0.0.1:3000; events are in events.db
//! ```
//!
//! The store is in `lib.rs`; `cargo test -p own-store` runs the contract of stores on it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{Secret, axum_adapter};
use own_store::PartnerEvents;
use tokio::net::TcpListener;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    /// Incoming money, once per receipt.
    #[payment]
    async fn paid(&self, payment: Payment) {
        println!("{} received", payment.amount);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let secret = std::env::var("EVENTS_SECRET").ok().and_then(|text| text.into_bytes().try_into().ok());
    let secret = secret.context("EVENTS_SECRET must have 32 characters: `openssl rand -hex 16` prints them")?;
    let events = PartnerEvents::open(Path::new("events.db"), secret).await?;
    let inbox = Inbox::builder(Shop).store(events).secret(Secret::generate()?.expose()).sandbox().start().await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("{}", inbox.urls_at("http://127.0.0.1:3000/pay")?);

    let app = axum::Router::new().nest("/pay", axum_adapter::router(&inbox));
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    mpesa_callbacks::serve(listener, app).with_graceful_shutdown(stop).await?;
    inbox.shutdown(Duration::from_secs(20)).await?;
    Ok(())
}
