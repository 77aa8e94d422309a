//! The HTTP server of the simulator.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request as Received, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Request;
use crate::control;
use crate::world::World;

/// Requests of clients are smaller than 2 KiB.
const LARGEST_BODY: usize = 64 * 1024;

/// Daraja's paths, and the simulator's own below `/_/`.
pub(crate) fn router(world: Arc<World>) -> Router {
    control::routes().fallback(take).with_state(world)
}

async fn take(State(world): State<Arc<World>>, received: Received) -> Response {
    let (parts, body) = received.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().trim_end_matches('/').to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: authorization.map(str::to_owned),
        body: body.to_vec(),
    };
    // Detached, because callbacks before the answer are posted also if the client hangs up.
    let taken = tokio::spawn(async move { world.take(request).await });
    match taken.await {
        Ok((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
