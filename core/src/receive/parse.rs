//! Step 3: what they say.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::read::Heard;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::payload::{
    self, C2bValidation, Callback, Digest, Outcome, Parsed, Payment, Private, Said, Unreadable, strike_credentials,
};
use crate::routes::{Route, Routes};
use crate::store::{Body, DeliveryId, Disposition, Received, Spooled};

/// A delivery that was read, or was found unreadable and is kept as it came. (In boxes: it is handed on from step to step.)
pub(super) struct Understood {
    pub(super) route: Arc<Route>,
    pub(super) received: Box<Received>,
    /// The validation that waits for a decision, if it is one.
    pub(super) request: Option<Box<C2bValidation>>,
}

impl Engine {
    pub(super) fn parse(&self, heard: Heard) -> Understood {
        let Heard { route, source, reference, body, received_at } = heard;
        let (body, read) = read_and_strike(&route, body, reference.as_ref());
        let (received, request) = match read {
            Ok(parsed) => {
                let mut received = received(&parsed, body, received_at, &self.routes);
                self.await_counterpart(&mut received, reference.as_ref());
                (received, request(parsed))
            }
            Err(reason) => (quarantined(&route, body, received_at, &reason), None),
        };
        Understood { route, received: Box::new(received.sent_by(source).under(reference)), request }
    }

    /// What is recorded of a delivery that waited in the spool. The handlers may be others by now.
    pub(crate) fn parse_spooled(&self, spooled: Spooled) -> Received {
        let Spooled { delivery_id, came_to, body, received_at, peer, reference, decision } = spooled;
        let route = Arc::new(self.routes.of(&came_to).cloned().unwrap_or_else(|| Route::new(came_to)));
        let understood = self.parse(Heard { route, source: peer, reference, body: body.0, received_at });
        let mut received = *understood.received;
        received.is_delivery(delivery_id);
        if understood.request.is_some() {
            // It was answered when it came.
            received.disposition = Disposition::Decided;
        }
        received.decision = decision;
        received
    }

    /// A payment without a reference waits a little for who may know its order: a confirmation for the callback of the push that
    /// led to it, a push for its confirmation, which has the account, or for [`identify`](crate::Inbox::identify). (In production
    /// the two come within seconds of each other, in either order.)
    pub(crate) fn await_counterpart(&self, received: &mut Received, reference: Option<&Private>) {
        let is_received = |kind: &Kind| self.routes.of(kind).is_some();
        let can_come = reference.is_none()
            && match received.kind {
                Kind::C2bConfirmation => is_received(&Kind::Stk),
                Kind::Stk => is_received(&Kind::C2bConfirmation) || self.expecting.is_some(),
                _ => false,
            };
        if let Some(payment) = received.payment.as_mut().filter(|_| can_come) {
            payment.due_after = self.limits.counterpart;
        }
    }
}

/// Reads a body, and strikes the credentials out of it where Daraja may have echoed the merchant's own request: of queue
/// timeouts, and of what cannot be read. What payers typed is in no such body.
fn read_and_strike(route: &Route, body: Bytes, reference: Option<&Private>) -> (Bytes, Result<Parsed, Unreadable>) {
    match read(route, &body, reference) {
        Ok(parsed) if parsed.kind.is_timeout() => {
            let body = without_credentials(body);
            let read = read(route, &body, reference);
            (body, read)
        }
        Ok(parsed) => (body, Ok(parsed)),
        Err(reason) => (without_credentials(body), Err(reason)),
    }
}

fn read(route: &Route, body: &Bytes, reference: Option<&Private>) -> Result<Parsed, Unreadable> {
    let parsed = payload::parse_bytes(&route.kind, body, route.key.as_deref(), reference)?;
    if let (Callback::Custom(callback), Some(check)) = (&parsed.callback, route.check) {
        // The application's own code: what it panics at is kept, like all that it cannot read.
        catch_unwind(AssertUnwindSafe(|| check(callback))).unwrap_or(Err(Unreadable::Panicked))?;
    }
    Ok(parsed)
}

fn request(parsed: Parsed) -> Option<Box<C2bValidation>> {
    match parsed.callback {
        Callback::C2bValidation(request) => Some(Box::new(request)),
        _ => None,
    }
}

fn without_credentials(body: Bytes) -> Bytes {
    match strike_credentials(&body) {
        Cow::Borrowed(_) => body,
        Cow::Owned(struck) => struck.into(),
    }
}

/// What is recorded of a body that was read, with the payment that it shows: whether or not anybody handles payments yet.
pub(crate) fn received(parsed: &Parsed, body: Bytes, received_at: SystemTime, routes: &Routes) -> Received {
    let delivery_id = DeliveryId::random();
    let payment = parsed.payment().map(|payment| Box::new(received_payment(&payment, delivery_id, received_at)));
    Received {
        delivery_id,
        kind: parsed.kind.clone(),
        key: parsed.key.clone(),
        digest: Digest::of(&body),
        meaning: parsed.meaning(),
        detail: parsed.detail(),
        outcome: parsed.callback.outcome(),
        body: Body(body),
        received_at,
        peer: None,
        reference: None,
        receipt: parsed.paid().map(|(receipt, _)| receipt.to_owned()),
        decision: None,
        disposition: disposition(parsed, routes),
        due_after: Duration::ZERO,
        said: parsed.said(),
        payment,
    }
}

fn received_payment(payment: &Payment, delivery_id: DeliveryId, received_at: SystemTime) -> Received {
    let body = payment.to_body();
    Received {
        delivery_id,
        kind: Kind::Payment,
        key: payment.receipt.as_str().into(),
        digest: Digest::of(&body),
        meaning: payment.says(),
        // Whether it tells an account at all: see `Received::completes`.
        detail: payment.account.is_some().then(|| Digest::of(b"account")),
        outcome: Some(Outcome::Success),
        body: Body(body),
        received_at,
        peer: None,
        reference: None,
        receipt: Some(payment.receipt.clone()),
        decision: None,
        disposition: Disposition::Handle,
        due_after: Duration::ZERO,
        said: Said::default(),
        payment: None,
    }
}

/// What nobody here handles waits for a process that does. Money must not pass unseen, whichever handlers there are.
fn disposition(parsed: &Parsed, routes: &Routes) -> Disposition {
    if let Some(reason) = parsed.is_unaccounted() {
        return Disposition::Hold(reason.into());
    }
    match routes.of(&parsed.kind) {
        // Nobody but `#[payment]` waits for it.
        Some(route) if route.implied => Disposition::Noted,
        _ => Disposition::Handle,
    }
}

fn quarantined(route: &Route, body: Bytes, received_at: SystemTime, reason: &Unreadable) -> Received {
    let digest = Digest::of(&body);
    let reason = match payload::looks_like(&route.kind, &body) {
        Some(kind) => format!("{reason}; it looks like `{kind}`"),
        None => reason.to_string(),
    };
    Received {
        delivery_id: DeliveryId::random(),
        kind: route.kind.clone(),
        key: Private::from(format!("sha256:{digest}")),
        digest,
        meaning: digest,
        detail: None,
        outcome: None,
        body: Body(body),
        received_at,
        peer: None,
        reference: None,
        receipt: None,
        decision: None,
        disposition: Disposition::Quarantine(reason),
        due_after: Duration::ZERO,
        said: Said::default(),
        payment: None,
    }
}
