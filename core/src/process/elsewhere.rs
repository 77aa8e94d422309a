//! Callbacks whose payment is in the hands of another release.

use std::time::Duration;

use super::call::Call;
use super::exit::{HandlerExit, dead};
use super::processor::Processor;
use crate::Kind;
use crate::handler::{CallbackContext, Route};
use crate::store::{Claimed, Lookup, StoreError};

/// How long a callback is left to other processes: its kind has no handler here, or its payment is another release's.
pub(super) const UNHANDLED_DELAY: Duration = Duration::from_secs(5);

/// For so long a callback waits for the release whose payment it reports: a deployment or its rollback takes less.
pub(super) const DEPLOYMENT: Duration = Duration::from_secs(60 * 60);

/// A handler here would account again for a payment that `#[payment]` has handled.
pub(super) const HANDLED_ELSEWHERE: &str = "its payment is in the hands of a release with `#[payment]`: run that one again, \
                                            or see that the payment is booked and dismiss this callback";

impl Processor {
    /// Returns whether `#[payment]` of another release has handled the payment, which a handler of this release would
    /// account for again. Such a callback was left to that release, which has not come back within a deployment.
    /// A transactor knows better.
    pub(super) async fn was_handled_elsewhere(
        &self,
        route: &Route,
        call: &Call,
        claimed: &Claimed,
    ) -> Result<bool, StoreError> {
        if route.transactional
            || claimed.payment.is_some()
            || claimed.repetition > 0
            || !self.accounts_for(&claimed.kind)
        {
            return Ok(false);
        }
        if self.is_recent(&call.ctx) {
            return Ok(false);
        }
        let Some(payment) = call.parsed.payment() else { return Ok(false) };
        let lookup = Lookup::Key(Kind::Payment, payment.receipt.as_str().into());
        let payments = self.store.find(&[lookup]).await?;
        Ok(payments.iter().any(|payment| payment.verdict.is_news() && payment.attempts > 0))
    }

    /// Another release has handled the payment or its callback, and its process ended before it settled that. The
    /// callback is left to that release, which also passes on the order. If it has not come after a while, it may be gone
    /// for good: then this is a failure like any other, which is retried ever more rarely, and dead in the end.
    pub(super) fn left_elsewhere(&self, ctx: CallbackContext, reason: &'static str, is_last: bool) -> HandlerExit {
        if self.is_recent(&ctx) {
            tracing::warn!(callback = %ctx.id(), kind = %ctx.kind(), reason, "the callback waits for another release");
            return HandlerExit::Snoozed { after: UNHANDLED_DELAY };
        }
        if is_last { dead(ctx, reason.to_owned()) } else { self.retry(&ctx, reason.to_owned()) }
    }

    /// Whether the callback has arrived within a deployment.
    fn is_recent(&self, ctx: &CallbackContext) -> bool {
        self.clock.now().duration_since(ctx.received_at()).is_ok_and(|age| age < DEPLOYMENT)
    }
}
