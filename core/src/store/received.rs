//! What is recorded, and the rules by which it is judged.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;

use super::{Body, CallbackId, State};
use crate::kind::Kind;
use crate::payload::{self, Digest, Private, Said, Unreadable};
use crate::routes::{Route, Routes};

/// A delivery, ready to be recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// Which callback it is.
    pub kind: Kind,
    /// What makes two deliveries the same callback, within the kind. Of a body that cannot be read: its digest.
    pub key: Private,
    /// The fingerprint of its bytes, and of the reference whose URL it came to.
    pub digest: Digest,
    /// The fingerprint of what it says, and of the reference.
    pub meaning: Digest,
    /// Its bytes, credentials struck out.
    pub(crate) body: Body,
    /// When it was received.
    pub received_at: SystemTime,
    /// Who sent it, as far as the adapter can tell.
    pub peer: Option<IpAddr>,
    /// The merchant's own id, from a per-payment URL.
    pub reference: Option<Private>,
    /// M-Pesa's receipt, when the callback tells of money that came in; siblings share it.
    pub receipt: Option<String>,
    /// The answer that it got: of a validation.
    pub decision: Option<String>,
    /// What is to become of it.
    pub disposition: Disposition,
    /// How long after it was recorded it is due, when it is to be handled; 0 for all that M-Pesa sends.
    pub due_after: Duration,
    /// What it says of the request that it answers.
    pub(crate) said: Said,
    /// The money that it shows: recorded as a callback of its own in the same commit, when this one is the first of its key.
    pub payment: Option<Box<Received>>,
}

/// What is to become of a delivery, once it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// A handler waits for it.
    Handle,
    /// It was decided already, and nothing is left to do: a validation.
    Decided,
    /// Nothing is to be done but for the payment that it shows.
    Noted,
    /// It contradicts what was expected, for this reason: a conflict, whatever is known under its key.
    Contradict(String),
    /// Somebody has to decide, for this reason: nothing handles it, or it tells of money without saying how much.
    Hold(String),
    /// It cannot be read, for this reason.
    Quarantine(String),
}

/// What recording a delivery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing of this kind and key was known.
    First,
    /// The same bytes were recorded before. Nothing is written but that they came again.
    Duplicate,
    /// Other bytes that say the same were recorded before. It is kept, and nothing is to be done.
    Variant,
    /// Something that says otherwise was recorded under this key. It is kept and held, for somebody to decide.
    Conflict,
    /// It could not be read. It is kept as it came.
    Quarantined,
}

impl Verdict {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::First => "first",
            Verdict::Duplicate => "duplicate",
            Verdict::Variant => "variant",
            Verdict::Conflict => "conflict",
            Verdict::Quarantined => "quarantined",
        }
    }
}

/// A callback that is known under a delivery's kind and key.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its id.
    pub id: CallbackId,
    /// The fingerprint of its bytes.
    pub digest: Digest,
    /// The fingerprint of what it says.
    pub meaning: Digest,
}

impl Received {
    /// A body that came to the URL of this kind, to be handled, with the payment that it shows. The engine makes its own;
    /// this is for tests of stores.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn parse(kind: &Kind, body: &[u8], received_at: SystemTime) -> Result<Received, Unreadable> {
        let body = Bytes::copy_from_slice(body);
        let parsed = payload::parse_bytes(kind, &body, None)?;
        let routes = [parsed.kind.clone(), Kind::Payment].map(Route::new);
        let routes = routes.into_iter().fold(Routes::new(), Routes::with);
        Ok(crate::receive::received(&parsed, body, received_at, &routes))
    }

    /// Who sent it, and what it tells of.
    #[must_use]
    pub(crate) fn sent_by(mut self, source: Option<IpAddr>) -> Received {
        self.peer = source;
        if let Some(payment) = &mut self.payment {
            payment.peer = source;
        }
        self
    }

    /// It came to the URL of this reference. Its payment is known by its receipt alone, because its twin comes to another
    /// URL and tells of the same.
    #[must_use]
    pub(crate) fn under(mut self, reference: Option<Private>) -> Received {
        self.digest = self.digest.under(reference.as_ref());
        self.meaning = self.meaning.under(reference.as_ref());
        if let Some(payment) = &mut self.payment {
            payment.reference.clone_from(&reference);
        }
        self.reference = reference;
        self
    }

    /// As what cannot be read, for this reason.
    pub(crate) fn quarantine(&mut self, reason: &str) {
        let digest = Digest::of(self.body.as_bytes());
        self.key = format!("sha256:{digest}").into();
        (self.receipt, self.payment) = (None, None);
        self.disposition = Disposition::Quarantine(reason.to_owned());
    }

    /// Its bytes.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// What it is, beside what is known under its kind and key; and the callback that it repeats or varies.
    ///
    /// `is_receipt_taken` says whether another callback of this kind, under another key, was the first to tell of this
    /// [`receipt`](Received::receipt): one payment has one callback of a kind, and the second contradicts.
    pub fn verdict(&self, known: &[Known], is_receipt_taken: bool) -> (Verdict, Option<CallbackId>) {
        if let Some(same) = known.iter().find(|known| known.digest == self.digest) {
            return (Verdict::Duplicate, Some(same.id));
        }
        if let Disposition::Quarantine(_) = self.disposition {
            return (Verdict::Quarantined, None);
        }
        if let Some(same) = known.iter().find(|known| known.meaning == self.meaning) {
            return (Verdict::Variant, Some(same.id));
        }
        let is_contradicted = matches!(self.disposition, Disposition::Contradict(_)) || is_receipt_taken;
        (if known.is_empty() && !is_contradicted { Verdict::First } else { Verdict::Conflict }, None)
    }

    /// The state in which it is written, judged so.
    pub fn state(&self, verdict: Verdict) -> State {
        match (&self.disposition, verdict) {
            (Disposition::Quarantine(_), _) => State::Quarantined,
            (Disposition::Decided, _) | (_, Verdict::Variant | Verdict::Duplicate) => State::Done,
            (Disposition::Handle, Verdict::First) => State::Ready,
            (Disposition::Noted, Verdict::First) => State::Done,
            _ => State::Held,
        }
    }

    /// Why it could not be read, or why it is held.
    pub fn reason(&self) -> Option<&str> {
        match &self.disposition {
            Disposition::Quarantine(reason) | Disposition::Contradict(reason) | Disposition::Hold(reason) => {
                Some(reason)
            }
            _ => None,
        }
    }
}
