//! What is recorded.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Body, DeliveryId, State, Verdict};
use crate::kind::Kind;
use crate::payload::{self, Digest, Outcome, ParseError, RequestFacts, Sensitive};
use crate::routes::{Route, Routes};

/// A delivery, ready to be recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Which delivery it is; a payment has the id of the delivery that shows it.
    pub delivery_id: DeliveryId,
    /// Which callback it is.
    pub kind: Kind,
    /// What makes two deliveries the same callback, within the kind. Of a body that cannot be read: its digest.
    pub key: Sensitive,
    /// The fingerprint of its bytes, and of the reference whose URL it came to.
    pub body_digest: Digest,
    /// The fingerprint of what it says, and of the reference.
    pub content_digest: Digest,
    /// The fingerprint of what not every sender of its kind tells: where two both tell it, it must agree.
    pub detail: Option<Digest>,
    /// The outcome that it tells; `None` for kinds that tell none.
    pub outcome: Option<Outcome>,
    /// Its bytes, credentials struck out.
    pub(crate) body: Body,
    /// When it was received.
    pub received_at: SystemTime,
    /// Who sent it, as far as the adapter can tell.
    pub client_ip: Option<IpAddr>,
    /// The merchant's own id, from a per-payment URL.
    pub reference: Option<Sensitive>,
    /// M-Pesa's receipt, when the callback tells of money that came in; siblings share it.
    pub receipt: Option<String>,
    /// The answer that it got: of a validation.
    pub decision: Option<String>,
    /// What is to become of it.
    pub disposition: Disposition,
    /// How long after it was recorded it is due, when it is to be handled; 0 for all that M-Pesa sends.
    pub due_after: Duration,
    /// What it says of the request that it answers.
    pub(crate) facts: RequestFacts,
    /// The money that it shows: recorded as a callback of its own in the same commit, when this one is
    /// [news](Verdict::is_news).
    pub payment: Option<Box<Delivery>>,
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

impl Delivery {
    /// A body that came to the URL of this kind, to be handled, with the payment that it shows. The engine makes its own;
    /// this is for tests of stores.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn parse(kind: &Kind, body: &[u8], received_at: SystemTime) -> Result<Delivery, ParseError> {
        let body = Bytes::copy_from_slice(body);
        let parsed = payload::parse_bytes(kind, &body, None, None)?;
        let routes = [parsed.kind.clone(), Kind::Payment].map(Route::new);
        let routes = routes.into_iter().fold(Routes::new(), Routes::with);
        Ok(crate::receive::delivery_of(&parsed, body, received_at, &routes))
    }

    /// The same delivery as before: the spool kept its id.
    pub(crate) fn is_delivery(&mut self, id: DeliveryId) {
        self.delivery_id = id;
        if let Some(payment) = &mut self.payment {
            payment.delivery_id = id;
        }
    }

    /// Who sent it, and what it tells of.
    #[must_use]
    pub(crate) fn sent_by(mut self, client_ip: Option<IpAddr>) -> Delivery {
        self.client_ip = client_ip;
        if let Some(payment) = &mut self.payment {
            payment.client_ip = client_ip;
        }
        self
    }

    /// It came to the URL of this reference. Its payment is known by its receipt alone, because its twin comes to another
    /// URL and tells of the same.
    #[must_use]
    pub(crate) fn under(mut self, reference: Option<Sensitive>) -> Delivery {
        self.body_digest = self.body_digest.under(reference.as_ref());
        self.content_digest = self.content_digest.under(reference.as_ref());
        if let Some(payment) = &mut self.payment {
            payment.reference.clone_from(&reference);
        }
        self.reference = reference;
        self
    }

    /// Whether this payment tells which order it is for, and the one that is known under its receipt does not, whose
    /// `reference` and `detail` are there or not. A reference is better than an account. For stores: see
    /// [`Store::record`](super::Store::record).
    pub fn completes(&self, has_reference: bool, has_detail: bool) -> bool {
        let tells_more = self.reference.is_some() || (self.detail.is_some() && !has_detail);
        self.kind == Kind::Payment && !has_reference && tells_more
    }

    /// A payment as the callback that tells, too late, what its receipt's first payment did not: for stores, see
    /// [`Store::record`](super::Store::record). Its key is the receipt, and `/account` when an account is all that it tells: its
    /// reference may still come.
    #[must_use]
    pub fn completing(mut self) -> Delivery {
        if self.reference.is_none() {
            self.key = format!("{}/account", self.key.as_str()).into();
            // It belongs to one callback of a kind.
            self.receipt = None;
        }
        self.kind = Kind::PaymentCompleted;
        self.disposition = Disposition::Handle;
        self.due_after = Duration::ZERO;
        self
    }

    /// As what cannot be read, for this reason.
    pub(crate) fn quarantine(&mut self, reason: &str) {
        let body_digest = Digest::of(self.body.as_bytes());
        self.key = format!("sha256:{body_digest}").into();
        (self.receipt, self.payment) = (None, None);
        self.disposition = Disposition::Quarantine(reason.to_owned());
    }

    /// Its bytes.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// The state in which it is written, judged so.
    pub fn state(&self, verdict: Verdict) -> State {
        match (&self.disposition, verdict) {
            (Disposition::Quarantine(_), _) => State::Quarantined,
            (Disposition::Decided, _) | (_, Verdict::Variant | Verdict::Duplicate) => State::Done,
            (Disposition::Handle, Verdict::First | Verdict::Update) => State::Ready,
            (Disposition::Noted, Verdict::First | Verdict::Update) => State::Done,
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
