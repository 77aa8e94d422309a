//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::phase::{Answering, Deadlines, Phase};
use super::stream::Timed;

/// Serves the requests of one connection, to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    deadlines: Deadlines,
    stopping: CancellationToken,
) {
    // Nothing is set up for somebody who says nothing: ten thousand of them cost little.
    let first_byte = timeout(deadlines.head, stream.readable());
    let came = tokio::select! {
        came = first_byte => matches!(came, Ok(Ok(()))),
        () = stopping.cancelled() => false,
    };
    if !came {
        return;
    }
    // An answer is one small packet; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    let phase = Phase::default();
    let io = TokioIo::new(Timed::new(stream, deadlines, phase.clone()));
    let service = service_fn(move |request| answer(app.clone(), peer, phase.clone(), request));
    // Its own timer would count what a connection idles between two requests as the next one's head.
    let mut http = hyper::server::conn::http1::Builder::new();
    http.header_read_timeout(None);
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, "a connection broke");
    }
}

async fn answer(
    mut app: Router,
    peer: SocketAddr,
    phase: Phase,
    request: hyper::Request<Incoming>,
) -> Result<Response<Answering>, Infallible> {
    phase.answering();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = app.call(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        phase.upgraded();
    }
    Ok(response.map(|body| Answering::new(body, phase)))
}
