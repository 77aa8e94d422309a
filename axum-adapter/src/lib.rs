//! Mounts `mpesa-callbacks` into an axum application: a request in, an acknowledgement out.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::routing::any;
use mpesa_callbacks_core::{Acknowledgement, Inbox, Request as Head};

/// A router with all of the inbox's URLs, to nest wherever they should be: `<nest>/<secret>/<path of the kind>`.
///
/// It goes into routers with any state, and beside any middleware. Serve the application with [`serve`](fn@serve), or with
/// axum's own and `into_make_service_with_connect_info::<SocketAddr>()`: both let the inbox know who sends.
///
/// ```
/// # fn example(inbox: &mpesa_callbacks_core::Inbox) -> axum::Router {
/// axum::Router::new().nest("/pay", mpesa_callbacks_axum::router(inbox))
/// # }
/// ```
///
/// Of an access log, log axum's `MatchedPath` (`/pay/{*tail}`), never the URI: the secret is in it.
pub fn router<S>(inbox: &Inbox) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let inbox = inbox.clone();
    // One route for everything: the secret is a parameter, and no part of it is compared while routing.
    Router::new().route("/{*tail}", any(move |request: Request<Body>| receive(inbox, request)))
}

async fn receive(inbox: Inbox, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let values = |name: &str| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let head = Head::new(parts.method.as_str(), parts.uri.path(), &values).peer(peer);
    let acknowledging = inbox.receive(head, body.into_data_stream());
    // It lies in the buffer that the connection reads into.
    drop(parts);
    respond(acknowledging.await)
}

fn respond(acknowledgement: Acknowledgement) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(acknowledgement.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in acknowledgement.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    *response.body_mut() = Body::from(acknowledgement.into_body());
    response
}
