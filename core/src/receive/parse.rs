//! Step 3: what they say.

use std::borrow::Cow;

use bytes::Bytes;

use super::read::Heard;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::payload::{self, Callback, Digest, Parsed, Private, Unreadable, strike_credentials};
use crate::routes::{Route, Routes};
use crate::store::{Disposition, Received};

/// A delivery that was read, or was found unreadable and is kept as it came.
pub(super) struct Understood<'e> {
    pub(super) route: &'e Route,
    pub(super) received: Received,
    /// The payload; none when it cannot be read.
    pub(super) callback: Option<Callback>,
}

impl Engine {
    pub(super) fn parse<'e>(&self, heard: Heard<'e>) -> Understood<'e> {
        let Heard { route, peer, body, received_at } = heard;
        // A queue timeout may echo the merchant's own request, credentials and all; and people swap the two URLs.
        let body = if route.kind.twin().is_some() { without_credentials(body) } else { body };
        let (mut received, callback) = match read(route, &body) {
            Ok(parsed) => (received(&parsed, body, received_at, &self.routes), Some(parsed.callback)),
            Err(reason) => (quarantined(route, without_credentials(body), received_at, &reason), None),
        };
        received.peer = peer;
        if let Some(payment) = &mut received.payment {
            payment.peer = peer;
        }
        Understood { route, received, callback }
    }
}

fn read(route: &Route, body: &Bytes) -> Result<Parsed, Unreadable> {
    let parsed = payload::parse(&route.kind, body, route.key.as_deref())?;
    if let (Callback::Custom(callback), Some(check)) = (&parsed.callback, route.check) {
        check(callback)?;
    }
    Ok(parsed)
}

fn without_credentials(body: Bytes) -> Bytes {
    match strike_credentials(&body) {
        Cow::Borrowed(_) => body,
        Cow::Owned(struck) => struck.into(),
    }
}

/// What is recorded of a body that was read, with the payment that it shows.
pub(crate) fn received(parsed: &Parsed, body: Bytes, received_at: std::time::SystemTime, routes: &Routes) -> Received {
    let disposition = |kind: &Kind| match routes.of(kind) {
        Some(route) if route.implied => Disposition::Noted,
        Some(_) => Disposition::Handle,
        None => Disposition::Unhandled,
    };
    let payment = parsed.payment();
    let receipt = payment.as_ref().map(|payment| payment.receipt.clone());
    // A payment that nobody handles is not recorded: the callback itself is there to tell of it.
    let payment = payment.filter(|_| routes.of(&Kind::Payment).is_some()).map(|payment| {
        let body = payment.to_body();
        Box::new(Received {
            kind: Kind::Payment,
            key: payment.receipt.as_str().into(),
            digest: Digest::of(&body),
            meaning: payment.says(),
            body,
            received_at,
            peer: None,
            reference: None,
            receipt: receipt.clone(),
            disposition: Disposition::Handle,
            payment: None,
        })
    });
    Received {
        kind: parsed.kind.clone(),
        key: parsed.key.clone(),
        digest: Digest::of(&body),
        meaning: parsed.meaning(),
        body,
        received_at,
        peer: None,
        reference: None,
        receipt,
        disposition: disposition(&parsed.kind),
        payment,
    }
}

fn quarantined(route: &Route, body: Bytes, received_at: std::time::SystemTime, reason: &Unreadable) -> Received {
    let digest = Digest::of(&body);
    Received {
        kind: route.kind.clone(),
        key: Private::from(format!("sha256:{digest}")),
        digest,
        meaning: digest,
        body,
        received_at,
        peer: None,
        reference: None,
        receipt: None,
        disposition: Disposition::Quarantine(reason.to_string()),
        payment: None,
    }
}
