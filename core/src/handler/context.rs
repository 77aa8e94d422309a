//! The context of a callback: everything but its payload.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::Kind;
use crate::payload::Sensitive;
use crate::store::{Body, CallbackId, Claimed, Delivery, RelatedCallback, Verdict};

/// The context of a callback for its handler, beside the payload: id, key,
/// attempt, reference, client IP and more.
///
/// Take it as `&CallbackContext` after the payload. `Debug` shows the id and
/// the kind, and no personal data. In a test of your handlers you get one from
/// `CallbackContext::for_test` (feature `test-util`).
///
/// ```
/// use mpesa_callbacks_core::CallbackContext;
///
/// fn describe(ctx: &CallbackContext) -> String {
///     match ctx.reference() {
///         Some(order) => format!("{} of {order}, attempt {}", ctx.kind(), ctx.attempt()),
///         None => format!("{}, attempt {}", ctx.kind(), ctx.attempt()),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct CallbackContext {
    id: CallbackId,
    kind: Kind,
    pub(crate) key: Sensitive,
    pub(crate) attempt: u32,
    received_at: SystemTime,
    client_ip: Option<IpAddr>,
    body: Body,
    verdict: Verdict,
    related: Vec<RelatedCallback>,
    earlier: Option<CallbackId>,
    repetition: u32,
    reference: Option<Sensitive>,
    error: Option<Sensitive>,
    pub(crate) inbox: InboxHandle,
}

/// The inbox of a callback. Its type stands above this module, which need not know it.
#[derive(Clone)]
pub(crate) struct InboxHandle(Arc<dyn Any + Send + Sync>);

impl InboxHandle {
    pub(crate) fn new(inbox: Arc<impl Any + Send + Sync>) -> InboxHandle {
        InboxHandle(inbox)
    }

    /// Returns the inbox that it was made from; `None` for another type.
    pub(crate) fn downcast<T: Any + Send + Sync>(self) -> Option<Arc<T>> {
        self.0.downcast().ok()
    }
}

impl CallbackContext {
    /// Returns the id of the callback in your store, for
    /// [`Inbox::get`](crate::Inbox::get). 0 for a validation, which is decided
    /// before it is recorded. You may log it: it contains nothing private.
    pub fn id(&self) -> CallbackId {
        self.id
    }

    /// Returns the kind of the callback.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the idempotency key of the callback, within its kind. It may
    /// contain a phone number: keep it out of your logs.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// Returns the number of this attempt, from 1. Attempts that were
    /// interrupted or snoozed do not count.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the time at which the first delivery arrived, by the clock of
    /// the inbox.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// Returns the IP address of the sender, if your web framework passes it to
    /// the adapter. Behind [trusted
    /// proxies](crate::InboxBuilder::trusted_proxies) it is the address in
    /// their header.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// Returns the body as it was received, without credentials. Empty in a hook if the store cannot
    /// provide it.
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// Returns the verdict of recording: [`Verdict::First`], [`Verdict::Update`], or
    /// [`Verdict::Conflict`] for a callback that was released.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the id of the earlier callback with the same key: the one with the unknown outcome for
    /// an [update](Verdict::Update), the contradicted one for a released
    /// [conflict](Verdict::Conflict).
    pub fn earlier(&self) -> Option<CallbackId> {
        self.earlier
    }

    /// How often the callback was [handled again](crate::Inbox::handle_again) after it was done. 0 for the
    /// first time.
    pub fn repetition(&self) -> u32 {
        self.repetition
    }

    /// Returns the other callback with the same receipt, if it has arrived: the `c2b_confirmation`
    /// of an `stk`, for example. For a payment: the callback that reported it first.
    pub fn related(&self) -> Option<&RelatedCallback> {
        self.related.first()
    }

    /// Your own id of the order or request: from a per-payment URL, or from the
    /// [expectation](crate::Inbox::expect_callback) that this callback answers.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_ref().map(Sensitive::as_str)
    }

    /// Returns the error of the previous attempt; in a hook: why the callback is held, dead or
    /// quarantined.
    pub fn error(&self) -> Option<&str> {
        self.error.as_ref().map(Sensitive::as_str)
    }

    pub(crate) fn of_claimed(inbox: &InboxHandle, claimed: &Claimed) -> CallbackContext {
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
            inbox: inbox.clone(),
        }
    }

    /// At its first attempt, with nothing in it.
    #[cfg(feature = "test-util")]
    pub(crate) fn of_test(inbox: &InboxHandle, kind: Kind, received_at: SystemTime) -> CallbackContext {
        CallbackContext {
            id: CallbackId::from_stored(1),
            kind,
            key: "key".into(),
            attempt: 1,
            received_at,
            client_ip: None,
            body: Vec::new().into(),
            verdict: Verdict::First,
            related: Vec::new(),
            earlier: None,
            repetition: 0,
            reference: None,
            error: None,
            inbox: inbox.clone(),
        }
    }

    pub(crate) fn of_delivery(
        inbox: &InboxHandle,
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
            inbox: inbox.clone(),
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
