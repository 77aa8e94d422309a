//! Recording deliveries in memory.

use std::time::{Duration, SystemTime};

use super::rows::{Row, Rows, hidden, later};
use crate::Kind;
use crate::payload::{Digest, Sensitive};
use crate::store::{CallbackId, Delivery, Disposition, Entry, Judgement, Known, Lane, Recorded, State, Verdict};

impl Rows {
    pub(super) fn record(&mut self, delivery: &Delivery, now: SystemTime) -> Recorded {
        let ids = self.ids_of(&delivery.kind, &delivery.key);
        let known: Vec<Known> = ids.iter().filter_map(|id| self.rows.get(id)).map(|row| row.known(delivery)).collect();
        let first = known.iter().find(|known| known.verdict == Verdict::First).map(|known| known.id);
        let Judgement { verdict, earlier } = delivery.judge(&known, self.who_told_receipt(delivery));
        let same = earlier.filter(|_| matches!(verdict, Verdict::Duplicate | Verdict::Variant));
        let same = same.and_then(|id| self.rows.get_mut(&id));
        let decision = match &same {
            Some(row) => row.entry.decision.clone(),
            None => delivery.decision.clone(),
        };
        if let (Verdict::Duplicate, Some(row)) = (verdict, same) {
            row.entry.seen += 1;
            row.entry.last_seen_at = delivery.received_at;
            let id = row.entry.id;
            self.complete_payment(delivery, first, now);
            return Recorded::new(id, verdict, decision, None);
        }
        let id = self.insert(delivery, verdict, earlier, decision.clone(), now);
        if verdict == Verdict::Variant {
            self.complete_payment(delivery, first, now);
        }
        let payment = delivery.payment.as_deref().filter(|_| verdict.is_news());
        let payment = payment.map(|payment| self.record(payment, now));
        let payment = payment.map(|payment| (payment.id, payment.verdict));
        Recorded::new(id, verdict, decision, payment)
    }

    fn insert(
        &mut self,
        delivery: &Delivery,
        verdict: Verdict,
        earlier: Option<CallbackId>,
        decision: Option<String>,
        now: SystemTime,
    ) -> CallbackId {
        let id = CallbackId::from_stored(self.rows.last_key_value().map_or(0, |(id, _)| id.number()) + 1);
        let state = delivery.state(verdict);
        let mut entry =
            Entry::new(id, delivery.kind.clone(), delivery.key.clone(), verdict, state, delivery.received_at);
        entry.client_ip = delivery.client_ip;
        entry.content_digest = Some(delivery.content_digest);
        entry.reference.clone_from(&delivery.reference);
        entry.receipt.clone_from(&delivery.receipt);
        entry.outcome = delivery.outcome;
        entry.earlier = earlier;
        entry.run_at = (state == State::Ready).then_some(later(now, delivery.due_after));
        entry.settled_at = (state == State::Done).then_some(now);
        entry.error = delivery.reason().map(Sensitive::from);
        entry.decision = decision;
        entry.body = Some(delivery.body.clone());
        self.by_key.entry((entry.kind.clone(), entry.key.clone())).or_default().push(id);
        if let Some(receipt) = &delivery.receipt {
            self.by_receipt.entry(receipt.clone()).or_default().push(id);
        }
        let row = Row {
            entry,
            body_digest: delivery.body_digest,
            content_digest: delivery.content_digest,
            detail: delivery.detail,
            fence: 0,
            lane: Lane::Main,
            interruptions: 0,
            interruptions_alone: 0,
            repetition: 0,
            told: 0,
            had_reference: false,
            wait: delivery.due_after,
            lease_until: None,
        };
        self.rows.insert(id, Box::new(row));
        self.note_due(id);
        id
    }

    /// Gives the first payment of a receipt the order that it lacks.
    fn complete_payment(&mut self, delivery: &Delivery, first: Option<CallbackId>, now: SystemTime) {
        let Some(first) = first else { return };
        let is_completed = |row: &&mut Box<Row>| {
            let has_reference = row.had_reference || row.entry.reference.is_some();
            delivery.completes(has_reference, row.detail.is_some())
        };
        let Some(row) = self.rows.get_mut(&first).filter(is_completed) else { return };
        row.entry.reference.clone_from(&delivery.reference);
        let is_told = row.told > 0;
        if row.entry.state == State::Ready {
            (row.entry.run_at, row.wait) = (Some(now), Duration::ZERO);
            self.note_due(first);
        }
        if !is_told {
            return;
        }
        let completing = delivery.clone().completing();
        if self.ids_of(&completing.kind, &completing.key).is_empty() {
            self.insert(&completing, Verdict::First, Some(first), None, now);
        }
    }

    pub(super) fn find_decision(&self, kind: &Kind, key: &str, content_digest: &Digest) -> Option<String> {
        let ids = self.ids_of(kind, &key.into());
        let rows = ids.iter().filter_map(|id| self.rows.get(id));
        let hidden = hidden(content_digest.as_bytes());
        let same =
            rows.into_iter().find(|row| row.content_digest == *content_digest || row.content_digest == hidden)?;
        same.entry.decision.clone()
    }

    /// Returns the first callback of this kind with the receipt and another key.
    fn who_told_receipt(&self, delivery: &Delivery) -> Option<CallbackId> {
        let receipt = delivery.receipt.as_deref().filter(|_| !delivery.kind.is_payment())?;
        if matches!(delivery.disposition, Disposition::Quarantine(_)) {
            return None;
        }
        let hidden_key: Sensitive = hidden(delivery.key.as_str().as_bytes()).to_hex().into();
        let told = self.of_receipt(receipt).into_iter().map(|row| &row.entry).find(|entry| {
            entry.kind == delivery.kind
                && entry.verdict.is_news()
                && entry.key != delivery.key
                && entry.key != hidden_key
        });
        told.map(|entry| entry.id)
    }
}

impl Row {
    /// Restores the digests of a purged row, for the comparison.
    fn known(&self, delivery: &Delivery) -> Known {
        let is_purged = self.entry.body.is_none();
        let shown = |stored: Digest, theirs: Digest| match is_purged && stored == hidden(theirs.as_bytes()) {
            true => theirs,
            false => stored,
        };
        Known {
            id: self.entry.id,
            body_digest: shown(self.body_digest, delivery.body_digest),
            content_digest: shown(self.content_digest, delivery.content_digest),
            detail: self.detail.map(|stored| delivery.detail.map_or(stored, |theirs| shown(stored, theirs))),
            outcome: self.entry.outcome,
            verdict: self.entry.verdict,
        }
    }
}
