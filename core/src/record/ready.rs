//! Notifies pollers that a callback is ready.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::Kind;
use crate::handler::Permits;
use crate::lifecycle::Lifecycle;
use crate::store::Store;

/// Notifies pollers that a callback is ready: this process's, or those of its peers.
pub(crate) struct Ready {
    wake: Notify,
    permits: Arc<Permits>,
    store: Arc<dyn Store>,
    lifecycle: Arc<Lifecycle>,
}

impl Ready {
    pub(crate) fn new(permits: Arc<Permits>, store: Arc<dyn Store>, lifecycle: Arc<Lifecycle>) -> Ready {
        Ready { wake: Notify::new(), permits, store, lifecycle }
    }

    /// A callback of this kind is ready. If this process has no permit for it, another may.
    pub(crate) fn announce(&self, kind: &Kind) {
        match self.permits.admits(kind) && !self.lifecycle.stopping.is_cancelled() {
            true => self.wake.notify_one(),
            false => self.store.notify_peers(),
        }
    }

    /// Something may be ready: this process's poller looks.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until something may be ready.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}
