//! How an attempt to handle a callback ended.

use std::time::Duration;

use crate::handler::CallbackContext;
use crate::payload::Sensitive;

/// How handling ended, for `settle`.
pub(crate) enum HandlerExit {
    /// The handler succeeded, or had nothing to do.
    Done,
    /// The attempt failed; there are more.
    Retry {
        /// Delay before the next attempt.
        after: Duration,
        /// The error of the handler. It may contain personal data.
        error: Sensitive,
    },
    /// It was not handled, and the attempt does not count.
    Snoozed {
        /// Delay before it can be claimed again.
        after: Duration,
    },
    /// The last attempt failed.
    Dead {
        /// The error of the last attempt. It may contain personal data.
        error: Sensitive,
        /// For `#[on_dead]`. Boxed to keep this small.
        ctx: Box<CallbackContext>,
    },
    /// The lease expired; its new holder settles the callback.
    LeaseLost,
}

impl HandlerExit {
    /// Returns its name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            HandlerExit::Done => "done",
            HandlerExit::Retry { .. } => "retry",
            HandlerExit::Snoozed { .. } => "snoozed",
            HandlerExit::Dead { .. } => "dead",
            HandlerExit::LeaseLost => "lease_lost",
        }
    }
}

/// Logs that a callback is dead.
pub(super) fn dead(ctx: CallbackContext, error: String) -> HandlerExit {
    let (callback, kind) = (ctx.id(), ctx.kind());
    tracing::error!(%callback, %kind, attempt = ctx.attempt(), "a callback is dead; `inbox.get` shows why");
    let error = Sensitive::from(error);
    let ctx = Box::new(ctx.with_error(&error));
    HandlerExit::Dead { error, ctx }
}
