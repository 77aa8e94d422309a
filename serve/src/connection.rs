//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::body::Part;
use super::head;
use super::phase::{Exchange, Phase};
use super::stream::Timed;
use super::timeouts::Timeouts;

/// State shared by all connections.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) app: Router,
    pub(super) timeouts: Timeouts,
    /// Permits for keep-alive connections.
    pub(super) kept: Arc<Semaphore>,
    pub(super) stopping: CancellationToken,
}

/// hyper's limit of a head, and of the bytes that it reads ahead of a body.
const READ_BUFFER: usize = 64 * 1024;

/// Serves one connection until it closes.
pub(super) async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: Shared) {
    let until = Instant::now() + shared.timeouts.head;
    let mut first = [0];
    let came = tokio::select! {
        biased;
        // `readable` may return without data.
        came = timeout_at(until, stream.peek(&mut first)) => matches!(came, Ok(Ok(1))),
        () = shared.stopping.cancelled() => false,
    };
    if !came {
        return;
    }
    // A connection that has sent something is served, also during a shutdown.
    let Ok(Ok(head)) = timeout_at(until, head::gather(&mut stream)).await else { return };
    // A response is one small packet; Nagle's algorithm would only delay it.
    let _ = stream.set_nodelay(true);
    // Boxed, so that slow clients do not pay for its size.
    Box::pin(answer_all(stream, head, until, peer, shared)).await;
}

async fn answer_all(stream: TcpStream, head: Vec<u8>, until: Instant, peer: SocketAddr, shared: Shared) {
    let Shared { app, timeouts, kept, stopping } = shared;
    let phase = Phase::default();
    let io = TokioIo::new(Timed::new(stream, head, until, timeouts, phase.clone()));
    let keeping = Keeping { kept, mine: Mutex::default() };
    let answering = Arc::new(Answering { app, peer, phase, keeping });
    let service = service_fn(move |request: Request<Incoming>| {
        // Now, and not when the future is first polled: hyper reads in between.
        let exchange = answering.phase.answering();
        answer(answering.clone(), exchange, request)
    });
    // hyper's timer would count idle time as part of the next head.
    let mut http = hyper::server::conn::http1::Builder::new();
    http.header_read_timeout(None).max_buf_size(READ_BUFFER);
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let served = tokio::select! {
        // First, so that a received request is begun before hyper is told to stop.
        biased;
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

/// State shared by the requests of one connection.
struct Answering {
    app: Router,
    peer: SocketAddr,
    phase: Phase,
    keeping: Keeping,
}

async fn answer(
    connection: Arc<Answering>,
    exchange: Arc<Exchange>,
    request: Request<Incoming>,
) -> Result<Response<Part<Body>>, Infallible> {
    let is_tunnel = request.method() == Method::CONNECT;
    let mut request = request.map(|body| Body::new(Part::new(body, exchange.clone())));
    request.extensions_mut().insert(ConnectInfo(connection.peer));
    let mut response = connection.app.clone().call(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS || is_tunnel && response.status().is_success() {
        connection.phase.upgraded();
        connection.keeping.give_back();
    } else if !connection.keeping.may_stay() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Part::new(body, exchange)))
}

/// Whether a connection may stay open for another request.
struct Keeping {
    kept: Arc<Semaphore>,
    mine: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Keeping {
    fn may_stay(&self) -> bool {
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.is_none() {
            *mine = self.kept.clone().try_acquire_owned().ok();
        }
        mine.is_some()
    }

    fn give_back(&self) {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
