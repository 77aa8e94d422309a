//! Mounts `mpesa-callbacks` into an actix-web application: a request in, an acknowledgement out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use mpesa_callbacks_core::{Acknowledgement, Inbox, Request as Head};

/// Adds all URLs of the inbox to an application or a scope: `/<secret>/<path of the kind>`.
///
/// Start the inbox once, outside of the closure that makes an application for each worker.
///
/// ```
/// # fn example(inbox: mpesa_callbacks_core::Inbox) {
/// use actix_web::{App, HttpServer, web};
///
/// let server = HttpServer::new(move || {
///     App::new().service(web::scope("/pay").configure(mpesa_callbacks_actix::configure(&inbox)))
/// });
/// # }
/// ```
pub fn configure(inbox: &Inbox) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let inbox = inbox.clone();
    move |config| {
        // One route for everything: the secret is a parameter, so the router compares no part of it.
        config.route("/{tail:.*}", web::to(move |request, body| receive(inbox.clone(), request, body)));
    }
}

async fn receive(inbox: Inbox, request: HttpRequest, body: Payload) -> HttpResponse {
    let headers = request.headers();
    let values = |name: &str| headers.get_all(name).map(HeaderValue::as_bytes).collect();
    let head = Head::new(request.method().as_str(), tail(&request), &values);
    let head = head.peer(request.peer_addr().map(|peer| peer.ip()));
    respond(inbox.receive(head, body).await)
}

/// Returns the raw path below the mount. actix-web decodes the match, so only its number of segments
/// is used.
fn tail(request: &HttpRequest) -> &str {
    let path = request.uri().path();
    let segments = request.match_info().query("tail").matches('/').count() + 1;
    path.rmatch_indices('/').nth(segments - 1).map_or(path, |(at, _)| &path[at..])
}

fn respond(acknowledgement: Acknowledgement) -> HttpResponse {
    let status = StatusCode::from_u16(acknowledgement.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for header in acknowledgement.headers() {
        response.insert_header(header);
    }
    match acknowledgement.into_body() {
        body if body.is_empty() => response.finish(),
        body => response.body(body.into_owned()),
    }
}
