//! What the application asked M-Pesa for, and waits to hear of.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::digest::{ContentHasher, Digest};
use super::json::Object;
use super::{Amount, ParseError, RawJson, Sensitive};
use crate::kind::Kind;

/// A callback that an application expects, because it is about to ask for it: recorded with
/// [`Inbox::expect_callback`](crate::Inbox::expect_callback) before the request to Daraja goes out.
///
/// ```
/// use std::time::Duration;
/// use mpesa_callbacks_core::Kind;
/// use mpesa_callbacks_core::payload::{Amount, Expectation};
///
/// let push = Expectation::new(Kind::Stk, "order-123")
///     .amount(Amount::from_shillings(1500))
///     .timeout(Duration::from_secs(90));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expectation {
    /// Which callback is to come: one that answers a request, or a C2B confirmation.
    pub kind: Kind,
    /// The merchant's own id of the request, the one in its per-payment URL. Of a C2B confirmation: the account number that the
    /// customer is to type.
    pub reference: Sensitive,
    /// How much is to be moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// The pay bill or till number that is to get it, for callbacks that tell: C2B confirmations do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_short_code: Option<String>,
    /// How long to wait for the callback before `#[overdue]` runs.
    #[serde(rename = "within_ms", serialize_with = "milliseconds")]
    pub timeout: Duration,
    /// Daraja's id of the request, once [`Inbox::link_request_id`](crate::Inbox::link_request_id) has told it: a `CheckoutRequestID` or an
    /// `OriginatorConversationID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Sensitive>,
}

/// A push expires on the phone after about a minute, and its callback follows.
const WITHIN: Duration = Duration::from_secs(120);

impl Expectation {
    /// A callback of this kind, for the request with this reference. A reference is for one request: when a push is sent
    /// again, that is another one.
    pub fn new(kind: Kind, reference: impl Into<Sensitive>) -> Expectation {
        let reference = reference.into();
        Expectation { kind, reference, amount: None, business_short_code: None, timeout: WITHIN, id: None }
    }

    /// How much is to be moved. A callback that tells of another amount is a conflict.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Expectation {
        self.amount = Some(amount);
        self
    }

    /// The pay bill or till number that is to get it. A callback that tells of another one is a conflict.
    #[must_use]
    pub fn business_short_code(mut self, short_code: impl Into<String>) -> Expectation {
        self.business_short_code = Some(short_code.into());
        self
    }

    /// How long to wait for the callback; two minutes unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Expectation {
        self.timeout = timeout;
        self
    }

    pub(super) fn read(root: Object<'_, '_>, _: RawJson) -> Result<Expectation, ParseError> {
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

    /// Reads back what [`to_body`](Expectation::to_body) wrote.
    pub(crate) fn parse(body: &[u8]) -> Result<Expectation, ParseError> {
        super::read(body, Expectation::read)
    }

    /// Its body in a store.
    pub(crate) fn to_body(&self) -> Bytes {
        // Writing strings, numbers and no maps into memory does not fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// What it is found by: the reference, within the kind. People type account numbers in either case.
    pub(crate) fn key(&self) -> Sensitive {
        Expectation::key_of(&self.kind, self.reference.as_str())
    }

    pub(crate) fn key_of(kind: &Kind, reference: &str) -> Sensitive {
        match kind {
            Kind::C2bConfirmation => format!("{kind}/{}", reference.trim().to_lowercase()).into(),
            _ => format!("{kind}/{reference}").into(),
        }
    }

    /// What it is found by once Daraja's id is known.
    pub(crate) fn key_of_id(kind: &Kind, id: &str) -> Sensitive {
        format!("{kind}#{id}").into()
    }

    /// Under which the ids of a reference are found, one row for each.
    pub(crate) fn key_of_ids(kind: &Kind, reference: &str) -> Sensitive {
        format!("{kind}@{reference}").into()
    }

    /// The id in such a key.
    pub(crate) fn id_in<'k>(kind: &Kind, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(kind.name())?.strip_prefix('#')
    }

    pub(crate) fn content_digest(&self) -> Digest {
        ContentHasher::of(&Kind::Overdue)
            .text(Some(self.kind.name()))
            .text(Some(self.reference.as_str()))
            .amount(self.amount)
            .text(self.business_short_code.as_deref())
            .digest()
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
