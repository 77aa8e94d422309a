//! The inbox: what gets mounted. How an application looks into it is in `admin`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use tokio_util::sync::DropGuard;

use crate::builder::InboxBuilder;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::store::StoreError;
use crate::transactor::NoTransactor;

/// Handlers, store, transactor and the machinery between: what gets mounted into a web application.
///
/// Clones are the same inbox. When the last one is dropped it stops claiming; [`shutdown`](Inbox::shutdown) is the
/// orderly way.
#[derive(Clone)]
pub struct Inbox {
    engine: Arc<Engine>,
    /// Stops the background tasks when the last clone goes.
    _alive: Option<Arc<DropGuard>>,
}

impl Inbox {
    /// Begins an inbox for these handlers. [`start`](InboxBuilder::start) checks everything.
    pub fn builder<H>(handler: H) -> InboxBuilder<H, NoTransactor> {
        InboxBuilder::new(handler)
    }

    pub(crate) fn new(engine: Arc<Engine>) -> Inbox {
        let alive = Arc::new(engine.stopping.clone().drop_guard());
        Inbox { engine, _alive: Some(alive) }
    }

    /// Seen from the inside: it does not keep itself alive.
    pub(crate) fn within(engine: &Arc<Engine>) -> Inbox {
        Inbox { engine: engine.clone(), _alive: None }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Which kinds are handled, and where below the secret each is received.
    pub fn routes(&self) -> impl Iterator<Item = (&Kind, &str)> {
        self.engine.routes.iter().filter_map(|route| Some((&route.kind, route.path.as_deref()?)))
    }

    /// Stops in order: nothing new is claimed, requests that have come are acknowledged, nothing more is recorded, what runs may
    /// finish within `grace`, the rest is stopped at its next `await` and goes back to the store with its attempt not counted,
    /// and the store is closed. Stop the web server first: what comes later hears 503.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), StoreError> {
        let engine = &self.engine;
        let began = Instant::now();
        engine.stopping.cancel();
        // Some servers (Rocket) tell of their end while they still serve what has come.
        engine.requests.close();
        let _ = timeout(grace, engine.requests.wait()).await;
        engine.closing.cancel();
        engine.tasks.close();
        if timeout(grace.saturating_sub(began.elapsed()), engine.tasks.wait()).await.is_err() {
            tracing::warn!("handlers did not finish in time; they are run again");
            engine.giving_up.cancel();
            // One that blocks its thread cannot be stopped; its lease expires when the process is gone.
            if timeout(STOPPING, engine.tasks.wait()).await.is_err() {
                tracing::error!("a handler does not stop: it blocks its thread");
                engine.closing.cancel();
                return self.close().await;
            }
        }
        engine.keepers.close();
        if timeout(KEEPING, engine.keepers.wait()).await.is_err() {
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

/// How long the store and the spool may take over what they were given last.
const KEEPING: Duration = Duration::from_secs(30);

/// How long a handler may take to stop once it was told to.
const STOPPING: Duration = Duration::from_secs(5);
