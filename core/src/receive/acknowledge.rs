//! Step 5: what the sender must hear. Every status code of the library is written here.

use std::borrow::Cow;

use super::record::RecordedDelivery;
use crate::engine::Engine;
use crate::kind::{JSON, Kind};
use crate::observe;

/// What a sender must hear, for an adapter to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    status: u16,
    header: Option<(&'static str, &'static str)>,
    body: Cow<'static, str>,
}

impl Acknowledgement {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers that belong to it, beside those that every HTTP server adds: names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.header.into_iter()
    }

    /// The body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body, to own.
    pub fn into_body(self) -> Cow<'static, str> {
        self.body
    }

    fn new(content_type: &'static str, body: Cow<'static, str>) -> Acknowledgement {
        Acknowledgement { status: 200, header: Some(("content-type", content_type)), body }
    }

    /// Refusals say nothing: their bodies are empty.
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
                return Acknowledgement::new(JSON, decision.into());
            }
            Refusal::Flooded => (503, RETRY, "flooded"),
            Refusal::Unavailable => (503, RETRY, "unavailable"),
        };
        observe::refused(reason);
        tracing::debug!(status, reason, "refused a request");
        Acknowledgement { status, header, body: Cow::Borrowed("") }
    }
}

/// What a sender hears with a 503. Daraja does not heed it; proxies and people do.
const RETRY: Option<(&str, &str)> = Some(("retry-after", "5"));

/// Why a request is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The secret is wrong, or the path is nobody's: the two look alike.
    NotFound,
    /// The secret is right, and the address that it comes from is not allowed, or not known.
    Forbidden,
    /// Too many requests are in flight, of its sort or from there.
    Busy,
    /// The path is right, and the method is not POST.
    MethodNotAllowed,
    /// The body broke off.
    CutOff,
    /// The body took too long.
    TooSlow,
    /// The body is too large.
    TooLarge,
    /// The body is compressed.
    Compressed,
    /// A validation for which there is no room: it gets the answer for when nobody decides.
    Undecided(String),
    /// Too much comes that cannot be read, or too much by the URL of one payment.
    Flooded,
    /// The callback could not be recorded, so it is not acknowledged.
    Unavailable,
}

impl Engine {
    pub(super) fn acknowledge(&self, stored: RecordedDelivery) -> Acknowledgement {
        let RecordedDelivery { route, kind, decision } = stored;
        if route.kind == Kind::C2bValidation {
            let body = decision.unwrap_or_else(|| route.fallback.to_body());
            return Acknowledgement::new(JSON, body.into());
        }
        // A route's own answer stands; of a swapped pair both hear the same.
        let answer = if kind == route.kind || kind.counterpart().as_ref() == Some(&route.kind) {
            route.answer
        } else {
            kind.answer()
        };
        Acknowledgement::new(answer.content_type, Cow::Borrowed(answer.body))
    }
}
