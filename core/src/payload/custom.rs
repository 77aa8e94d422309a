//! Callbacks of the application's own.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, Saying};
use super::json::leaf;
use super::levels::{self, Level};
use super::{Amount, Callback, Parsed, Source, Unreadable};
use crate::kind::Kind;

/// A callback that this library has no table row for, `#[callback(path = "…", key = "/json/pointer")]`.
///
/// Its key is found by the pointer; the rest is for the application's own type to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomCallback {
    /// The fingerprint of the whole body, whatever its order and spelling.
    meaning: Digest,
    /// All that was sent.
    pub source: Source,
}

impl CustomCallback {
    pub(super) fn read(kind: &Kind, pointer: &str, source: Source) -> Result<Parsed, Unreadable> {
        // Checked as a whole first: everything below looks at one level of it at a time.
        let text = std::str::from_utf8(source.as_bytes()).map_err(|_| Unreadable::NotText)?;
        let _: &RawValue = serde_json::from_str(text)
            .map_err(|error| Unreadable::NotJson { line: error.line(), column: error.column() })?;
        let key = levels::pointer(text, pointer)?.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let key = key.ok_or(Unreadable::NoKey { field: "key" })?;
        let callback = Callback::Custom(CustomCallback { meaning: canonical(text, 0), source });
        Parsed::new(kind.clone(), key, callback)
    }

    /// Reads the body as the application's type.
    ///
    /// # Errors
    /// [`Unreadable::NotOfTheType`] when it does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        // The error's text can quote the body, so only its place is kept.
        serde_json::from_slice(self.source.as_bytes())
            .map_err(|error| Unreadable::NotOfTheType { line: error.line(), column: error.column() })
    }

    pub(super) fn says(&self, kind: &Kind) -> Digest {
        Saying::of(kind).text(Some(&self.meaning.to_hex())).digest()
    }
}

/// How deep a body is compared member by member. Nobody nests deeper; what does is compared as text.
const DEPTH: usize = 32;

/// The fingerprint of any JSON: members sorted by name, numbers and their spelling as text folded into one form.
fn canonical(text: &str, depth: usize) -> Digest {
    let mut hash = Sha256::new();
    match Level::of(text) {
        Ok(Level::Object(mut members)) if depth < DEPTH => {
            // Repeated names keep their order: the last one wins in most readers.
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

/// A number without needless zeros. Text is the same as a number when it is written as that number would be; anything
/// else, an id with leading or trailing zeros too, is itself.
fn canonical_leaf(text: &str, is_text: bool) -> String {
    match text.parse::<Amount>().map(Amount::canonical) {
        Ok(number) if !is_text || number == text => format!("t{number}"),
        _ => format!("t{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(body: &str) -> Digest {
        canonical(body, 0)
    }

    #[test]
    fn order_space_and_number_spelling_do_not_change_what_is_said() {
        let said = meaning(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"007"}"#);
        assert_eq!(meaning(r#"{ "d":"007", "b":{"c":["true",null,"x"]},"a":"1.5" }"#), said);
        assert_ne!(meaning(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"7"}"#), said);
        assert_ne!(meaning(r#"{"a":1.50,"b":{"c":[null,true,"x"]},"d":"007"}"#), said);
    }

    #[test]
    fn ids_that_look_like_numbers_and_repeated_members_are_told_apart() {
        assert_ne!(meaning(r#"{"id":"1.10"}"#), meaning(r#"{"id":"1.1"}"#));
        assert_ne!(meaning(r#"{"id":"12E3"}"#), meaning(r#"{"id":"12000"}"#));
        assert_ne!(meaning(r#"{"a":1,"a":2}"#), meaning(r#"{"a":2,"a":1}"#));
    }

    #[test]
    fn a_body_that_nests_without_end_is_read_in_good_time() {
        let body = format!(r#"{{"id":1,"x":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        let source = Source::new(bytes::Bytes::from(body));
        let parsed = CustomCallback::read(&Kind::custom("/x"), "/id", source).unwrap();
        assert_eq!(parsed.key, "1");
        let Callback::Custom(callback) = parsed.callback else { panic!("a custom callback") };
        assert!(serde_json::to_string(&callback).unwrap().len() > 60_000);
    }
}
