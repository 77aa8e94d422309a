//! The inbox: what gets mounted into an application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use tokio_util::sync::DropGuard;

use crate::Kind;
use crate::builder::InboxBuilder;
use crate::engine::Engine;
use crate::store::StoreError;
use crate::transactor::NoTransactor;

/// Handlers, store, transactor and the machinery between (the *inbox pattern*). It is mounted into
/// a web application.
///
/// Clones share one inbox. When the last clone is dropped, claiming stops; call
/// [`shutdown`](Inbox::shutdown) for a graceful shutdown.
#[derive(Clone)]
pub struct Inbox {
    engine: Arc<Engine>,
    /// Stops the background tasks when the last clone is dropped.
    _alive: Option<Arc<DropGuard>>,
}

impl Inbox {
    /// Returns a builder for an inbox with these handlers.
    pub fn builder<H>(handler: H) -> InboxBuilder<H, NoTransactor> {
        InboxBuilder::new(handler)
    }

    pub(crate) fn new(engine: Arc<Engine>) -> Inbox {
        let alive = Arc::new(engine.stopping.clone().drop_guard());
        Inbox { engine, _alive: Some(alive) }
    }

    /// A handle that does not keep the inbox alive.
    pub(crate) fn within(engine: &Arc<Engine>) -> Inbox {
        Inbox { engine: engine.clone(), _alive: None }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Returns the handled kinds and their paths below the secret.
    pub fn routes(&self) -> impl Iterator<Item = (&Kind, &str)> {
        self.engine.routes.iter().filter_map(|route| Some((&route.kind, route.path.as_deref()?)))
    }

    /// Shuts down gracefully, in this order:
    ///
    /// 1. Nothing new is claimed.
    /// 2. Requests in flight are acknowledged.
    /// 3. Running handlers may finish within `grace`.
    /// 4. The rest is aborted at its next `await` and becomes ready again; the attempt does not
    ///    count.
    /// 5. The store is closed.
    ///
    /// Stop the web server first: later requests are answered with 503.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), StoreError> {
        let engine = &self.engine;
        let began = Instant::now();
        engine.stopping.cancel();
        // Rocket runs shutdown fairings while it still serves requests in flight.
        engine.requests.close();
        let _ = timeout(grace, engine.requests.wait()).await;
        engine.closing.cancel();
        engine.tasks.close();
        if timeout(grace.saturating_sub(began.elapsed()), engine.tasks.wait()).await.is_err() {
            tracing::warn!("handlers did not finish in time; they are run again");
            engine.giving_up.cancel();
            // A handler that blocks its thread cannot be aborted; its lease expires when the
            // process has ended.
            if timeout(ABORT_TIMEOUT, engine.tasks.wait()).await.is_err() {
                tracing::error!("a handler does not stop: it blocks its thread");
                engine.closing.cancel();
                return self.close().await;
            }
        }
        engine.keepers.close();
        if timeout(KEEPERS_TIMEOUT, engine.keepers.wait()).await.is_err() {
            tracing::error!("the store or the spool does not answer; stopped without waiting for it");
        }
        self.close().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let closed = self.engine.store.close().await;
        match &self.engine.spooling {
            Some(spooling) => closed.and(spooling.spool.close().await),
            None => closed,
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("routes", &self.engine.routes)
            .field("store", &self.engine.store)
            .finish_non_exhaustive()
    }
}

/// Timeout for the last writes to store and spool.
const KEEPERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout for an aborted handler.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
