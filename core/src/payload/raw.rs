//! The JSON of a payload.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

use super::levels;

/// The JSON of a payload: every member as it was sent, including unknown and repeated ones.
///
/// `Serialize` writes it token by token without white space, for logs of the application and for
/// replay. It needs `serde_json`; other formats cannot embed JSON tokens. It does not take part in
/// comparisons of payloads.
#[derive(Clone)]
pub struct RawJson(Bytes);

impl RawJson {
    pub(crate) fn new(body: Bytes) -> RawJson {
        RawJson(if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body })
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text of the string, number or boolean at an RFC 6901 pointer, such as
    /// `/Body/stkCallback/MerchantRequestID`. A number has its original digits.
    pub fn pointer(&self, pointer: &str) -> Option<String> {
        let text = std::str::from_utf8(&self.0).ok()?;
        Some(levels::pointer(text, pointer).ok()??.into_owned())
    }
}

/// Always equal: see [`RawJson`].
impl PartialEq for RawJson {
    fn eq(&self, _: &RawJson) -> bool {
        true
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} bytes)", self.0.len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.0).map_err(ser::Error::custom)?;
        // The error's text can quote the body.
        let json = RawValue::from_string(levels::compact(text)).map_err(|_| ser::Error::custom("not JSON"))?;
        json.serialize(serializer)
    }
}

/// Payloads serialise as their original JSON, compacted.
macro_rules! serialize_as_sent {
    ($($payload:ident)+) => {$(
        impl serde::Serialize for $payload {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.raw.serialize(serializer)
            }
        }
    )+};
}
pub(super) use serialize_as_sent;
