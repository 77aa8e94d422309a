//! The shop's web application: axum, with the inbox mounted at `/pay`.

mod pages;

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use mpesa_callbacks::{CallbackUrl, axum_adapter};
use serde::Serialize;

use crate::checkout::Checkout;
use crate::orders::{NewOrder, Order};

/// Response to a new order.
#[derive(Debug, Serialize)]
pub struct Placed {
    /// `CallBackURL` for the push of this order; it carries the order's reference.
    pub callback_url: CallbackUrl,
}

/// The shop's web application, with the inbox mounted at `/pay`.
pub fn app(checkout: Checkout) -> Router {
    let inbox = axum_adapter::router(&checkout.inbox);
    Router::new()
        .route("/", get(pages::index))
        .route("/buy", post(pages::buy))
        .route("/order/{reference}", get(pages::order))
        .route("/orders", get(list_orders).post(place_order))
        .with_state(checkout)
        .nest("/pay", inbox)
        .layer(from_fn(log_access))
}

async fn list_orders(State(checkout): State<Checkout>) -> Result<Json<Vec<Order>>, StatusCode> {
    checkout.orders.list().await.map(Json).map_err(internal_error)
}

async fn place_order(
    State(checkout): State<Checkout>,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, Json<Placed>), StatusCode> {
    let callback_url = checkout.urls.stk_for(&order.reference).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
    checkout.orders.place(&order).await.map_err(internal_error)?;
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
