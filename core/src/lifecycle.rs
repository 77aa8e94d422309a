//! Work in progress, and the signals that end it.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The work in progress of an inbox, and the signals that end it.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// Authenticated requests in progress.
    pub(crate) requests: TaskTracker,
    /// Handlers and hooks in progress.
    pub(crate) tasks: TaskTracker,
    /// Background tasks: recording, replay of the spool, maintenance, waking the poller later.
    pub(crate) keepers: TaskTracker,
    /// Cancelled at shutdown: nothing new is claimed.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the grace period is over: running handlers are aborted.
    pub(crate) giving_up: CancellationToken,
    /// Cancelled when nothing more is recorded.
    pub(crate) closing: CancellationToken,
}

impl Lifecycle {
    /// Waits until nothing new is claimed and all handlers have ended.
    pub(crate) async fn drained(&self) {
        self.stopping.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}
