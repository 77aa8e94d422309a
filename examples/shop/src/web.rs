//! The shop's web application: axum, with the inbox mounted at `/pay`.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{CallbackUrl, Urls, axum_adapter};
use serde::Serialize;

use crate::orders::{NewOrder, Order, Orders};

/// State of the shop's own routes.
#[derive(Clone, Debug)]
struct Desk {
    orders: Orders,
    urls: Urls,
}

/// Response to a new order.
#[derive(Debug, Serialize)]
pub struct Placed {
    /// `CallBackURL` for the push of this order; it carries the order's reference.
    pub callback_url: CallbackUrl,
}

/// The shop's web application, with the inbox mounted at `/pay`.
pub fn app(inbox: &Inbox, urls: Urls, orders: Orders) -> Router {
    Router::new()
        .route("/orders", get(list_orders).post(place_order))
        .with_state(Desk { orders, urls })
        .nest("/pay", axum_adapter::router(inbox))
        .layer(from_fn(log_access))
}

async fn list_orders(State(desk): State<Desk>) -> Result<Json<Vec<Order>>, StatusCode> {
    desk.orders.list().await.map(Json).map_err(internal_error)
}

async fn place_order(
    State(desk): State<Desk>,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, Json<Placed>), StatusCode> {
    let callback_url = desk.urls.stk_for(&order.reference).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
    desk.orders.place(&order).await.map_err(internal_error)?;
    Ok((StatusCode::CREATED, Json(Placed { callback_url })))
}

/// An access log with routes. The path contains the secret.
async fn log_access(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let (began, method) = (Instant::now(), request.method().clone());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    tracing::info!(%method, path = path.as_ref().map_or("-", MatchedPath::as_str), status, ?took, "answered");
    response
}

fn internal_error(error: sqlx::Error) -> StatusCode {
    tracing::error!(%error, "the shop's database fails");
    StatusCode::INTERNAL_SERVER_ERROR
}
