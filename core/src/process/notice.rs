//! Calls the application's hooks: once, in the background; nothing depends on their result.

use crate::context::CallbackContext;
use crate::engine::Engine;

/// The hook to call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// Calls `on_duplicate`.
    Duplicate,
    /// Calls `on_conflict`.
    Conflict,
    /// Calls `on_dead`.
    Dead,
    /// Calls `on_quarantine`.
    Quarantine,
}

impl Engine {
    /// Calls a hook in its own task, where it may panic or hang. Concurrency is limited; a
    /// duplicate does not wait for a permit. The body is loaded when there is a permit, so that
    /// waiting hooks need little memory.
    pub(crate) fn tell(&self, notice: Notice, ctx: CallbackContext) {
        let (handling, room, give_up) = (self.handling.clone(), self.hooks.clone(), self.giving_up.clone());
        if matches!(notice, Notice::Duplicate) && room.available_permits() == 0 {
            return;
        }
        let limit = self.limits.handler_timeout;
        let (store, ctx) = (self.store.clone(), ctx.with_body(None));
        let telling = async move {
            let Ok(_room) = room.acquire_owned().await else { return };
            // Call the hook without a body if it cannot be loaded.
            let body = store.get(ctx.id()).await.ok().flatten().and_then(|entry| entry.body);
            let ctx = ctx.with_body(body);
            if tokio::time::timeout(limit, handling.notice(notice, &ctx)).await.is_err() {
                tracing::warn!(callback = %ctx.id(), ?notice, "a hook took too long");
            }
        };
        self.tasks.spawn(async move {
            tokio::select! {
                () = telling => {}
                () = give_up.cancelled() => {}
            }
        });
    }
}
