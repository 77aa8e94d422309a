//! A delivery: one HTTP request, as it is recorded.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Body, DeliveryId, State, Verdict};
use crate::Kind;
use crate::payload::{Digest, Outcome, RequestFacts, Sensitive};

/// A delivery, ready to be recorded: one HTTP request that reached a callback URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Id of the delivery; its payment has the same one.
    pub delivery_id: DeliveryId,
    /// Kind of the callback.
    pub kind: Kind,
    /// Idempotency key within the kind; the digest of a body that cannot be parsed.
    pub key: Sensitive,
    /// Digest of the body, and of the reference in the URL.
    pub body_digest: Digest,
    /// Digest of the content (result, amount, receipt), and of the reference in the URL.
    pub content_digest: Digest,
    /// Digest of fields that not every sender fills; compared only if both callbacks have it.
    pub detail: Option<Digest>,
    /// Outcome; `None` for kinds without one.
    pub outcome: Option<Outcome>,
    /// The body as it was received, without credentials.
    pub(crate) body: Body,
    /// The time at which the request arrived.
    pub received_at: SystemTime,
    /// IP address of the sender.
    pub client_ip: Option<IpAddr>,
    /// Reference from a per-payment URL or an expectation.
    pub reference: Option<Sensitive>,
    /// M-Pesa's receipt, if the callback reports money that came in. Related callbacks share it.
    pub receipt: Option<String>,
    /// Decision of a validation.
    pub decision: Option<String>,
    /// The treatment after recording.
    pub disposition: Disposition,
    /// Delay until it is due; zero except for payments that wait for their counterpart and for
    /// expectations.
    pub due_after: Duration,
    /// Facts to compare with an expectation.
    pub(crate) facts: RequestFacts,
    /// Its payment. It is recorded in the same commit if this delivery [is news](Verdict::is_news).
    pub payment: Option<Box<Delivery>>,
}

/// The treatment of a delivery after it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// The callback is handled.
    Handle,
    /// It was decided before: a validation.
    Decided,
    /// It needs no handler; only its payment does.
    Noted,
    /// It contradicts an expectation: a conflict, with any other callback under its key or none. Contains the
    /// reason.
    Contradict(String),
    /// It is held until a person decides. Contains the reason.
    Hold(String),
    /// It cannot be parsed. Contains the reason.
    Quarantine(String),
}

impl Delivery {
    /// Sets the id that the spool kept.
    pub(crate) fn is_delivery(&mut self, id: DeliveryId) {
        self.delivery_id = id;
        if let Some(payment) = &mut self.payment {
            payment.delivery_id = id;
        }
    }

    /// Sets the client IP of the delivery and its payment.
    #[must_use]
    pub(crate) fn sent_by(mut self, client_ip: Option<IpAddr>) -> Delivery {
        self.client_ip = client_ip;
        if let Some(payment) = &mut self.payment {
            payment.client_ip = client_ip;
        }
        self
    }

    /// Sets the reference of the URL. The payment's digests do not depend on it, because its
    /// counterpart arrives at another URL and reports the same payment.
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

    /// For stores: whether this payment contains the order (reference or account) that the stored
    /// payment of its receipt lacks. A reference is better than an account. See
    /// [`Store::record`](super::Store::record).
    pub fn completes(&self, has_reference: bool, has_detail: bool) -> bool {
        let tells_more = self.reference.is_some() || (self.detail.is_some() && !has_detail);
        self.kind == Kind::Payment && !has_reference && tells_more
    }

    /// For stores: this payment as a [`Kind::PaymentCompleted`] callback. Its key is the receipt,
    /// with `/account` if it has only an account, because its reference may still arrive. See
    /// [`Store::record`](super::Store::record).
    #[must_use]
    pub fn completing(mut self) -> Delivery {
        if self.reference.is_none() {
            self.key = format!("{}/account", self.key.as_str()).into();
            // A receipt belongs to one callback of a kind.
            self.receipt = None;
        }
        self.kind = Kind::PaymentCompleted;
        self.disposition = Disposition::Handle;
        self.due_after = Duration::ZERO;
        self
    }

    /// Turns it into a quarantined delivery.
    pub(crate) fn quarantine(&mut self, reason: &str) {
        let body_digest = Digest::of(self.body.as_bytes());
        self.key = format!("sha256:{body_digest}").into();
        (self.receipt, self.payment) = (None, None);
        self.disposition = Disposition::Quarantine(reason.to_owned());
    }

    /// Returns the bytes of the body.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// Returns the initial state for this verdict.
    pub fn state(&self, verdict: Verdict) -> State {
        match (&self.disposition, verdict) {
            (Disposition::Quarantine(_), _) => State::Quarantined,
            (Disposition::Decided, _) | (_, Verdict::Variant | Verdict::Duplicate) => State::Done,
            (Disposition::Handle, Verdict::First | Verdict::Update) => State::Ready,
            (Disposition::Noted, Verdict::First | Verdict::Update) => State::Done,
            _ => State::Held,
        }
    }

    /// Why it is held or quarantined.
    pub fn reason(&self) -> Option<&str> {
        match &self.disposition {
            Disposition::Quarantine(reason) | Disposition::Contradict(reason) | Disposition::Hold(reason) => {
                Some(reason)
            }
            _ => None,
        }
    }
}
