//! The shop: its application, its handlers, its orders.

pub mod demo;

mod handlers;

mod orders;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{Secret, axum_adapter};

pub use self::handlers::Shop;
pub use self::orders::{NewOrder, Order, Orders};

/// Where the shop keeps things, and its secret.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the two database files: `inbox.db` is the library's, `shop.db` the shop's own.
    pub data_dir: PathBuf,
    /// The secret in the callback URLs.
    pub secret: Secret,
    /// For how long a process may handle a callback before it must ask again.
    pub lease: Duration,
}

/// A shop that is open.
#[derive(Debug)]
pub struct Running {
    /// The web application, to be served.
    pub app: Router,
    /// The inbox, to look into and to shut down.
    pub inbox: Inbox,
    /// The shop's own database.
    pub orders: Orders,
}

/// Opens the shop.
///
/// # Errors
/// When one of the databases cannot be opened.
pub async fn start(options: &Options) -> anyhow::Result<Running> {
    std::fs::create_dir_all(&options.data_dir)
        .with_context(|| format!("cannot create {}", options.data_dir.display()))?;
    let orders = Orders::open(&options.data_dir.join("shop.db")).await?;
    let inbox = Inbox::builder(Shop::new(orders.clone()))
        .store(SqliteStore::open(options.data_dir.join("inbox.db"))?)
        .ledger(SqlxLedger::new(orders.pool()))
        .secret(options.secret.expose())
        .lease(options.lease)
        .sweep_every(options.lease / 6)
        .start()
        .await?;
    Ok(Running { app: app(&inbox, orders.clone()), inbox, orders })
}

/// The shop's web application, with the inbox mounted at `/pay`.
pub fn app(inbox: &Inbox, orders: Orders) -> Router {
    Router::new()
        .route("/orders", get(list_orders).post(place_order))
        .with_state(orders)
        .nest("/pay", axum_adapter::router(inbox))
}

async fn list_orders(State(orders): State<Orders>) -> Result<Json<Vec<Order>>, StatusCode> {
    orders.list().await.map(Json).map_err(internal_error)
}

async fn place_order(State(orders): State<Orders>, Json(order): Json<NewOrder>) -> Result<StatusCode, StatusCode> {
    orders.place(&order).await.map_err(internal_error)?;
    Ok(StatusCode::CREATED)
}

fn internal_error(error: sqlx::Error) -> StatusCode {
    tracing::error!(%error, "the shop's database fails");
    StatusCode::INTERNAL_SERVER_ERROR
}

/// What to do with a shop that listens here: the URLs to give to Safaricom, and a line that tries one.
pub fn directions(inbox: &Inbox, address: SocketAddr, secret: &Secret) -> String {
    let base = format!("http://{address}/pay/{}", secret.expose());
    let mut text = format!("The shop listens on http://{address}, and has its orders at http://{address}/orders.\n\n");
    text.push_str("Callback URLs, to register or to send with each request (behind your public https address):\n");
    for (kind, path) in inbox.routes() {
        let _ = writeln!(text, "  {:<18} {base}{path}", kind.name());
    }
    let body = r#"{"TransID":"RKTQDM7W6S","TransTime":"20260101120000","TransAmount":"10.00","BusinessShortCode":"600638","BillRefNumber":"ORDER-1","MSISDN":"254700000000"}"#;
    let _ =
        write!(text, "\nTry one:\n  curl -i -H 'content-type: application/json' -d '{body}' {base}/c2b/confirmation\n");
    text
}
