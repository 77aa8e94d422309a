//! What a handler may know of a callback beside its payload.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::engine::Engine;
use crate::inbox::Inbox;
use crate::kind::Kind;
use crate::payload::Sensitive;
use crate::store::{Body, CallbackId, Claimed, Delivery, RelatedCallback, Verdict};

/// What a handler may know of a callback beside its payload.
///
/// `Debug` shows which callback it is and nothing that is private.
#[derive(Clone)]
pub struct CallbackContext {
    id: CallbackId,
    kind: Kind,
    key: Sensitive,
    attempt: u32,
    received_at: SystemTime,
    client_ip: Option<IpAddr>,
    body: Body,
    verdict: Verdict,
    related: Vec<RelatedCallback>,
    earlier: Option<CallbackId>,
    repetition: u32,
    reference: Option<Sensitive>,
    error: Option<Sensitive>,
    engine: Arc<Engine>,
}

impl CallbackContext {
    /// Its number in the store, by which the reading side finds it. 0 for a validation, which is decided before it is
    /// recorded.
    pub fn id(&self) -> CallbackId {
        self.id
    }

    /// Which callback it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// What makes two deliveries the same callback, within the kind. It may hold a phone number: keep it out of logs.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// Which attempt to handle it this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When it was received first.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// Who sent it, when the application lets the adapter know.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// Its bytes as they came, credentials struck out. Empty in a hook when the store could not give them.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// What recording found: [`Verdict::First`]; [`Verdict::Update`] when the outcome was unknown before, and is definite now;
    /// or [`Verdict::Conflict`] when somebody released it.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The callback that was known before under the same key, with an outcome that was unknown, when this is an
    /// [update](Verdict::Update); the one that it contradicts, when it was a [conflict](Verdict::Conflict).
    /// [`Inbox::get`] has it whole.
    pub fn earlier(&self) -> Option<CallbackId> {
        self.earlier
    }

    /// How often it was handled to its end before, and then deliberately [handled again](Inbox::handle_again).
    pub fn repetition(&self) -> u32 {
        self.repetition
    }

    /// The other callback that told of the same receipt, when it has come: an `stk` of a short code with registered C2B
    /// URLs has a `c2b_confirmation`. Of a payment: the callback that told of it first.
    pub fn related(&self) -> Option<&RelatedCallback> {
        self.related.first()
    }

    /// The merchant's own id: from a per-payment URL, or of the request that was [expected](Inbox::expect_callback), unless the callback came
    /// before that could be told.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_ref().map(Sensitive::as_str)
    }

    /// How the last attempt failed.
    pub fn error(&self) -> Option<&str> {
        self.error.as_ref().map(Sensitive::as_str)
    }

    /// The inbox that it came to: to [reconcile](Inbox::reconcile) from a handler, for instance. It does not keep the inbox
    /// alive.
    pub fn inbox(&self) -> Inbox {
        Inbox::within(&self.engine)
    }

    pub(crate) fn of_claimed(engine: &Arc<Engine>, claimed: &Claimed) -> CallbackContext {
        CallbackContext {
            id: claimed.lease.id,
            kind: claimed.kind.clone(),
            key: claimed.key.clone(),
            attempt: claimed.attempt,
            received_at: claimed.received_at,
            client_ip: claimed.client_ip,
            body: claimed.body.clone(),
            verdict: claimed.verdict,
            related: claimed.related.clone(),
            earlier: claimed.earlier,
            repetition: claimed.repetition,
            reference: claimed.reference.clone(),
            error: claimed.last_error.clone(),
            engine: engine.clone(),
        }
    }

    pub(crate) fn of_delivery(
        engine: &Arc<Engine>,
        delivery: &Delivery,
        id: CallbackId,
        verdict: Verdict,
    ) -> CallbackContext {
        CallbackContext {
            id,
            kind: delivery.kind.clone(),
            key: delivery.key.clone(),
            attempt: 1,
            received_at: delivery.received_at,
            client_ip: delivery.client_ip,
            body: delivery.body.clone(),
            verdict,
            related: Vec::new(),
            earlier: None,
            repetition: 0,
            reference: delivery.reference.clone(),
            error: None,
            engine: engine.clone(),
        }
    }

    #[must_use]
    pub(crate) fn with_reference(mut self, reference: Option<Sensitive>) -> CallbackContext {
        self.reference = reference;
        self
    }

    #[must_use]
    pub(crate) fn with_body(mut self, body: Option<Body>) -> CallbackContext {
        self.body = body.unwrap_or_else(|| Vec::new().into());
        self
    }

    #[must_use]
    pub(crate) fn with_error(mut self, error: &Sensitive) -> CallbackContext {
        self.error = Some(error.clone());
        self
    }
}

impl fmt::Debug for CallbackContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackContext")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("attempt", &self.attempt)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}
