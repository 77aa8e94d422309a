//! Step 3: parse the body.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::read::ReadRequest;
use crate::Kind;
use crate::handler::{Route, Routes};
use crate::payload::{self, C2bValidation, Callback, ParseError, Parsed, Sensitive, strike_credentials};
use crate::record::{delivery_of, quarantined};
use crate::store::{Delivery, Disposition, Spooled};

/// A delivery that was parsed, or is quarantined. Boxed, because it is moved from step to step.
pub(super) struct ParsedDelivery {
    pub(super) route: Arc<Route>,
    pub(super) delivery: Box<Delivery>,
    /// The validation request that waits for a decision.
    pub(super) request: Option<Box<C2bValidation>>,
}

/// Parses bodies, with the handlers of this process.
pub(crate) struct Parser {
    pub(crate) routes: Routes,
    pub(crate) is_expecting: bool,
    pub(crate) counterpart_timeout: Duration,
}

impl Parser {
    pub(super) fn parse(&self, read: ReadRequest) -> ParsedDelivery {
        let ReadRequest { route, client_ip, reference, body, received_at } = read;
        let (body, read) = read_and_strike(&route, body, reference.as_ref());
        let (delivery, request) = match read {
            Ok(parsed) => {
                let mut delivery = delivery_of(&parsed, body, received_at, &self.routes);
                self.await_counterpart(&mut delivery, reference.as_ref());
                (delivery, validation_request(parsed))
            }
            Err(reason) => (quarantined(&route, body, received_at, &reason), None),
        };
        ParsedDelivery { route, delivery: Box::new(delivery.sent_by(client_ip).under(reference)), request }
    }

    /// Parses a delivery from the spool, with the handlers of this process.
    pub(crate) fn parse_spooled(&self, spooled: Spooled) -> Delivery {
        let Spooled { delivery_id, came_to, body, received_at, client_ip, reference, decision } = spooled;
        let route = Arc::new(self.routes.of(&came_to).cloned().unwrap_or_else(|| Route::new(came_to)));
        let parsed = self.parse(ReadRequest { route, client_ip, reference, body: body.0, received_at });
        let mut delivery = *parsed.delivery;
        delivery.is_delivery(delivery_id);
        if parsed.request.is_some() {
            // It was answered when it arrived.
            delivery.disposition = Disposition::Decided;
        }
        delivery.decision = decision;
        delivery
    }

    /// Delays a payment without a reference, because its counterpart may know the order: the
    /// confirmation of a push contains the account, the push of a confirmation the reference, and
    /// [`link_request_id`](crate::Inbox::link_request_id) may follow. In production the two arrive
    /// within seconds of each other, in either order.
    pub(crate) fn await_counterpart(&self, delivery: &mut Delivery, reference: Option<&Sensitive>) {
        let is_received = |kind: &Kind| self.routes.of(kind).is_some();
        let can_come = reference.is_none()
            && match delivery.kind {
                Kind::C2bConfirmation => is_received(&Kind::Stk),
                Kind::Stk => is_received(&Kind::C2bConfirmation) || self.is_expecting,
                _ => false,
            };
        if let Some(payment) = delivery.payment.as_mut().filter(|_| can_come) {
            payment.due_after = self.counterpart_timeout;
        }
    }
}

/// Parses a body, and removes credentials where Daraja may have echoed the merchant's own request:
/// from queue timeouts, and from bodies that cannot be parsed. Payers cannot put text into those.
fn read_and_strike(route: &Route, body: Bytes, reference: Option<&Sensitive>) -> (Bytes, Result<Parsed, ParseError>) {
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

fn read(route: &Route, body: &Bytes, reference: Option<&Sensitive>) -> Result<Parsed, ParseError> {
    let parsed = payload::parse_bytes(&route.kind, body, route.key.as_deref(), reference)?;
    if let (Callback::Custom(callback), Some(check)) = (&parsed.callback, route.check) {
        // The check is the application's code: quarantine the body if it panics.
        catch_unwind(AssertUnwindSafe(|| check(callback))).unwrap_or(Err(ParseError::Panicked))?;
    }
    Ok(parsed)
}

fn validation_request(parsed: Parsed) -> Option<Box<C2bValidation>> {
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
