//! An expectation that is due: was it answered? If not, the application queries M-Pesa.

use super::exit::{HandlerExit, dead};
use super::processor::Processor;
use crate::error_chain::error_chain;
use crate::handler::{CallbackContext, InboxHandle};
use crate::payload::Expectation;
use crate::record::{Answers, Change, tells_the_outcome};
use crate::store::StoreError;

impl Processor {
    /// Returns how an expectation ends that is answered, withdrawn or not due; `None` if the application is to be asked.
    /// Then sets Daraja's id in it, for the query.
    pub(super) async fn end_of_expectation(
        &self,
        expected: &mut Expectation,
        inbox: &InboxHandle,
    ) -> Result<Option<HandlerExit>, StoreError> {
        if self.is_answered_by_now(expected, inbox).await? {
            return Ok(Some(HandlerExit::Done));
        }
        Ok(match Answers(&*self.store).last_change(expected).await? {
            Some(change) if change.is_withdrawal() => Some(HandlerExit::Done),
            Some(again) => {
                let waited = self.clock.now().duration_since(again.at).unwrap_or_default();
                let left = expected.timeout.saturating_sub(waited);
                (!left.is_zero()).then_some(HandlerExit::Snoozed { after: left })
            }
            None => None,
        })
    }

    /// Returns whether the expectation is answered. If not, sets Daraja's id in it.
    async fn is_answered_by_now(&self, expected: &mut Expectation, inbox: &InboxHandle) -> Result<bool, StoreError> {
        let answers = Answers(&*self.store);
        expected.id = answers.id_of(expected).await?;
        let candidates = answers.candidates(expected).await?;
        // Held as unexpected, because callback and expectation were recorded at the same moment.
        let mut is_released = false;
        for early in &candidates {
            is_released |= self.recorder.release_expected(early, expected, inbox).await?;
        }
        Ok(is_released || candidates.iter().any(tells_the_outcome))
    }

    /// After the handler of `overdue` has run. A query is not an answer: without one, the handler
    /// runs again after at least the expectation's timeout.
    pub(super) async fn after_asking(
        &self,
        expected: &Expectation,
        ctx: CallbackContext,
        is_last: bool,
    ) -> HandlerExit {
        let is_over = async {
            let answers = Answers(&*self.store);
            let is_withdrawn = answers.last_change(expected).await?.is_some_and(Change::is_withdrawal);
            Ok(is_withdrawn || answers.is_answered(expected).await?)
        };
        match is_over.await {
            Ok(true) => HandlerExit::Done,
            Err::<_, StoreError>(error) => {
                tracing::warn!(cause = error_chain(&error), "cannot look up whether the callback has arrived");
                HandlerExit::Snoozed { after: expected.timeout }
            }
            Ok(false) if is_last => dead(ctx, "no callback arrived, and no result was reconciled".to_owned()),
            Ok(false) => {
                let after = self.limits.backoff.after(ctx.attempt()).max(expected.timeout);
                HandlerExit::Retry { after, error: "no callback arrived, and no result is reconciled yet".into() }
            }
        }
    }
}
