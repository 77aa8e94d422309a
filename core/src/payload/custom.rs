//! Callbacks of the application's own.

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, Saying};
use super::json::Node;
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
    pub(super) fn read(kind: &Kind, node: &Node<'_>, pointer: &str, source: Source) -> Result<Parsed, Unreadable> {
        let key = node.pointer(pointer)?.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let key = key.ok_or(Unreadable::NoKey { field: "key" })?;
        let callback = Callback::Custom(CustomCallback { meaning: canonical(node), source });
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

impl Serialize for CustomCallback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

/// The fingerprint of any JSON: members sorted, numbers and their spelling as text folded into one form.
fn canonical(node: &Node<'_>) -> Digest {
    let mut hash = Sha256::new();
    match node {
        Node::Object(object) => {
            let mut members: Vec<_> =
                object.members().map(|(name, node)| (Digest::of(name.as_bytes()), canonical(node))).collect();
            members.sort_unstable();
            hash.update(b"{");
            for (name, value) in members {
                hash.update(name.as_bytes());
                hash.update(value.as_bytes());
            }
        }
        Node::List(nodes) => {
            hash.update(b"[");
            for node in nodes {
                hash.update(canonical(node).as_bytes());
            }
        }
        Node::Raw(raw) if raw.get().starts_with(['{', '[']) => match Node::parse(raw.get().as_bytes()) {
            Ok(node) => return canonical(&node),
            Err(_) => hash.update(raw.get()),
        },
        Node::Raw(_) | Node::Text(_) | Node::Null => match node.text() {
            Ok(Some(text)) => hash.update(canonical_text(&text)),
            Ok(None) => hash.update(b"n"),
            Err(_) => hash.update(b"?"),
        },
    }
    Digest::from(<[u8; 32]>::from(hash.finalize()))
}

/// A number without needless zeros; anything else, an id with leading zeros too, as it is.
fn canonical_text(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match text.parse::<Amount>() {
        Ok(amount) if !leading_zero && text.trim() == text => format!("t{}", amount.canonical()),
        _ => format!("t{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(body: &str) -> Digest {
        canonical(&Node::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn order_space_and_number_spelling_do_not_change_what_is_said() {
        let said = meaning(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"007"}"#);
        assert_eq!(meaning(r#"{ "d":"007", "b":{"c":["true",null,"x"]},"a":"1.5" }"#), said);
        assert_ne!(meaning(r#"{"a":1.50,"b":{"c":[true,null,"x"]},"d":"7"}"#), said);
        assert_ne!(meaning(r#"{"a":1.50,"b":{"c":[null,true,"x"]},"d":"007"}"#), said);
    }
}
