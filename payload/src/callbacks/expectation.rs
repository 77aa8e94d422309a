//! Expectations: the callbacks that your application waits for.

use std::borrow::Cow;

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, Kind, Outcome, ParseError, RawJson, Sensitive};

/// A callback that your application expects, because it is about to send the request for it. Record
/// it with `Inbox::expect_callback` first.
///
/// ```
/// use std::time::Duration;
/// use mpesa_callbacks_payload::Kind;
/// use mpesa_callbacks_payload::{Amount, Expectation};
///
/// let push = Expectation::new(Kind::Stk, "order-123")
///     .amount(Amount::from_shillings(1500))
///     .timeout(Duration::from_secs(90));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expectation {
    /// Kind of the expected callback: one that answers a request, or a C2B confirmation.
    pub kind: Kind,
    /// Your own id of the request, as in its per-payment URL. For a C2B confirmation: the account
    /// number that the customer is to type.
    pub reference: Sensitive,
    /// Expected amount, in KES.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Expected pay bill or till number, for callbacks that contain one, such as C2B confirmations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_short_code: Option<String>,
    /// How long to wait for the callback before `#[overdue]` runs.
    #[serde(rename = "within_ms", serialize_with = "milliseconds")]
    pub timeout: Duration,
    /// Daraja's id of the request, after `Inbox::link_request_id`:
    /// a `CheckoutRequestID` or an `OriginatorConversationID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Sensitive>,
}

/// A push expires on the phone after about a minute, and its callback follows.
const WITHIN: Duration = Duration::from_secs(120);

impl Expectation {
    /// Expects a callback of this kind for the request with this reference. Use a reference for one
    /// request only: sending a push again is another request.
    pub fn new(kind: Kind, reference: impl Into<Sensitive>) -> Expectation {
        let reference = reference.into();
        Expectation { kind, reference, amount: None, business_short_code: None, timeout: WITHIN, id: None }
    }

    /// Sets the expected amount. A callback with another amount is a conflict.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Expectation {
        self.amount = Some(amount);
        self
    }

    /// Sets the expected pay bill or till number. A callback with another one is a conflict.
    #[must_use]
    pub fn business_short_code(mut self, short_code: impl Into<String>) -> Expectation {
        self.business_short_code = Some(short_code.into());
        self
    }

    /// Sets how long to wait for the callback. Default: 2 minutes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Expectation {
        self.timeout = timeout;
        self
    }

    /// For the engine: with Daraja's id of the request.
    #[doc(hidden)]
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Expectation {
        self.id = Some(id.into());
        self
    }

    pub(crate) fn read(root: Object<'_, '_>, _: RawJson) -> Result<Expectation, ParseError> {
        let milliseconds = root.text("within_ms")?;
        Ok(Expectation {
            kind: Kind::from_stored_name(root.text("kind")?.as_deref().unwrap_or_default()),
            reference: root.private("reference")?.ok_or(ParseError::NoKey { field: "reference" })?,
            amount: root.amount("amount")?,
            business_short_code: root.string("business_short_code")?,
            timeout: milliseconds.and_then(|text| text.parse().ok()).map_or(WITHIN, Duration::from_millis),
            id: root.private("id")?,
        })
    }

    /// Parses the output of [`to_body`](Expectation::to_body).
    #[doc(hidden)]
    pub fn parse(body: &[u8]) -> Result<Expectation, ParseError> {
        crate::parse::read(body, Expectation::read)
    }

    /// Returns its body in a store.
    #[doc(hidden)]
    pub fn to_body(&self) -> Bytes {
        // Serialising strings and numbers into memory does not fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Returns its key: the reference within the kind. Customers type account numbers in either
    /// case.
    #[doc(hidden)]
    pub fn key(&self) -> Sensitive {
        Expectation::key_of(&self.kind, self.reference.as_str())
    }

    /// Returns the key of this reference.
    #[doc(hidden)]
    pub fn key_of(kind: &Kind, reference: &str) -> Sensitive {
        match kind {
            Kind::C2bConfirmation => format!("{kind}/{}", reference.trim().to_lowercase()).into(),
            _ => format!("{kind}/{reference}").into(),
        }
    }

    /// Returns the key of the row for Daraja's id.
    #[doc(hidden)]
    pub fn key_of_id(kind: &Kind, id: &str) -> Sensitive {
        format!("{kind}#{id}").into()
    }

    /// Returns the key of the rows with the ids of a reference.
    #[doc(hidden)]
    pub fn key_of_ids(kind: &Kind, reference: &str) -> Sensitive {
        format!("{kind}@{reference}").into()
    }

    /// Returns the id in such a key.
    #[doc(hidden)]
    pub fn id_in<'k>(kind: &Kind, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(kind.name())?.strip_prefix('#')
    }

    /// Returns the key of the row for the change with this number: odd numbers withdraw the expectation, even ones
    /// expect the same again. The expectation itself is number 0, and has its own key.
    #[doc(hidden)]
    pub fn key_of_change(kind: &Kind, reference: &str, number: u32) -> Sensitive {
        format!("{kind}!{number}/{reference}").into()
    }

    /// Returns the number of the change in such a key.
    #[doc(hidden)]
    pub fn change_in(kind: &Kind, key: &str) -> Option<u32> {
        let (number, _) = key.strip_prefix(kind.name())?.strip_prefix('!')?.split_once('/')?;
        number.parse().ok()
    }

    /// Returns the key of the row with the receipt of a request that was reconciled without Daraja's id.
    #[doc(hidden)]
    pub fn key_of_receipt(kind: &Kind, reference: &str) -> Sensitive {
        format!("{kind}${reference}").into()
    }

    /// Returns the digest of the content, for the engine.
    #[doc(hidden)]
    pub fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::Overdue)
            .text(Some(self.kind.name()))
            .text(Some(self.reference.as_str()))
            .amount(self.amount)
            .text(self.business_short_code.as_deref())
            .digest()
    }
}

impl Payload for Expectation {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.key().into_string().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        None
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        self.content_digest()
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
