//! Telling the application's hooks: once, in the background, with nothing hanging on it.

use crate::delivery::Delivery;
use crate::engine::Engine;

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// `on_duplicate`
    Duplicate,
    /// `on_conflict`
    Conflict,
    /// `on_dead`
    Dead,
}

impl Engine {
    /// A hook that panics or hangs does so in a task of its own.
    pub(crate) fn tell(&self, notice: Notice, delivery: Delivery) {
        let handling = self.handling.clone();
        let limit = self.limits.handling;
        self.tasks.spawn(async move {
            if tokio::time::timeout(limit, handling.notice(notice, &delivery)).await.is_err() {
                tracing::warn!(callback = %delivery.id(), ?notice, "a hook took too long");
            }
        });
    }
}
