//! A payment before it is handled: the facts of all its callbacks, and the order of its handlers.

use std::time::Duration;

use super::exit::HandlerExit;
use super::processor::Processor;
use crate::Kind;
use crate::payload::{Digest, Payment, Sensitive};
use crate::store::{Claimed, State, StoreError};
use crate::transactor::IdempotencyKey;

/// Delays of a `payment_completed` whose payment is not handled yet.
const OVERTAKING_MIN_DELAY: Duration = Duration::from_secs(1);
const OVERTAKING_MAX_DELAY: Duration = Duration::from_secs(5 * 60);

impl Processor {
    /// Adds the reference and the names that the other callbacks of the receipt contain. Most
    /// payments have one callback.
    pub(super) async fn complete(&self, payment: &mut Payment, claimed: &Claimed) -> Result<(), StoreError> {
        payment.reference = payment.reference.take().or_else(|| claimed.reference.clone());
        if claimed.related.len() < 2 {
            return Ok(());
        }
        for related in &claimed.related {
            let Some(entry) = self.store.get(related.id).await? else { continue };
            let told = self.recorder.parsed(&entry).and_then(|parsed| parsed.payment());
            // Another amount under the same receipt is a conflict, and says nothing about this
            // payment.
            if let Some(mut told) = told.filter(|told| told.amount == payment.amount) {
                told.reference.clone_from(&related.reference);
                payment.take_over(told);
            }
        }
        Ok(())
    }

    /// Returns what became of the payment that this completes. `#[payment]` runs first, and may get all the facts
    /// itself.
    pub(super) async fn payment_before(&self, completed: &Claimed) -> Result<Before, StoreError> {
        let Some(payment) = completed.earlier else { return Ok(Before::Handled) };
        Ok(match self.store.get(payment).await? {
            Some(payment) if payment.state != State::Done => Before::Open,
            // Only a callback that was dismissed keeps its error.
            Some(payment) if payment.error.is_some() => Before::Dismissed,
            _ => Before::Handled,
        })
    }

    /// Waits as long again as it has waited so far.
    pub(super) fn after_its_payment(&self, completed: &Claimed) -> HandlerExit {
        let waited = self.clock.now().duration_since(completed.received_at).unwrap_or_default();
        let after = waited.clamp(OVERTAKING_MIN_DELAY, OVERTAKING_MAX_DELAY);
        HandlerExit::Snoozed { after }
    }
}

/// The payment of a `payment_completed`.
pub(super) enum Before {
    /// Its handler has run.
    Handled,
    /// Its handler has not run yet, or its last attempt failed.
    Open,
    /// A person has dismissed it, and nothing is to be completed.
    Dismissed,
}

/// Returns the keys of the `payment_completed` callbacks with the same facts as this attempt. An
/// earlier attempt did not have those facts, and may have taken effect: then this attempt is not
/// applied, and they are. They are recorded with the digest of the payment.
pub(super) fn completed_keys(payment: &Payment, content_digest: &Digest) -> Vec<IdempotencyKey> {
    let receipt = payment.receipt.as_str();
    let by_reference = payment.reference.as_ref().map(|_| Sensitive::from(receipt));
    let by_account = payment.account.as_ref().map(|_| Sensitive::from(format!("{receipt}/account")));
    let keys = by_reference.into_iter().chain(by_account);
    keys.map(|key| IdempotencyKey::new(&Kind::PaymentCompleted, &key, content_digest, 0)).collect()
}
