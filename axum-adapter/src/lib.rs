//! Mounts `mpesa-callbacks` into an axum application: a request in, an acknowledgement out.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::routing::any;
use mpesa_callbacks_core::{Acknowledgement, Inbox, Request as Head};

/// A router with all of the inbox's URLs, to nest wherever they should be: `<nest>/<secret>/<path of the kind>`.
///
/// It goes into routers with any state, and beside any middleware. Serve the application with
/// `into_make_service_with_connect_info::<SocketAddr>()` to let the inbox know who sends.
///
/// ```
/// # fn example(inbox: &mpesa_callbacks_core::Inbox) -> axum::Router {
/// axum::Router::new().nest("/pay", mpesa_callbacks_axum::router(inbox))
/// # }
/// ```
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
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| normal(peer.0.ip()));
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let encoding = parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let head = Head::new(parts.method.as_str(), parts.uri.path());
    let head = head.peer(peer).content_length(length).content_encoding(encoding);
    respond(inbox.receive(head, body.into_data_stream()).await)
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn normal(peer: IpAddr) -> IpAddr {
    peer.to_canonical()
}

fn respond(acknowledgement: Acknowledgement) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(acknowledgement.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in acknowledgement.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    *response.body_mut() = Body::from(acknowledgement.into_body().into_owned());
    response
}
