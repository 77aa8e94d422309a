//! Mounts `mpesa-callbacks` into an axum application: a request in, an acknowledgement out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::routing::any;
use mpesa_callbacks_core::{Acknowledgement, Inbox, Request as Head};

/// Returns a router with all URLs of the inbox, `/<secret>/<path of the kind>`, to nest anywhere.
///
/// It fits into routers with any state and any middleware. Serve your application with
/// `mpesa_callbacks::serve`, or with `axum::serve` and
/// `into_make_service_with_connect_info::<SocketAddr>()`: both pass the peer's IP address.
///
/// ```
/// # fn example(inbox: &mpesa_callbacks_core::Inbox) -> axum::Router {
/// axum::Router::new().nest("/pay", mpesa_callbacks_axum::router(inbox))
/// # }
/// ```
///
/// In an access log, write axum's `MatchedPath` (`/pay/{*tail}`), not the URI, which contains the
/// secret.
pub fn router<S>(inbox: &Inbox) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let inbox = inbox.clone();
    // One route for everything: the secret is a parameter, so the router compares no part of it.
    Router::new().route("/{*tail}", any(move |request: Request<Body>| receive(inbox, request)))
}

async fn receive(inbox: Inbox, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let values = |name: &str| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let head = Head::new(parts.method.as_str(), parts.uri.path(), &values).peer(peer);
    let acknowledging = inbox.receive(head, body.into_data_stream());
    // Free the connection's read buffer, which the head borrows from.
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
