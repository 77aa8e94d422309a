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
    self, C2bValidation, Callback, Digest, Outcome, Parsed, Private, Said, Unreadable, strike_credentials,
};
use crate::routes::{Route, Routes};
use crate::store::{Body, Disposition, Received, Spooled};

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
        // A queue timeout may echo the merchant's own request, credentials and all; and people mix up URLs.
        let body = without_credentials(body);
        let (received, request) = match read(&route, &body) {
            Ok(parsed) => (received(&parsed, body, received_at, &self.routes), request(parsed)),
            Err(reason) => (quarantined(&route, body, received_at, &reason), None),
        };
        Understood { route, received: Box::new(received.sent_by(source).under(reference)), request }
    }

    /// What is recorded of a delivery that waited in the spool. The handlers may be others by now.
    pub(crate) fn parse_spooled(&self, spooled: Spooled) -> Received {
        let Spooled { came_to, body, received_at, peer, reference, decision } = spooled;
        let route = Arc::new(self.routes.of(&came_to).cloned().unwrap_or_else(|| Route::new(came_to)));
        let understood = self.parse(Heard { route, source: peer, reference, body: body.0, received_at });
        let mut received = *understood.received;
        if understood.request.is_some() {
            // It was answered when it came.
            received.disposition = Disposition::Decided;
        }
        received.decision = decision;
        received
    }
}

fn read(route: &Route, body: &Bytes) -> Result<Parsed, Unreadable> {
    let parsed = payload::parse_bytes(&route.kind, body, route.key.as_deref())?;
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

/// What is recorded of a body that was read, with the payment that it shows.
pub(crate) fn received(parsed: &Parsed, body: Bytes, received_at: SystemTime, routes: &Routes) -> Received {
    let receipt = parsed.paid().map(|(receipt, _)| receipt.to_owned());
    // A payment that nobody handles is not recorded: the callback itself is there to tell of it.
    let payment = routes.of(&Kind::Payment).and_then(|_| parsed.payment()).map(|payment| {
        let body = payment.to_body();
        Box::new(Received {
            kind: Kind::Payment,
            key: payment.receipt.as_str().into(),
            digest: Digest::of(&body),
            meaning: payment.says(),
            body: Body(body),
            received_at,
            peer: None,
            reference: None,
            receipt: receipt.clone(),
            decision: None,
            disposition: Disposition::Handle,
            due_after: Duration::ZERO,
            said: Said::default(),
            payment: None,
        })
    });
    let disposition = disposition(parsed, payment.is_some(), routes);
    Received {
        kind: parsed.kind.clone(),
        key: parsed.key.clone(),
        digest: Digest::of(&body),
        meaning: parsed.meaning(),
        body: Body(body),
        received_at,
        peer: None,
        reference: None,
        receipt,
        decision: None,
        disposition,
        due_after: Duration::ZERO,
        said: parsed.said(),
        payment,
    }
}

fn disposition(parsed: &Parsed, shows_payment: bool, routes: &Routes) -> Disposition {
    match routes.of(&parsed.kind) {
        None => Disposition::Hold("nothing handles this kind".into()),
        Some(route) if !route.implied => Disposition::Handle,
        // Nobody but `#[payment]` waits for it. Money without an amount or a receipt must not pass unseen.
        Some(_) if !shows_payment && parsed.callback.outcome().is_some_and(Outcome::is_success) => {
            Disposition::Hold("it tells of money without saying how much, or by which receipt".into())
        }
        Some(_) => Disposition::Noted,
    }
}

fn quarantined(route: &Route, body: Bytes, received_at: SystemTime, reason: &Unreadable) -> Received {
    let digest = Digest::of(&body);
    Received {
        kind: route.kind.clone(),
        key: Private::from(format!("sha256:{digest}")),
        digest,
        meaning: digest,
        body: Body(body),
        received_at,
        peer: None,
        reference: None,
        receipt: None,
        decision: None,
        disposition: Disposition::Quarantine(reason.to_string()),
        due_after: Duration::ZERO,
        said: Said::default(),
        payment: None,
    }
}
