//! The shop: handlers, orders, inbox and web application. `actix-shop` and `rocket-shop` are the same shop
//! in other frameworks.

pub mod checkout;

pub mod daraja;

pub mod demo;

mod handlers;

mod options;

mod orders;

mod web;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::Urls;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;
use mpesa_callbacks::transactor::SqlxTransactor;

pub use self::checkout::Checkout;
pub use self::daraja::{Daraja, Merchant};
pub use self::handlers::Shop;
pub use self::options::Options;
pub use self::orders::{BookingError, NewOrder, Order, Orders};
pub use self::web::{Placed, app};

/// Opens the shop's two databases and starts its inbox.
///
/// # Errors
/// When a database cannot be opened or an option is invalid.
pub async fn open(options: &Options, daraja: Option<Daraja>) -> anyhow::Result<(Inbox, Orders)> {
    std::fs::create_dir_all(&options.data_dir)
        .with_context(|| format!("cannot create {}", options.data_dir.display()))?;
    let orders = Orders::open(&options.data_dir.join("shop.db")).await?;
    let lease = options.lease()?;
    let inbox = Inbox::builder(Shop::new(orders.clone(), daraja, Duration::from_mins(options.give_up_minutes)))
        .store(SqliteStore::open(options.data_dir.join("inbox.db"))?)
        .transactor(SqlxTransactor::new(orders.pool()))
        .secret(options.secret()?.expose())
        .sandbox() // this shop is on a developer's machine; a real one says `.public_url("https://…")` instead
        .lease(lease)
        .lease_check_interval(lease / 6)
        .start()
        .await?;
    Ok((inbox, orders))
}

/// Returns the callback URLs of the shop: below its public URL, or at this address.
///
/// # Errors
/// When the public URL is not a URL.
pub fn urls(inbox: &Inbox, options: &Options, address: SocketAddr) -> anyhow::Result<Urls> {
    match &options.public_url {
        Some(url) => inbox.urls_at(url).context("PUBLIC_URL"),
        None => Ok(inbox.urls_at(&format!("http://{address}/pay"))?),
    }
}

/// Registers the C2B URLs of the shop, and enables pull.
///
/// # Errors
/// When Daraja does not answer.
pub async fn register(daraja: &Daraja, urls: &Urls) -> anyhow::Result<()> {
    let (confirmation, validation) = (urls.url(&Kind::C2bConfirmation)?, urls.url(&Kind::C2bValidation)?);
    let register = serde_json::json!({
        "ShortCode": daraja.short_code(), "ResponseType": "Completed",
        "ConfirmationURL": confirmation.as_str(), "ValidationURL": validation.as_str(),
    });
    daraja.post("/mpesa/c2b/v2/registerurl", register).await?;
    daraja.enable_pull(confirmation.as_str()).await
}

/// Returns instructions: the URLs for Safaricom, and a command that tries one.
///
/// # Errors
/// Never, because the shop handles payments.
pub fn directions(urls: &Urls, address: SocketAddr) -> anyhow::Result<String> {
    let body = r#"{"TransID":"RKTQDM7W6S","TransTime":"20260101120000","TransAmount":"10.00","BusinessShortCode":"600638","BillRefNumber":"ORDER-1","MSISDN":"254700000000"}"#;
    let confirmation = urls.url(&Kind::C2bConfirmation)?;
    Ok(format!(
        "The shop listens on http://{address}, and has its orders at http://{address}/orders.\n\n\
         Callback URLs, to register or to send with each request (behind your public https address):\n{urls}\n\
         Try one:\n  curl -i -H 'content-type: application/json' -d '{body}' {confirmation}\n"
    ))
}
