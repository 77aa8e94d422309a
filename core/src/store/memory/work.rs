//! Claiming, renewing, settling, reclaiming, and people's decisions.

use std::time::{Duration, SystemTime};

use super::rows::{Row, Rows, later};
use crate::Kind;
use crate::payload::Sensitive;
use crate::store::{
    CallbackId, Claim, Claimed, Completion, Interruption, Lane, Lease, Requeue, Requeued, SettleResult, Settlement,
    State, is_ahead,
};

/// The payment of a callback, for a process that does not handle payments.
enum Payment {
    /// There is none, or it was settled with another callback.
    None,
    /// It is claimed with the callback.
    With(CallbackId),
    /// The callback is left to other processes.
    Theirs,
}

impl Rows {
    /// Adds a ready callback to the index of due times.
    pub(super) fn note_due(&mut self, id: CallbackId) {
        let Some(row) = self.rows.get(&id) else { return };
        if let Some(at) = row.entry.run_at {
            let name = (Lane::after(row.interruptions, row.interruptions_alone), row.entry.kind.clone());
            self.due.entry(name).or_default().insert((at, id));
        }
    }

    pub(super) fn claim(&mut self, claim: &Claim<'_>, now: SystemTime) -> Vec<Claimed> {
        let (mut claimed, mut left) = (Vec::new(), Vec::new());
        while claimed.len() < claim.limit
            && let Some(id) = self.next_due(claim, now)
        {
            let payment = if claim.handles_payments { Payment::None } else { self.payment_of(id, claim) };
            let payment = match payment {
                Payment::Theirs => {
                    left.push(id);
                    continue;
                }
                Payment::With(payment) => self.take(payment, claim, now, 0),
                Payment::None => None,
            };
            let Some(lease) = self.take(id, claim, now, 1) else { continue };
            claimed.extend(self.claimed(lease, payment));
        }
        for id in left {
            self.note_due(id);
        }
        claimed
    }

    /// Returns the first due callback of the claimed kinds.
    fn next_due(&mut self, claim: &Claim<'_>, now: SystemTime) -> Option<CallbackId> {
        loop {
            let lanes = claim.lane.takes_from().iter();
            let names = lanes.flat_map(|lane| claim.kinds.iter().map(|kind| (*lane, kind.clone())));
            let heads = names.filter_map(|name| {
                let (at, id) = *self.due.get(&name)?.first()?;
                (at <= now).then_some((at, id, name))
            });
            let (at, id, name) = heads.min()?;
            if let Some(of_name) = self.due.get_mut(&name) {
                of_name.remove(&(at, id));
            }
            // It may have been claimed, settled or rescheduled since.
            let is_due = |row: &Row| row.entry.state == State::Ready && row.entry.run_at == Some(at);
            if self.rows.get(&id).is_some_and(|row| is_due(row)) {
                return Some(id);
            }
        }
    }

    fn payment_of(&self, id: CallbackId, claim: &Claim<'_>) -> Payment {
        let (entry, repetition) = match self.rows.get(&id) {
            Some(row) if !row.entry.kind.is_payment() => (&row.entry, row.repetition),
            _ => return Payment::None,
        };
        let is_left = repetition == 0 && entry.run_at.is_none_or(|due| due >= claim.left_since);
        let Some(receipt) = &entry.receipt else { return Payment::None };
        let payment = self.of_receipt(receipt).into_iter().map(|row| &row.entry);
        match payment.into_iter().find(|entry| entry.kind == Kind::Payment && entry.verdict.is_news()) {
            Some(payment) if payment.state == State::Ready => Payment::With(payment.id),
            Some(payment) if payment.state == State::Running => Payment::Theirs,
            Some(payment) if payment.attempts > 0 && is_left => Payment::Theirs,
            _ => Payment::None,
        }
    }

    fn take(&mut self, id: CallbackId, claim: &Claim<'_>, now: SystemTime, attempts: u32) -> Option<Lease> {
        let row = self.rows.get_mut(&id)?;
        row.entry.state = State::Running;
        // No handler sees a payment that is claimed with its callback.
        row.entry.attempts = if attempts == 0 { 0 } else { row.entry.attempts + attempts };
        row.entry.run_at = None;
        row.fence += 1;
        if attempts > 0 && row.told == 0 {
            row.told = row.fence;
        }
        row.lane = claim.lane;
        (row.wait, row.lease_until) = (claim.lease, Some(later(now, claim.lease)));
        Some(Lease { id, fence: row.fence })
    }

    fn claimed(&self, lease: Lease, payment: Option<Lease>) -> Option<Claimed> {
        let row = self.rows.get(&lease.id)?;
        let entry = &row.entry;
        let body = entry.body.clone()?;
        let mut claimed = Claimed::new(lease, entry.kind.clone(), entry.key.clone(), body, entry.received_at);
        claimed.verdict = entry.verdict;
        claimed.client_ip = entry.client_ip;
        claimed.content_digest = Some(row.content_digest);
        claimed.reference.clone_from(&entry.reference);
        claimed.attempt = entry.attempts;
        claimed.interruptions = row.interruptions;
        claimed.interruptions_alone = row.interruptions_alone;
        claimed.repetition = row.repetition;
        claimed.was_told = row.told > 0 && row.told < row.fence;
        claimed.earlier = entry.earlier;
        claimed.related = self.related(entry);
        claimed.payment = payment;
        claimed.last_error.clone_from(&entry.error);
        Some(claimed)
    }

    /// Returns the row that runs under this lease.
    fn held(&mut self, lease: Lease) -> Option<&mut Row> {
        let row = self.rows.get_mut(&lease.id)?;
        (row.entry.state == State::Running && row.fence == lease.fence).then_some(row)
    }

    pub(super) fn renew(&mut self, one: Lease, lease: Duration, now: SystemTime) -> bool {
        let Some(row) = self.held(one) else { return false };
        (row.wait, row.lease_until) = (lease, Some(later(now, lease)));
        true
    }

    pub(super) fn settle(&mut self, settlement: &Settlement, now: SystemTime) -> SettleResult {
        if self.was_settled(settlement) {
            return SettleResult::Written;
        }
        // Both or neither.
        if settlement.payment.is_some_and(|payment| self.held(payment).is_none()) {
            return SettleResult::LeaseLost;
        }
        let Some(row) = self.held(settlement.lease) else { return SettleResult::LeaseLost };
        row.settle(&settlement.completion, now);
        self.note_due(settlement.lease.id);
        if let Some(payment) = settlement.payment
            && let Some(row) = self.held(payment)
        {
            let completion = match settlement.completion {
                Completion::Done => Completion::Done,
                // Its attempts were not counted, so there is none to give back.
                _ => Completion::Snoozed { after: Duration::ZERO },
            };
            row.settle(&completion, now);
            self.note_due(payment.id);
        }
        SettleResult::Written
    }

    /// Returns whether this settlement was written before.
    fn was_settled(&self, settlement: &Settlement) -> bool {
        let end = settlement.completion.state();
        let row = self.rows.get(&settlement.lease.id).filter(|row| row.fence == settlement.lease.fence);
        end != State::Ready && row.is_some_and(|row| row.entry.state == end)
    }

    pub(super) fn sweep(&mut self, now: SystemTime) -> u64 {
        let mut swept = 0;
        let mut due = Vec::new();
        for row in self.rows.values_mut() {
            let ahead = |until: SystemTime| is_ahead(until.duration_since(now).unwrap_or_default(), row.wait);
            match (row.entry.state, row.lease_until, row.entry.run_at) {
                (State::Running, Some(until), _) if until < now => {
                    row.interrupt(now);
                    due.push(row.entry.id);
                    swept += 1;
                }
                (State::Running, Some(until), _) if ahead(until) => row.lease_until = Some(later(now, row.wait)),
                (State::Ready, _, Some(at)) if ahead(at) => {
                    row.entry.run_at = Some(later(now, row.wait));
                    due.push(row.entry.id);
                }
                _ => {}
            }
        }
        for id in due {
            self.note_due(id);
        }
        swept
    }

    pub(super) fn requeue(&mut self, id: CallbackId, reopening: &Requeue<'_>, now: SystemTime) -> Option<Requeued> {
        let row = self.rows.get_mut(&id)?;
        if row.entry.state != reopening.from || row.entry.body.is_none() {
            return None;
        }
        row.repetition += u32::from(row.entry.state == State::Done);
        row.entry.state = State::Ready;
        (row.entry.run_at, row.wait) = (Some(now), Duration::ZERO);
        row.entry.attempts = 0;
        row.entry.settled_at = None;
        (row.interruptions, row.interruptions_alone) = (0, 0);
        if row.entry.reference.is_none() {
            row.entry.reference = reopening.reference.cloned();
        }
        if let Some(reason) = reopening.reason {
            row.entry.error = Some(Sensitive::from(reason));
        }
        self.note_due(id);
        let payment = reopening.payment.map(|payment| self.record(payment, now));
        Some(Requeued::new(payment.map(|payment| (payment.id, payment.verdict))))
    }
}

impl Row {
    fn interrupt(&mut self, now: SystemTime) {
        let Interruption { is_counted, after, .. } =
            Interruption::of(self.lane, self.interruptions, self.interruptions_alone);
        self.entry.state = State::Ready;
        (self.entry.run_at, self.wait) = (Some(later(now, after)), after);
        self.entry.attempts = self.entry.attempts.saturating_sub(u32::from(!is_counted));
        self.interruptions += 1;
        self.interruptions_alone += u32::from(self.lane == Lane::Alone);
        self.lease_until = None;
    }

    fn settle(&mut self, completion: &Completion, now: SystemTime) {
        let entry = &mut self.entry;
        self.lease_until = None;
        match completion {
            Completion::Done => {
                entry.state = State::Done;
                entry.error = None;
                entry.settled_at = Some(now);
            }
            Completion::Retry { after, error } => {
                entry.state = State::Ready;
                (entry.run_at, self.wait) = (Some(later(now, *after)), *after);
                entry.error = Some(error.clone());
                // It was settled, so it does not end processes.
                (self.interruptions, self.interruptions_alone) = (0, 0);
            }
            Completion::Dead { error } => {
                entry.state = State::Dead;
                entry.error = Some(error.clone());
                entry.settled_at = Some(now);
            }
            Completion::Held { error } => {
                entry.state = State::Held;
                entry.error = Some(error.clone());
            }
            Completion::Snoozed { after } => {
                entry.state = State::Ready;
                (entry.run_at, self.wait) = (Some(later(now, *after)), *after);
                entry.attempts = entry.attempts.saturating_sub(1);
            }
        }
    }
}
