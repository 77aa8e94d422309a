//! After recording: counts the verdict, wakes the poller, calls hooks.

use super::recorder::Recorder;
use crate::Kind;
use crate::handler::{CallbackContext, Hook, InboxHandle};
use crate::observe;
use crate::store::{CallbackId, Delivery, Disposition, Recorded, State, Verdict};

impl Recorder {
    /// Counts the verdict, wakes the poller, and calls hooks.
    pub(crate) fn after_record(&self, delivery: &Delivery, recorded: &Recorded, inbox: &InboxHandle) {
        let Recorded { id, verdict, payment, .. } = *recorded;
        if delivery.decision.is_some() {
            self.decisions.leave(&delivery.key, &delivery.content_digest);
        }
        self.after_record_one(delivery, id, verdict, inbox);
        if let (Some((id, verdict)), Some(payment)) = (payment, &delivery.payment) {
            self.after_record_one(payment, id, verdict, inbox);
        }
    }

    pub(crate) fn after_record_one(&self, delivery: &Delivery, id: CallbackId, verdict: Verdict, inbox: &InboxHandle) {
        let kind = &delivery.kind;
        observe::recorded(kind, verdict);
        tracing::debug!(callback = %id, %kind, verdict = verdict.name(), "recorded");
        let reason = delivery.reason().unwrap_or_default();
        match (verdict, &delivery.disposition) {
            (Verdict::First | Verdict::Update, Disposition::Hold(_)) => {
                tracing::error!(callback = %id, %kind, reason, "a callback that reports money is held");
                let ctx = CallbackContext::of_delivery(inbox, delivery, id, verdict);
                self.hooks.call(Hook::Conflict, ctx.with_error(&reason.into()));
            }
            (Verdict::First | Verdict::Update, _) => {
                // A callback that waits for its counterpart, or needs no handler, cannot be claimed
                // now.
                let is_due = delivery.state(verdict) == State::Ready && delivery.due_after.is_zero();
                if is_due {
                    self.ready.announce(kind);
                }
            }
            (Verdict::Quarantined, _) => {
                self.quarantine.grew();
                tracing::warn!(callback = %id, %kind, reason, "a body cannot be parsed; it is quarantined");
                let ctx = CallbackContext::of_delivery(inbox, delivery, id, verdict);
                self.hooks.call(Hook::Quarantine, ctx.with_error(&reason.into()));
            }
            (Verdict::Conflict, _) => self.report_conflict(delivery, id, inbox),
            // A payment that its counterpart reported before is not a duplicate for the
            // application.
            (Verdict::Duplicate, _) if *kind != Kind::Payment => {
                self.hooks.call(Hook::Duplicate, CallbackContext::of_delivery(inbox, delivery, id, verdict));
            }
            // The first payment of this receipt may have waited for this one.
            (Verdict::Duplicate | Verdict::Variant, _) if *kind == Kind::Payment => self.ready.wake(),
            (Verdict::Duplicate | Verdict::Variant, _) => {}
        }
    }

    /// A contradiction that contains money is logged as an error: a customer paid, or an
    /// attacker pretends it.
    pub(crate) fn report_conflict(&self, delivery: &Delivery, id: CallbackId, inbox: &InboxHandle) {
        let kind = &delivery.kind;
        let reason = delivery.reason().unwrap_or("it contradicts an earlier one");
        match &delivery.receipt {
            Some(_) => {
                tracing::error!(callback = %id, %kind, reason, "a callback that reports money is held as a contradiction");
            }
            None => tracing::warn!(callback = %id, %kind, reason, "a callback contradicts an earlier one; it is held"),
        }
        let ctx = CallbackContext::of_delivery(inbox, delivery, id, Verdict::Conflict);
        self.hooks.call(Hook::Conflict, ctx.with_error(&reason.into()));
    }
}
