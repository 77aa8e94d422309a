//! From a parsed body to the delivery that is recorded.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::Kind;
use crate::handler::{Route, Routes};
use crate::payload::{self, Digest, Outcome, ParseError, Parsed, Payment, RequestFacts, Sensitive};
use crate::store::{Body, Delivery, DeliveryId, Disposition};

/// Makes the delivery of a parsed body, with its payment; the payment is recorded whether or not
/// there is a `#[payment]` handler.
pub(crate) fn delivery_of(parsed: &Parsed, body: Bytes, received_at: SystemTime, routes: &Routes) -> Delivery {
    let delivery_id = DeliveryId::random();
    let payment = parsed.payment().map(|payment| Box::new(delivery_of_payment(&payment, delivery_id, received_at)));
    Delivery {
        delivery_id,
        kind: parsed.kind.clone(),
        key: parsed.key.clone(),
        body_digest: Digest::of(&body),
        content_digest: parsed.content_digest(),
        detail: parsed.detail(),
        outcome: parsed.callback.outcome(),
        body: Body(body),
        received_at,
        client_ip: None,
        reference: None,
        receipt: parsed.paid().map(|(receipt, _)| receipt.to_owned()),
        decision: None,
        disposition: disposition(parsed, routes),
        due_after: Duration::ZERO,
        facts: parsed.facts(),
        payment,
    }
}

fn delivery_of_payment(payment: &Payment, delivery_id: DeliveryId, received_at: SystemTime) -> Delivery {
    let body = payment.to_body();
    Delivery {
        delivery_id,
        kind: Kind::Payment,
        key: payment.receipt.as_str().into(),
        body_digest: Digest::of(&body),
        content_digest: payment.content_digest(),
        // Only whether there is an account: see `Delivery::completes`.
        detail: payment.account.is_some().then(|| Digest::of(b"account")),
        outcome: Some(Outcome::Success),
        body: Body(body),
        received_at,
        client_ip: None,
        reference: None,
        receipt: Some(payment.receipt.clone()),
        decision: None,
        disposition: Disposition::Handle,
        due_after: Duration::ZERO,
        facts: RequestFacts::default(),
        payment: None,
    }
}

/// Kinds without a handler wait for a process that has one. Money without an amount or receipt is
/// held.
fn disposition(parsed: &Parsed, routes: &Routes) -> Disposition {
    if let Some(reason) = parsed.unaccounted_reason() {
        return Disposition::Hold(reason.into());
    }
    match routes.of(&parsed.kind) {
        // Only `#[payment]` needs it.
        Some(route) if route.implied => Disposition::Noted,
        _ => Disposition::Handle,
    }
}

/// Makes the delivery of a body that cannot be parsed.
pub(crate) fn quarantined(route: &Route, body: Bytes, received_at: SystemTime, reason: &ParseError) -> Delivery {
    let body_digest = Digest::of(&body);
    let reason = match payload::looks_like(&route.kind, &body) {
        Some(kind) => format!("{reason}; it looks like `{kind}`"),
        None => reason.to_string(),
    };
    Delivery {
        delivery_id: DeliveryId::random(),
        kind: route.kind.clone(),
        key: Sensitive::from(format!("sha256:{body_digest}")),
        body_digest,
        content_digest: body_digest,
        detail: None,
        outcome: None,
        body: Body(body),
        received_at,
        client_ip: None,
        reference: None,
        receipt: None,
        decision: None,
        disposition: Disposition::Quarantine(reason),
        due_after: Duration::ZERO,
        facts: RequestFacts::default(),
        payment: None,
    }
}
