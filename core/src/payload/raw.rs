//! The JSON that a payload was read from.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

use super::levels;

/// The JSON that a payload was read from: every member as it was sent, unknown and repeated ones too.
///
/// It writes itself back with `Serialize`, token for token but for the white space between them, for logs of the
/// application's own and for replay. That is for `serde_json`; other formats have no place for JSON's tokens. It has no part in comparing payloads: two are equal when what they say is, however it was spelled.
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

    /// The text of the string, number or boolean that an RFC 6901 pointer names, such as
    /// `/Body/stkCallback/MerchantRequestID`. A number comes with the digits that were sent.
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
        // Its text can quote the body.
        let json = RawValue::from_string(levels::compact(text)).map_err(|_| ser::Error::custom("not JSON"))?;
        json.serialize(serializer)
    }
}

/// Payloads serialise as what was sent, compacted: for logs of the user's own, and for replay.
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
