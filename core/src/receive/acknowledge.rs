//! Step 5: the HTTP response. Every status code of the library is written here.

use std::borrow::Cow;

use crate::Kind;
use crate::access::Refusal;
use crate::observe;
use crate::record::RecordedDelivery;

/// The HTTP response to a callback, for an adapter to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    status: u16,
    header: Option<(&'static str, &'static str)>,
    body: Cow<'static, str>,
}

impl Acknowledgement {
    /// Returns the HTTP status code: 200 unless the request was refused.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Headers to add to those of the HTTP server, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.header.into_iter()
    }

    /// Returns the body of the response; empty for refusals.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns the body of the response, owned.
    pub fn into_body(self) -> Cow<'static, str> {
        self.body
    }

    fn new(content_type: &'static str, body: Cow<'static, str>) -> Acknowledgement {
        Acknowledgement { status: 200, header: Some(("content-type", content_type)), body }
    }

    pub(super) fn json(body: String) -> Acknowledgement {
        Acknowledgement::new("application/json", body.into())
    }

    /// Refusals have empty bodies, so that they reveal nothing.
    pub(super) fn refusing(refusal: Refusal) -> Acknowledgement {
        let (status, header, reason) = match refusal {
            Refusal::NotFound => (404, None, "not_found"),
            Refusal::Forbidden => (403, None, "forbidden"),
            Refusal::Busy => (503, RETRY, "busy"),
            Refusal::MethodNotAllowed => (405, Some(("allow", "POST")), "method_not_allowed"),
            Refusal::CutOff => (400, None, "cut_off"),
            Refusal::TooSlow => (408, None, "too_slow"),
            Refusal::TooLarge => (413, None, "too_large"),
            Refusal::Compressed => (415, None, "compressed"),
            Refusal::Undecided(decision) => {
                observe::validation_fell_back("busy");
                return Acknowledgement::new(Kind::C2bValidation.ack_body().content_type, decision.into());
            }
            Refusal::Flooded => (503, RETRY, "flooded"),
            Refusal::Unavailable => (503, RETRY, "unavailable"),
        };
        observe::refused(reason);
        tracing::debug!(status, reason, "refused a request");
        Acknowledgement { status, header, body: Cow::Borrowed("") }
    }
}

/// Sent with 503. Daraja ignores it; proxies and people do not.
const RETRY: Option<(&str, &str)> = Some(("retry-after", "5"));

/// Returns the response that the sender of this kind expects.
pub(super) fn acknowledge(recorded: RecordedDelivery) -> Acknowledgement {
    let RecordedDelivery { route, kind, decision } = recorded;
    if route.kind == Kind::C2bValidation {
        let body = decision.unwrap_or_else(|| route.fallback.to_body());
        return Acknowledgement::new(kind.ack_body().content_type, body.into());
    }
    // A route's own acknowledgement wins. Result and timeout URLs may be swapped: both kinds have
    // the same one.
    let is_of_route = kind == route.kind || kind.counterpart().as_ref() == Some(&route.kind);
    let ack = if is_of_route { route.ack_body } else { kind.ack_body() };
    Acknowledgement::new(ack.content_type, Cow::Borrowed(ack.body))
}
