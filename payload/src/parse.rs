//! From the bytes of a body to a typed payload.

use bytes::Bytes;

use crate::callbacks::is_timeout;
use crate::json::{self, Document, Object};
use crate::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    Callback, CustomCallback, Expectation, Kind, LipiaCallback, ParseError, Parsed, Payment, QueueTimeout,
    RatibaCallback, RawJson, ReversalResult, Sensitive, StatusResult, StkCallback, TaxResult,
};

/// Parses a body from the URL of this kind. `key` is the JSON pointer to the key of a custom kind.
///
/// # Errors
/// [`ParseError`]. It never quotes the body.
pub fn parse(kind: &Kind, body: &[u8], key: Option<&str>) -> Result<Parsed, ParseError> {
    parse_bytes(kind, &Bytes::copy_from_slice(body), key, None)
}

/// [`parse`] for a shared body, and for the per-payment URL with this reference.
///
/// # Errors
/// [`ParseError`]. It never quotes the body.
pub fn parse_bytes(
    kind: &Kind,
    body: &Bytes,
    key: Option<&str>,
    reference: Option<&Sensitive>,
) -> Result<Parsed, ParseError> {
    if let Kind::Custom(_) = kind {
        return CustomCallback::read(kind, key.unwrap_or_default(), RawJson::new(body.clone()));
    }
    let parsed = whole_or_mended(body, |root, raw| read_as(kind, root, raw, reference))?;
    // M-Pesa's ids are ASCII; another one has no certain reading.
    if !parsed.key.as_str().is_ascii() && std::str::from_utf8(body).is_err() {
        return Err(ParseError::NotText);
    }
    Ok(parsed)
}

/// Returns the kind that a body looks like which cannot be parsed as this kind. People give one URL
/// for two products.
pub fn looks_like(kind: &Kind, body: &Bytes) -> Option<Kind> {
    const TOLD_BY_SHAPE: [Kind; 7] = [
        Kind::Stk,
        Kind::C2bConfirmation,
        Kind::Lipia,
        Kind::Ratiba,
        Kind::BillManager,
        Kind::B2bExpress,
        Kind::B2cResult,
    ];
    let is_it = |other: &Kind| other != kind && parse_bytes(other, body, None, None).is_ok();
    TOLD_BY_SHAPE.into_iter().find(is_it)
}

/// Parses a body as one payload, with the function `read` of its type.
pub(crate) fn read<T>(
    body: &[u8],
    read: impl Fn(Object<'_, '_>, RawJson) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    whole_or_mended(&Bytes::copy_from_slice(body), read)
}

/// Parses a body as it is, or repaired if it is nearly JSON.
fn whole_or_mended<T>(
    body: &Bytes,
    read: impl Fn(Object<'_, '_>, RawJson) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let read = |body: &Bytes| read(Document::parse(body)?.object()?, RawJson::new(body.clone()));
    match read(body) {
        Err(error @ (ParseError::NotJson { .. } | ParseError::NotAnObject)) => {
            json::mend(body).map_or(Err(error), |mended| read(&mended.into()))
        }
        read => read,
    }
}

fn read_as(
    kind: &Kind,
    root: Object<'_, '_>,
    raw: RawJson,
    reference: Option<&Sensitive>,
) -> Result<Parsed, ParseError> {
    let mut actual = kind.clone();
    if let Some(counterpart) = kind.counterpart()
        && is_timeout(root, kind.is_timeout())? != kind.is_timeout()
    {
        actual = counterpart;
    }
    let callback = read_payload(&actual, root, raw)?;
    let key = match callback.payload().key() {
        Some(key) => key.into_owned(),
        // The echoed request of B2C version 1 has no id; the reference in its URL identifies it.
        None => match reference.filter(|_| actual.is_timeout()) {
            Some(reference) => reference.as_str().to_owned(),
            None => return Err(ParseError::NoKey { field: "OriginatorConversationID" }),
        },
    };
    Parsed::new(actual, key, callback)
}

macro_rules! define_read_payload {
    ($(
        $(#[$documentation:meta])*
        $kind:ident | $class:ident | $name:ident($payload:ident) | $path:tt | $ack:ident | $counterpart:tt;
    )*) => {
        fn read_payload(kind: &Kind, root: Object<'_, '_>, raw: RawJson) -> Result<Callback, ParseError> {
            Ok(match kind {
                $(Kind::$kind => <$payload>::read(root, raw)?.into(),)*
                Kind::Custom(_) => return Err(ParseError::NotAnObject),
            })
        }
    };
}

kinds!(define_read_payload);
