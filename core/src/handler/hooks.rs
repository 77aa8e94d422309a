//! Calls the application's hooks: once, in the background; nothing depends on their result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::context::CallbackContext;
use super::transactional::{Handle, Hook};
use crate::lifecycle::Lifecycle;
use crate::store::Store;

/// Maximum number of concurrent hooks.
const MAX_HOOKS: usize = 64;

/// Calls hooks in tasks of their own.
pub(crate) struct Hooks {
    handling: Arc<dyn Handle>,
    store: Arc<dyn Store>,
    timeout: Duration,
    lifecycle: Arc<Lifecycle>,
    permits: Arc<Semaphore>,
}

impl Hooks {
    pub(crate) fn new(
        handling: Arc<dyn Handle>,
        store: Arc<dyn Store>,
        timeout: Duration,
        lifecycle: Arc<Lifecycle>,
    ) -> Hooks {
        Hooks { handling, store, timeout, lifecycle, permits: Arc::new(Semaphore::new(MAX_HOOKS)) }
    }

    /// Calls a hook in its own task, where it may panic or hang. Concurrency is limited; a
    /// duplicate does not wait for a permit. The body is loaded when there is a permit, so that
    /// waiting hooks need little memory.
    pub(crate) fn call(&self, hook: Hook, ctx: CallbackContext) {
        let (handling, permits) = (self.handling.clone(), self.permits.clone());
        if matches!(hook, Hook::Duplicate) && permits.available_permits() == 0 {
            return;
        }
        let timeout = self.timeout;
        let (store, ctx) = (self.store.clone(), ctx.with_body(None));
        let calling = async move {
            let Ok(_permit) = permits.acquire_owned().await else { return };
            // Call the hook without a body if it cannot be loaded.
            let body = store.get(ctx.id()).await.ok().flatten().and_then(|entry| entry.body);
            let ctx = ctx.with_body(body);
            if tokio::time::timeout(timeout, handling.call_hook(hook, &ctx)).await.is_err() {
                tracing::warn!(callback = %ctx.id(), ?hook, "a hook took too long");
            }
        };
        let giving_up = self.lifecycle.giving_up.clone();
        self.lifecycle.tasks.spawn(async move {
            tokio::select! {
                () = calling => {}
                () = giving_up.cancelled() => {}
            }
        });
    }
}
