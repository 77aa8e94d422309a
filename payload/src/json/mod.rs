//! A lossless reader for Daraja's JSON.
//!
//! `serde_json::Value` drops repeated keys and turns amounts into floats, and a plain derive
//! rejects values of another type. So a body is read into a [`Document`]: members in order,
//! repeated ones included, leaves as the original tokens. Members are looked up by name; a repeated
//! member is an error.

pub(crate) mod levels;
mod mend;
mod object;
mod raw;
mod read;
mod text;

use std::borrow::Cow;
use std::iter;

use serde_json::value::RawValue;

pub(crate) use self::levels::Level;
pub(crate) use self::mend::mend;
pub(crate) use self::object::amount;
pub use self::raw::RawJson;
pub(crate) use self::raw::parameters_of;
pub(crate) use self::read::Name;
pub(crate) use self::text::{leaf, whole};
use crate::ParseError;

/// A parsed body. All values are in one list, each followed by its contents, so that parsing
/// allocates once.
pub(crate) struct Document<'a>(Vec<Slot<'a>>);

/// One value of a document.
struct Slot<'a> {
    /// Name of the member; items of lists have none.
    name: Cow<'a, str>,
    value: Value<'a>,
    /// Number of slots of the value, contents included.
    length: usize,
}

/// A value of a JSON document.
pub(crate) enum Value<'a> {
    Object,
    List,
    /// A string in the place of a container.
    Text(Cow<'a, str>),
    Null,
    /// The JSON text of a number, string, boolean, null, or of a member that is not read.
    Raw(&'a RawValue),
}

/// A value with its contents; its own slot comes first.
#[derive(Clone, Copy)]
pub(crate) struct Node<'d, 'a>(&'d [Slot<'a>]);

/// The members of an object, in order.
#[derive(Clone, Copy)]
pub(crate) struct Object<'d, 'a>(&'d [Slot<'a>]);

impl<'a> Document<'a> {
    /// Parses a whole body. Skips a byte order mark.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Document<'a>, ParseError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // Validated as a whole, so that the tokens need no second validation.
        let parsed = match str::from_utf8(body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(body),
        };
        // The error's text can quote the body, so only its position is kept.
        parsed.map_err(|error| ParseError::NotJson { line: error.line(), column: error.column() })
    }

    pub(crate) fn node(&self) -> Node<'_, 'a> {
        Node(&self.0)
    }

    /// Returns the object at the root.
    pub(crate) fn object(&self) -> Result<Object<'_, 'a>, ParseError> {
        self.node().object().ok_or(ParseError::NotAnObject)
    }
}

impl<'d, 'a> Node<'d, 'a> {
    pub(crate) fn value(self) -> &'d Value<'a> {
        &self.0[0].value
    }

    pub(crate) fn object(self) -> Option<Object<'d, 'a>> {
        matches!(self.value(), Value::Object).then(|| Object(&self.0[1..]))
    }

    /// Returns the items of a list.
    pub(crate) fn items(self) -> impl Iterator<Item = Node<'d, 'a>> {
        nodes(&self.0[1..])
    }

    /// Returns the text of an identifier: a number in exponent form (`2.54700000031E11`) becomes a
    /// whole number again.
    pub(crate) fn name(self) -> Result<Option<Cow<'a, str>>, ParseError> {
        match self.value() {
            Value::Raw(raw) => Ok(leaf(raw.get())?.map(|text| whole(raw.get()).map_or(text, Cow::Owned))),
            _ => self.text(),
        }
    }

    /// Returns the text of a string, number or boolean; `None` for null and containers.
    pub(crate) fn text(self) -> Result<Option<Cow<'a, str>>, ParseError> {
        match self.value() {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Raw(raw) => leaf(raw.get()),
            Value::Null | Value::Object | Value::List => Ok(None),
        }
    }
}

/// Returns the values in a list of slots, each with its contents.
fn nodes<'d, 'a>(mut slots: &'d [Slot<'a>]) -> impl Iterator<Item = Node<'d, 'a>> {
    iter::from_fn(move || {
        let (node, others) = slots.split_at(slots.first()?.length);
        slots = others;
        Some(Node(node))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(body: &str) -> Document<'_> {
        Document::parse(body.as_bytes()).unwrap()
    }

    fn text(body: &str, name: &'static str) -> Result<Option<String>, ParseError> {
        document(body).object()?.text(name).map(|text| text.map(Cow::into_owned))
    }

    #[test]
    fn what_is_in_a_value_is_not_beside_it() {
        let document = document(r#"{"Body":{"Item":[{"A":1},[],{"A":2}],"B":"3"},"C":4,"Result":null}"#);
        let root = document.object().unwrap();
        assert_eq!(root.members().map(|(name, _)| name).collect::<Vec<_>>(), ["Body", "C", "Result"]);
        let body = root.object("Body").unwrap().unwrap();
        assert_eq!(body.members().map(|(name, _)| name).collect::<Vec<_>>(), ["Item", "B"]);
        let item = body.member("Item").unwrap().unwrap();
        let items: Vec<_> = item.items().map(|item| item.object().map(|item| item.text("A").unwrap())).collect();
        assert_eq!(items, [Some(Some("1".into())), None, Some(Some("2".into()))]);
        assert!(body.text("A").unwrap().is_none() && root.object("Result").unwrap().is_none());
    }

    #[test]
    fn a_number_keeps_its_token() {
        let amount = text(r#"{"Amount":8959269.60}"#, "Amount").unwrap();
        assert_eq!(amount.as_deref(), Some("8959269.60"));
    }

    #[test]
    fn a_member_that_is_there_twice_has_no_one_answer() {
        let body = r#"{"TransID":"A","transID":"B"}"#;
        assert_eq!(text(body, "TransID"), Err(ParseError::Repeated { field: "TransID" }));
    }

    #[test]
    fn a_lone_surrogate_is_not_text_and_not_a_panic() {
        assert_eq!(text(r#"{"A":"\ud800"}"#, "A"), Err(ParseError::NotText));
    }

    #[test]
    fn ten_thousand_brackets_are_refused_or_left_unread() {
        assert!(Document::parse("[".repeat(10_000).as_bytes()).is_err());
        let body = format!(r#"{{"deep":{}{},"A":"1"}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(text(&body, "A").unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn a_name_that_was_cut_in_the_middle_of_an_emoji_is_mended_and_an_id_is_not() {
        let document = document(r#"{"Name":"a\ud83d b \ud83d\ude00 \\ud83d \udc00"}"#);
        let object = document.object().unwrap();
        assert_eq!(object.string("Name").unwrap().as_deref(), Some("a\u{fffd} b \u{1f600} \\ud83d \u{fffd}"));
        assert_eq!(object.id("Name"), Err(ParseError::NotText));
    }
}
