//! Telling the application's hooks: once, in the background, with nothing hanging on it.

use crate::context::CallbackContext;
use crate::engine::Engine;
use crate::store::catch_panic;

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// `on_duplicate`
    Duplicate,
    /// `on_conflict`
    Conflict,
    /// `on_dead`
    Dead,
    /// `on_quarantine`
    Quarantine,
}

impl Engine {
    /// A hook that panics or hangs does so in a task of its own. Only so many run at once; when there is no room, a
    /// duplicate is not worth waiting for. The body is loaded when there is room, so that those which wait take little.
    pub(crate) fn tell(&self, notice: Notice, ctx: CallbackContext) {
        let (handling, room, give_up) = (self.handling.clone(), self.hooks.clone(), self.giving_up.clone());
        if matches!(notice, Notice::Duplicate) && room.available_permits() == 0 {
            return;
        }
        let limit = self.limits.handler_timeout;
        let (store, ctx) = (self.store.clone(), ctx.with_body(None));
        let telling = async move {
            let Ok(_room) = room.acquire_owned().await else { return };
            // What cannot be loaded now can be looked at later; the hook is told all the same.
            let body = catch_panic(store.get(ctx.id())).await.ok().flatten().and_then(|entry| entry.body);
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
