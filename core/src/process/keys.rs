//! The keys that a transaction of the user's database gets beside the effect of the handler.

use super::call::Call;
use super::payment::completed_keys;
use super::processor::Processor;
use crate::Kind;
use crate::handler::Route;
use crate::store::Claimed;
use crate::transactor::{IdempotencyKey, IdempotencyKeys, PaymentKeys, PaymentRole};

impl Processor {
    /// Returns the keys of a transaction; `None` without one.
    pub(super) fn idempotency_keys(&self, route: &Route, call: &Call, claimed: &Claimed) -> Option<IdempotencyKeys> {
        if !route.transactional || call.overdue.is_some() {
            return None;
        }
        let Claimed { kind, key, content_digest, repetition, .. } = claimed;
        // The idempotency key of a payment does not depend on its reference, which is that of the
        // callback that reported it first.
        let reference = claimed.reference.as_ref().filter(|_| *kind != Kind::Payment);
        let content_digest = content_digest.unwrap_or_else(|| call.parsed.content_digest().under(reference));
        // Also if the payment is settled: whether another release has committed it is known only by its
        // keys.
        let mut payment = call.parsed.payment().filter(|_| self.accounts_for(kind));
        if let Some(payment) = &mut payment {
            // The handler gets it by its context.
            payment.reference = payment.reference.take().or_else(|| claimed.reference.clone());
        }
        let completed = match &payment {
            Some(payment) => completed_keys(payment, &payment.content_digest()),
            None => call.completed.clone(),
        };
        let is_open = claimed.payment.is_some();
        let keys = payment
            .map(|payment| PaymentKeys::new(&payment.receipt.as_str().into(), &payment.content_digest(), is_open));
        let payment = match keys {
            Some(keys) if *repetition > 0 => PaymentRole::AccountsAgain(keys),
            Some(keys) => PaymentRole::AccountsFor(keys),
            None => PaymentRole::None,
        };
        Some(IdempotencyKeys {
            callback: IdempotencyKey::new(kind, key, &content_digest, *repetition),
            payment,
            completed,
        })
    }

    /// Returns whether a handler of this kind accounts for money: there is no `#[payment]`.
    pub(super) fn accounts_for(&self, kind: &Kind) -> bool {
        !kind.is_payment() && self.routes.of(&Kind::Payment).is_none()
    }
}
