//! The inbox, and the three owners of its state.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::DropGuard;

use crate::Kind;
use crate::access::Secret;
use crate::environment::Environment;
use crate::handler::{CallbackContext, InboxHandle};
use crate::lifecycle::Lifecycle;
use crate::process::Processor;
use crate::receive::Receiver;
use crate::record::Recorder;

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
    pub(crate) fn new(engine: Arc<Engine>) -> Inbox {
        let alive = Arc::new(engine.lifecycle.stopping.clone().drop_guard());
        Inbox { engine, _alive: Some(alive) }
    }

    /// Returns a handle that does not keep the inbox alive.
    pub(crate) fn within(engine: &Arc<Engine>) -> Inbox {
        Inbox { engine: engine.clone(), _alive: None }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn handle(&self) -> InboxHandle {
        InboxHandle::new(self.engine.clone())
    }

    /// Returns the handled kinds and their paths below the secret.
    pub fn routes(&self) -> impl Iterator<Item = (&Kind, &str)> {
        self.engine.receiver.routes.iter().filter_map(|route| Some((&route.kind, route.path.as_deref()?)))
    }
}

/// The three owners of an inbox's state, one for each page of a callback's life.
pub(crate) struct Engine {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) processor: Arc<Processor>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// The first secret, which signs per-payment URLs.
    pub(crate) secret: Secret,
    pub(crate) environment: Environment,
    pub(crate) public_url: Option<String>,
}

impl CallbackContext {
    /// Returns the inbox that received the callback, for example to [reconcile](Inbox::reconcile)
    /// from a handler. It does not keep the inbox alive.
    pub fn inbox(&self) -> Inbox {
        match self.inbox.clone().downcast() {
            Some(engine) => Inbox::within(&engine),
            None => unreachable!("only an inbox makes contexts"),
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("routes", &self.engine.receiver.routes)
            .field("store", &self.engine.recorder.store)
            .finish_non_exhaustive()
    }
}
