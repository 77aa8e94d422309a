//! The JSON that a payload was read from.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};

use super::json::Node;

/// The JSON that a payload was read from: every member as it was sent, unknown and repeated ones too.
///
/// It writes itself back with `Serialize` (member for member, without white space), for logs of the application's own
/// and for replay. It has no part in comparing payloads: two are equal when what they say is, however it was spelled.
#[derive(Clone)]
pub struct Source(Bytes);

impl Source {
    pub(crate) fn new(body: &Bytes) -> Source {
        Source(if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body.clone() })
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text of the string, number or boolean that an RFC 6901 pointer names, such as
    /// `/Body/stkCallback/MerchantRequestID`. A number comes with the digits that were sent.
    pub fn pointer(&self, pointer: &str) -> Option<String> {
        Some(Node::parse(&self.0).ok()?.pointer(pointer).ok()??.into_owned())
    }
}

/// Always equal: see [`Source`].
impl PartialEq for Source {
    fn eq(&self, _: &Source) -> bool {
        true
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} bytes)", self.0.len())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Node::parse(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
    }
}
