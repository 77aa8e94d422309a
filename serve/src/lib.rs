//! Serves an axum application with timeouts for slow clients and connection limits.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod body;

mod connection;

mod files;

mod head;

mod phase;

mod stream;

mod timeouts;

use std::future::{IntoFuture, Pending, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Shared;
use self::timeouts::Timeouts;

/// Serves an axum application over HTTP/1.1: `axum::serve` with timeouts for slow clients, connection
/// limits and graceful shutdown.
///
/// `axum::serve` of axum 0.8 waits for the head of a request without a limit, and any number of clients
/// may make it wait. This server also passes the peer's address to the inbox. It has no TLS: use a
/// proxy in front.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let app = axum::Router::new(); // `.nest("/pay", axum_adapter::router(&inbox))`
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// mpesa_callbacks_serve::serve(listener, app)
///     .with_graceful_shutdown(async { /* Ctrl-C, SIGTERM */ })
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future stops accepting. Open connections are served to their end.
pub fn serve(listener: TcpListener, app: Router) -> Serve<Pending<()>> {
    let limits = Limits {
        timeouts: Timeouts::default(),
        max_connections: MAX_CONNECTIONS,
        max_keep_alive: MAX_KEEP_ALIVE,
        shutdown_timeout: SHUTDOWN_TIMEOUT,
    };
    Serve { listener, app, limits, signal: pending() }
}

/// A configured server, returned by [`serve`](fn@serve). `.await` starts it.
#[derive(Debug)]
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<F> {
    listener: TcpListener,
    app: Router,
    limits: Limits,
    signal: F,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    timeouts: Timeouts,
    max_connections: usize,
    max_keep_alive: usize,
    shutdown_timeout: Duration,
}

/// Enough for ten thousand idle connections beside the genuine ones.
const MAX_CONNECTIONS: usize = 16_384;

/// Far more than proxies keep open.
const MAX_KEEP_ALIVE: usize = 1024;

/// Longer timeouts are cut to this.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

impl<F> Serve<F> {
    /// Timeout for the head of a request, from its first byte, or from when the connection was opened.
    /// Default: 10 s. At most 24 h. The bodies of callbacks have a timeout of their own
    /// (`InboxBuilder::body_timeout`).
    pub fn head_timeout(mut self, timeout: Duration) -> Serve<F> {
        self.limits.timeouts.head = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Timeout for the next request on an open connection. Default: 75 s. At most 24 h. Keep it longer
    /// than that of the proxy in front (usually 60 s); otherwise the proxy sends a callback into a
    /// connection that is being closed.
    pub fn idle_timeout(mut self, timeout: Duration) -> Serve<F> {
        self.limits.timeouts.idle = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Maximum number of open connections. Default: 16,384. Another one waits until one closes.
    ///
    /// Each is an open file. On Unix the limit of the process is raised at the start, as far as it may
    /// be. If that is not enough, fewer connections are accepted, so that your application can still
    /// open its own files, and a warning is logged.
    pub fn max_connections(mut self, connections: usize) -> Serve<F> {
        self.limits.max_connections = connections;
        self
    }

    /// Maximum number of connections that stay open for another request. Default: 1,024. The next one
    /// gets `connection: close` with its response.
    pub fn max_keep_alive(mut self, connections: usize) -> Serve<F> {
        self.limits.max_keep_alive = connections;
        self
    }

    /// Timeout for requests in progress after the shutdown signal. Default: 10 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Serve<F> {
        self.limits.shutdown_timeout = timeout;
        self
    }

    /// Stops when `signal` completes: no new connections are accepted, idle ones are closed, requests
    /// in progress are completed. Then shut the inbox down.
    pub fn with_graceful_shutdown<G: Future<Output = ()> + Send + 'static>(self, signal: G) -> Serve<G> {
        let Serve { listener, app, limits, .. } = self;
        Serve { listener, app, limits, signal }
    }
}

impl<F: Future<Output = ()> + Send + 'static> IntoFuture for Serve<F> {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<F: Future<Output = ()>> Serve<F> {
    async fn run(self) -> io::Result<()> {
        let Serve { listener, app, limits, signal } = self;
        let Limits { timeouts, max_connections, max_keep_alive, shutdown_timeout } = limits;
        let max_connections = files::room_for(max_connections);
        let room = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let kept = Arc::new(Semaphore::new(max_keep_alive.min(Semaphore::MAX_PERMITS)));
        let (open, stopping) = (TaskTracker::new(), CancellationToken::new());
        let shared = Shared { app, timeouts, kept, stopping: stopping.clone() };
        let mut signal = pin!(signal);
        loop {
            let next = async {
                // The semaphore is never closed.
                let permit = room.clone().acquire_owned().await;
                (permit, accept(&listener).await)
            };
            let (permit, (stream, peer)) = tokio::select! {
                next = next => next,
                () = &mut signal => break,
            };
            let connection = connection::serve(stream, peer, shared.clone());
            open.spawn(async move {
                let _permit = permit;
                connection.await;
            });
        }
        drop(listener);
        stopping.cancel();
        open.close();
        if tokio::time::timeout(shutdown_timeout, open.wait()).await.is_err() {
            tracing::warn!(connections = open.len(), "connections did not end in time");
        }
        Ok(())
    }
}

/// Returns the next connection. Errors concern one connection, or are transient, like too many open
/// files.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
