//! Serving an axum application to a network that may be hostile.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod body;

mod connection;

mod files;

mod head;

mod phase;

mod stream;

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
use self::phase::Deadlines;

/// Serves an application over HTTP/1.1, and gives up on clients that dawdle.
///
/// `axum::serve` of axum 0.8 waits for the head of a request for as long as the client likes, and any number of clients may
/// make it wait. This one limits that, and tells the inbox who sends. TLS is the business of a proxy in front, as ever.
///
/// ```no_run
/// # async fn example(inbox: mpesa_callbacks_core::Inbox) -> std::io::Result<()> {
/// let app = axum::Router::new().nest("/pay", mpesa_callbacks_axum::router(&inbox));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// mpesa_callbacks_serve::serve(listener, app)
///     .with_graceful_shutdown(async { /* Ctrl-C, SIGTERM */ })
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # If the caller goes away
/// Dropping the future stops accepting; connections that are open are served to their end.
pub fn serve(listener: TcpListener, app: Router) -> Serve<Pending<()>> {
    let limits = Limits { deadlines: Deadlines::default(), connections: CONNECTIONS, kept: KEPT, drain: DRAIN };
    Serve { listener, app, limits, signal: pending() }
}

/// A server that was configured, and is started by `.await`. Made by [`serve`](fn@serve).
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
    deadlines: Deadlines,
    connections: usize,
    kept: usize,
    drain: Duration,
}

/// Enough for ten thousand that idle, beside the genuine ones.
const CONNECTIONS: usize = 16_384;

/// Far more than proxies keep.
const KEPT: usize = 1024;

/// No deadline of a server makes sense beyond a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const DRAIN: Duration = Duration::from_secs(10);

impl<F> Serve<F> {
    /// How long the head of a request may take, from its first byte, or from when the connection was opened; 10 seconds
    /// unless said otherwise. Bodies that go to the inbox have a deadline of their own (`InboxBuilder::body_timeout`).
    pub fn head_timeout(mut self, deadline: Duration) -> Serve<F> {
        self.limits.deadlines.head = deadline.min(LONGEST);
        self
    }

    /// How long a connection may idle between two requests; 75 seconds unless said otherwise. Keep it longer than that of
    /// the proxy in front (60 seconds, as a rule), or the proxy sends a callback into a connection that is being closed.
    pub fn idle_timeout(mut self, deadline: Duration) -> Serve<F> {
        self.limits.deadlines.idle = deadline.min(LONGEST);
        self
    }

    /// How many connections may be open at once; 16,384 unless said otherwise. One more waits until another closes.
    ///
    /// Each is an open file: on Unix the process's limit is raised when serving starts, as far as it may be. Where that is not
    /// enough, fewer connections are accepted, so that the application can still open its own files, and the log says so.
    pub fn connections(mut self, connections: usize) -> Serve<F> {
        self.limits.connections = connections;
        self
    }

    /// How many connections may stay open after their answers, for another request; 1,024 unless said otherwise. One more
    /// hears `connection: close` with its answer.
    pub fn kept_connections(mut self, connections: usize) -> Serve<F> {
        self.limits.kept = connections;
        self
    }

    /// How long requests may take to end once the signal to stop has come; 10 seconds unless said otherwise.
    pub fn drain(mut self, drain: Duration) -> Serve<F> {
        self.limits.drain = drain;
        self
    }

    /// Stops when this future ends: nothing new is accepted, idle connections are closed, requests are served to their end.
    /// Shut the inbox down after that.
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
        let Serve { listener, app, limits: Limits { deadlines, connections, kept, drain }, signal } = self;
        let connections = files::room_for(connections);
        let room = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
        let kept = Arc::new(Semaphore::new(kept.min(Semaphore::MAX_PERMITS)));
        let (open, stopping) = (TaskTracker::new(), CancellationToken::new());
        let shared = Shared { app, deadlines, kept, stopping: stopping.clone() };
        let mut signal = pin!(signal);
        loop {
            let next = async {
                // Closed by nobody.
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
        if tokio::time::timeout(drain, open.wait()).await.is_err() {
            tracing::warn!(connections = open.len(), "connections did not end in time");
        }
        Ok(())
    }
}

/// The next connection. What fails is the connection's fault, or passes: too many open files, say.
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
