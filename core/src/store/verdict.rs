//! Verdicts: how a delivery compares with the stored callbacks of its key.

use serde::Serialize;

use super::{CallbackId, Delivery, Disposition};
use crate::payload::{Digest, Outcome};

/// The verdict on a delivery. Exhaustive, because stores write each of them; another one would be a
/// breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is stored under this kind and key.
    First,
    /// The same bytes are stored. Only the number of deliveries changes.
    Duplicate,
    /// Other bytes with the same content, or an outcome that adds nothing, are stored. It is kept,
    /// and not handled.
    Variant,
    /// Every stored outcome is unknown, and this one is definite. It is handled like a first.
    Update,
    /// Different content is stored. It is held until a person decides.
    Conflict,
    /// It could not be parsed. It is kept unchanged.
    Quarantined,
}

impl Verdict {
    /// Returns its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::First => "first",
            Verdict::Duplicate => "duplicate",
            Verdict::Variant => "variant",
            Verdict::Update => "update",
            Verdict::Conflict => "conflict",
            Verdict::Quarantined => "quarantined",
        }
    }

    /// Returns whether a callback with this verdict is handled, and its payment recorded:
    /// [`First`](Verdict::First) and [`Update`](Verdict::Update).
    pub fn is_news(self) -> bool {
        matches!(self, Verdict::First | Verdict::Update)
    }
}

/// A stored callback with the same kind and key, as a store passes it to [`Delivery::judge`].
/// Exhaustive, because stores construct it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Id of the callback.
    pub id: CallbackId,
    /// The digest of its bytes.
    pub body_digest: Digest,
    /// The digest of its content; `None` if it was purged.
    pub content_digest: Digest,
    /// Digest of fields that not every sender fills.
    pub detail: Option<Digest>,
    /// Its outcome; `None` for kinds without one.
    pub outcome: Option<Outcome>,
    /// The verdict when it was recorded.
    pub verdict: Verdict,
}

/// The result of [`Delivery::judge`]. Exhaustive, because stores take it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Verdict on the delivery.
    pub verdict: Verdict,
    /// Id of the callback that it repeats, varies, updates or contradicts.
    pub earlier: Option<CallbackId>,
}

impl Judgement {
    fn new(verdict: Verdict, earlier: Option<CallbackId>) -> Judgement {
        Judgement { verdict, earlier }
    }
}

impl Delivery {
    /// Classifies this delivery, given the stored callbacks of its kind and key, oldest first.
    ///
    /// `told_receipt` is the first callback of this kind with the same
    /// [`receipt`](Delivery::receipt) and another key: one payment has one callback of a kind, and
    /// a second one is a conflict.
    ///
    /// - The same bytes are a duplicate; the same content is a variant.
    /// - A definite outcome *updates* unknown ones. An unknown outcome after anything, and a second
    ///   failure with another code, are variants.
    /// - Everything else is a conflict: failed and paid, paid with another amount or receipt.
    /// - A callback that contradicted an expectation is not compared.
    pub fn judge(&self, known: &[Known], told_receipt: Option<CallbackId>) -> Judgement {
        if let Some(same) = known.iter().find(|known| known.body_digest == self.body_digest) {
            return Judgement::new(Verdict::Duplicate, Some(same.id));
        }
        if let Disposition::Quarantine(_) = self.disposition {
            return Judgement::new(Verdict::Quarantined, None);
        }
        if let Some(same) = known.iter().find(|known| self.says_the_same(known)) {
            return Judgement::new(Verdict::Variant, Some(same.id));
        }
        let mut standing = known.iter().filter(|known| known.verdict.is_news());
        let definite = standing.clone().find(|known| known.outcome != Some(Outcome::Unknown));
        let earlier = definite.or(standing.next_back());
        let is_contradicted = matches!(self.disposition, Disposition::Contradict(_));
        let verdict = match (self.outcome, earlier.map(|earlier| earlier.outcome)) {
            _ if is_contradicted || told_receipt.is_some() => Verdict::Conflict,
            (_, None) => Verdict::First,
            (Some(Outcome::Unknown), Some(_)) => Verdict::Variant,
            (Some(Outcome::Failed), Some(Some(Outcome::Failed))) => Verdict::Variant,
            (Some(_), Some(Some(Outcome::Unknown))) => Verdict::Update,
            (_, Some(_)) => Verdict::Conflict,
        };
        Judgement::new(verdict, earlier.map(|earlier| earlier.id).or(told_receipt))
    }

    /// A detail that only one of the two has is not a difference.
    fn says_the_same(&self, known: &Known) -> bool {
        known.content_digest == self.content_digest
            && known.detail.zip(self.detail).is_none_or(|(one, other)| one == other)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Kind;

    fn push(code: &str, amount: u32, receipt: &str) -> Delivery {
        let body = format!(
            r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k","ResultCode":{code},"CallbackMetadata":{{"Item":[
            {{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
        );
        Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::UNIX_EPOCH).unwrap()
    }

    fn paid(receipt: &str) -> Delivery {
        push("0", 5, receipt)
    }

    fn unpaid(code: &str) -> Delivery {
        push(code, 0, "")
    }

    /// Classifies one after the other, as a store would.
    fn verdicts(deliveries: &[Delivery]) -> Vec<Verdict> {
        let mut known = Vec::new();
        for (at, delivery) in deliveries.iter().enumerate() {
            let verdict = delivery.judge(&known, None).verdict;
            let id = CallbackId::from_stored(i64::try_from(at).unwrap() + 1);
            let Delivery { body_digest, content_digest, detail, outcome, .. } = delivery.clone();
            known.push(Known { id, body_digest, content_digest, detail, outcome, verdict });
        }
        known.into_iter().map(|known| known.verdict).collect()
    }

    #[test]
    fn outcomes_progress_and_a_paid_callback_is_never_unbooked() {
        use Verdict::{Conflict, First, Update, Variant};
        assert_eq!(verdicts(&[unpaid("1037"), paid("R")]), [First, Update]);
        assert_eq!(
            verdicts(&[unpaid("1037"), unpaid("1019"), unpaid("1032"), unpaid("1037")])[..3],
            [First, Variant, Update]
        );
        assert_eq!(
            verdicts(&[paid("R"), unpaid("1037"), unpaid("1032"), paid("S")]),
            [First, Variant, Conflict, Conflict]
        );
        assert_eq!(
            verdicts(&[unpaid("1032"), unpaid("1"), unpaid("1037"), paid("R")]),
            [First, Variant, Variant, Conflict]
        );
        assert_eq!(
            verdicts(&[unpaid("1037"), paid("R"), paid("S"), unpaid("1032")]),
            [First, Update, Conflict, Conflict]
        );
    }

    #[test]
    fn what_contradicted_an_expectation_is_not_known() {
        let mut forged = paid("FORGED");
        forged.disposition = Disposition::Contradict("another amount".into());
        assert_eq!(verdicts(&[forged.clone(), paid("R")]), [Verdict::Conflict, Verdict::First]);
        assert_eq!(verdicts(&[paid("R"), forged]), [Verdict::First, Verdict::Conflict]);
    }
}
