//! An expectation that is due: was it answered? If not, the application queries M-Pesa.

use super::exit::{HandlerExit, dead};
use super::processor::Processor;
use crate::error_chain::error_chain;
use crate::handler::{CallbackContext, InboxHandle};
use crate::payload::{Expectation, Sensitive};
use crate::record::Answers;
use crate::store::StoreError;

impl Processor {
    /// Returns whether the expectation is answered or withdrawn. If not, sets Daraja's id in it, for the query.
    pub(super) async fn is_over_by_now(
        &self,
        expected: &mut Expectation,
        key: &Sensitive,
        inbox: &InboxHandle,
    ) -> Result<bool, StoreError> {
        let answers = Answers(&*self.store);
        expected.id = answers.id_of(expected).await?;
        // Held as unexpected, because callback and expectation were recorded at the same moment.
        let mut is_released = false;
        for early in answers.candidates(expected).await? {
            is_released |= self.recorder.release_expected(&early, expected, inbox).await?;
        }
        Ok(is_released || self.is_over(expected, key).await?)
    }

    /// Returns whether the expectation with this key is answered, or was changed since.
    async fn is_over(&self, expected: &Expectation, key: &Sensitive) -> Result<bool, StoreError> {
        let answers = Answers(&*self.store);
        let number = Expectation::change_in(&expected.kind, key.as_str()).unwrap_or_default();
        Ok(answers.last_change(expected).await? > number || answers.is_answered(expected, number).await?)
    }

    /// After the handler of `overdue` has run. A query is not an answer: without one, the handler
    /// runs again after at least the expectation's timeout.
    pub(super) async fn after_asking(
        &self,
        expected: &Expectation,
        ctx: CallbackContext,
        is_last: bool,
    ) -> HandlerExit {
        match self.is_over(expected, &Sensitive::from(ctx.key())).await {
            Ok(true) => HandlerExit::Done,
            Err(error) => {
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
