//! Callbacks of your own.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::digest::{ContentHasher, Digest};
use crate::json::{Level, leaf, levels};
use crate::payload::Payload;
use crate::{Amount, Callback, Kind, Outcome, ParseError, Parsed, RawJson};

/// A callback of a custom kind, `#[callback(path = "…", key = "/json/pointer")]`.
///
/// Its key is found by the pointer; your own type parses the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomCallback {
    /// Digest of the whole body, independent of order and spelling.
    content_digest: Digest,
    /// The body as JSON.
    pub raw: RawJson,
}

impl CustomCallback {
    pub(crate) fn read(kind: &Kind, pointer: &str, raw: RawJson) -> Result<Parsed, ParseError> {
        // Validate the whole first: everything below looks at one level at a time.
        let text = std::str::from_utf8(raw.as_bytes()).map_err(|_| ParseError::NotText)?;
        let _: &RawValue = serde_json::from_str(text)
            .map_err(|error| ParseError::NotJson { line: error.line(), column: error.column() })?;
        let key = levels::pointer(text, pointer)?.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let key = key.ok_or(ParseError::NoKey { field: "key" })?;
        let callback = Callback::Custom(CustomCallback { content_digest: canonical(text, 0), raw });
        Parsed::new(kind.clone(), key, callback)
    }

    /// Deserialises the body into your type.
    ///
    /// # Errors
    /// [`ParseError::NotOfTheType`].
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        // The error's text can quote the body, so only its position is kept.
        serde_json::from_slice(self.raw.as_bytes())
            .map_err(|error| ParseError::NotOfTheType { line: error.line(), column: error.column() })
    }
}

impl Payload for CustomCallback {
    /// None: it is found by a pointer that the payload does not know.
    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn outcome(&self) -> Option<Outcome> {
        None
    }

    fn content_digest(&self, kind: &Kind) -> Digest {
        ContentHasher::of(kind).text(Some(&self.content_digest.to_hex())).digest()
    }
}

/// Maximum depth of a comparison by members; deeper parts are compared as text.
const DEPTH: usize = 32;

/// Returns the digest of any JSON: members sorted by name, numbers and their spelling as text in one
/// form.
fn canonical(text: &str, depth: usize) -> Digest {
    let mut hash = Sha256::new();
    match Level::of(text) {
        Ok(Level::Object(mut members)) if depth < DEPTH => {
            // Repeated names keep their order: in most readers the last one wins.
            members.sort_by(|one, other| one.0.cmp(&other.0));
            hash.update(b"{");
            for (name, value) in members {
                hash.update(Digest::of(name.as_bytes()).as_bytes());
                hash.update(canonical(value.get(), depth + 1).as_bytes());
            }
        }
        Ok(Level::List(items)) if depth < DEPTH => {
            hash.update(b"[");
            for item in items {
                hash.update(canonical(item.get(), depth + 1).as_bytes());
            }
        }
        Ok(Level::Leaf(token)) => match leaf(token) {
            Ok(Some(text)) => hash.update(canonical_leaf(&text, token.starts_with('"'))),
            Ok(None) => hash.update(b"n"),
            Err(_) => hash.update(format!("?{token}")),
        },
        _ => hash.update(format!("d{}", levels::compact(text))),
    }
    Digest::from(<[u8; 32]>::from(hash.finalize()))
}

/// Returns a number without redundant zeros. Text equals a number only if it is written like that
/// number; ids with leading or trailing zeros stay as they are.
fn canonical_leaf(text: &str, is_text: bool) -> String {
    match text.parse::<Amount>().map(Amount::canonical) {
        Ok(number) if !is_text || number == text => format!("t{number}"),
        _ => format!("t{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_digest(body: &str) -> Digest {
        canonical(body, 0)
    }

    #[test]
    fn order_space_and_number_spelling_do_not_change_what_is_said() {
        let said = content_digest(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"007"}"#);
        assert_eq!(content_digest(r#"{ "d":"007", "b":{"c":["true",null,"x"]},"a":"1.5" }"#), said);
        assert_ne!(content_digest(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"7"}"#), said);
        assert_ne!(content_digest(r#"{"a":1.50,"b":{"c":[null,true,"x"]},"d":"007"}"#), said);
    }

    #[test]
    fn ids_that_look_like_numbers_and_repeated_members_are_told_apart() {
        assert_ne!(content_digest(r#"{"id":"1.10"}"#), content_digest(r#"{"id":"1.1"}"#));
        assert_ne!(content_digest(r#"{"id":"12E3"}"#), content_digest(r#"{"id":"12000"}"#));
        assert_ne!(content_digest(r#"{"a":1,"a":2}"#), content_digest(r#"{"a":2,"a":1}"#));
    }

    #[test]
    fn a_body_that_nests_without_end_is_read_in_good_time() {
        let body = format!(r#"{{"id":1,"x":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        let raw = RawJson::new(bytes::Bytes::from(body));
        let parsed = CustomCallback::read(&Kind::custom("/x"), "/id", raw).unwrap();
        assert_eq!(parsed.key, "1");
        let Callback::Custom(callback) = parsed.callback else { panic!("a custom callback") };
        assert!(serde_json::to_string(&callback).unwrap().len() > 60_000);
    }
}
