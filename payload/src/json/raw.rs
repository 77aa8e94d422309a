//! The JSON of a payload.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

use super::{Document, Object, levels};
use crate::ParseError;
use crate::fields::{Entries, Parameters};

/// The JSON of a payload: every member as it was sent, including unknown and repeated ones.
///
/// `Serialize` writes it token by token without white space, for logs of your application and for
/// replay. It needs `serde_json`; other formats cannot embed JSON tokens. It does not take part in
/// comparisons of payloads.
#[derive(Clone)]
pub struct RawJson(Bytes);

impl RawJson {
    #[doc(hidden)]
    pub fn new(body: Bytes) -> RawJson {
        RawJson(if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body })
    }

    /// Returns the JSON text, byte by byte as it was received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text of the string, number or boolean at an RFC 6901 pointer, such as
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
        write!(f, "RawJson({} bytes)", self.0.len())
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

/// Parses one list of parameters of a body that was parsed before.
pub(crate) fn parameters_of(
    raw: &RawJson,
    entries: impl for<'a> Fn(Object<'_, 'a>) -> Result<Entries<'a>, ParseError>,
) -> Parameters {
    let parameters = || Ok::<_, ParseError>(entries(Document::parse(raw.as_bytes())?.object()?)?.into_parameters());
    parameters().unwrap_or_default()
}
