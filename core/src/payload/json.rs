//! A JSON text as Daraja may write it, read without losing anything.
//!
//! `serde_json::Value` forgets repeated keys and makes floats of amounts, and a plain derive refuses what merely looks
//! different. So bodies are read into a [`Document`]: members in order, repeated ones included, and every leaf as the token
//! that was sent. A member is then asked for by name, and a member that is there twice has no one answer.

use std::borrow::Cow;
use std::fmt;
use std::iter;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Amount, DarajaTime, Msisdn, Private, ResultCode, Unreadable};

/// Whether a member of this name holds what we read, in any of Daraja's envelopes. All others are leaves, kept as the text they
/// are. By their lengths, because every name in a body is asked about.
fn is_container(name: &str) -> bool {
    let containers: &[&str] = match name.len() {
        4 => &["Body", "Item"],
        6 => &["Result"],
        8 => &["Envelope", "response"],
        11 => &["stkCallback"],
        12 => &["responseBody", "responseData"],
        13 => &["ReferenceData", "ReferenceItem"],
        14 => &["responseHeader"],
        15 => &["ResultParameter"],
        16 => &["CallbackMetadata", "ResultParameters"],
        _ => &[],
    };
    containers.iter().any(|container| name.eq_ignore_ascii_case(container))
}

/// A body that was read. All its values are in one list, each followed by what is in it, so that reading allocates once.
pub(crate) struct Document<'a>(Vec<Slot<'a>>);

/// A value in a document.
struct Slot<'a> {
    /// As a member; items of lists have none.
    name: Cow<'a, str>,
    value: Value<'a>,
    /// How many slots it takes, with all that is in it.
    length: usize,
}

/// What a value is.
pub(crate) enum Value<'a> {
    Object,
    List,
    /// A string that stood where a container may stand.
    Text(Cow<'a, str>),
    Null,
    /// Anything else: the JSON text of a number, string, boolean, null, or of a member we do not look into.
    Raw(&'a RawValue),
}

/// A value, with all that is in it: its own slot comes first.
#[derive(Clone, Copy)]
pub(crate) struct Node<'d, 'a>(&'d [Slot<'a>]);

/// The members of an object in the order in which they came.
#[derive(Clone, Copy)]
pub(crate) struct Object<'d, 'a>(&'d [Slot<'a>]);

impl<'a> Document<'a> {
    /// Reads a whole body; a byte order mark before it is passed over.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // Checked as a whole, it need not be checked again token by token.
        let parsed = match str::from_utf8(body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(body),
        };
        // The error's text can quote the body, so only its place is kept.
        parsed.map_err(|error| Unreadable::NotJson { line: error.line(), column: error.column() })
    }

    pub(crate) fn node(&self) -> Node<'_, 'a> {
        Node(&self.0)
    }

    /// The object that a body must be.
    pub(crate) fn object(&self) -> Result<Object<'_, 'a>, Unreadable> {
        self.node().object().ok_or(Unreadable::NotAnObject)
    }
}

impl<'d, 'a> Node<'d, 'a> {
    pub(crate) fn value(self) -> &'d Value<'a> {
        &self.0[0].value
    }

    pub(crate) fn object(self) -> Option<Object<'d, 'a>> {
        matches!(self.value(), Value::Object).then(|| Object(&self.0[1..]))
    }

    /// The items of a list.
    pub(crate) fn items(self) -> impl Iterator<Item = Node<'d, 'a>> {
        nodes(&self.0[1..])
    }

    /// The text of a string, number or boolean. Null, and what is no leaf, has none.
    pub(crate) fn text(self) -> Result<Option<Cow<'a, str>>, Unreadable> {
        match self.value() {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Raw(raw) => leaf(raw.get()),
            Value::Null | Value::Object | Value::List => Ok(None),
        }
    }
}

/// One after the other, each with what is in it.
fn nodes<'d, 'a>(mut slots: &'d [Slot<'a>]) -> impl Iterator<Item = Node<'d, 'a>> {
    iter::from_fn(move || {
        let (node, others) = slots.split_at(slots.first()?.length);
        slots = others;
        Some(Node(node))
    })
}

/// The text of one JSON token; `None` of null and of what is no leaf.
pub(super) fn leaf(token: &str) -> Result<Option<Cow<'_, str>>, Unreadable> {
    match token.as_bytes().first() {
        Some(b'"') => match token.get(1..token.len() - 1) {
            Some(text) if !text.contains('\\') => Ok(Some(Cow::Borrowed(text))),
            // Escapes; half of a surrogate pair is the one thing that can be wrong here.
            _ => {
                serde_json::from_str(token).map(|text: String| Some(Cow::Owned(text))).map_err(|_| Unreadable::NotText)
            }
        },
        Some(b'{' | b'[' | b'n') | None => Ok(None),
        Some(_) => Ok(Some(Cow::Borrowed(token))),
    }
}

/// The token with every half of a surrogate pair replaced, as text decoders do. A name that was cut in the middle of an
/// emoji is no reason not to take the money.
fn mended(token: &str) -> String {
    let unit = |at: usize| {
        let escape = token.get(at..at + 6).filter(|escape| escape.starts_with("\\u"))?;
        u16::from_str_radix(&escape[2..], 16).ok()
    };
    let mut text = String::with_capacity(token.len());
    let mut at = 0;
    while at < token.len() {
        let rest = &token[at..];
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                text.push_str("\\ufffd");
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            _ if rest.starts_with('\\') => 2,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        text.push_str(&rest[..length.min(rest.len())]);
        at += length;
    }
    text
}

impl<'d, 'a> Object<'d, 'a> {
    /// The member of this name, whatever its letters' case: Daraja flips it (`responseHeader`, `ResponseHeader`).
    pub(crate) fn member(self, name: &'static str) -> Result<Option<Node<'d, 'a>>, Unreadable> {
        // Most names that are as long are the same, to the letter.
        let is_it = |member: &str| member.len() == name.len() && (member == name || member.eq_ignore_ascii_case(name));
        let mut found = None;
        for (member, node) in self.members() {
            if is_it(member) && found.replace(node).is_some() {
                return Err(Unreadable::Repeated { field: name });
            }
        }
        Ok(found)
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.members().any(|(member, _)| member.eq_ignore_ascii_case(name))
    }

    /// The object in a member; one that is absent, null or something else is none.
    pub(crate) fn object(self, name: &'static str) -> Result<Option<Object<'d, 'a>>, Unreadable> {
        Ok(self.member(name)?.and_then(Node::object))
    }

    /// The text in a member; absent, null and empty are the same.
    pub(crate) fn text(self, name: &'static str) -> Result<Option<Cow<'a, str>>, Unreadable> {
        let text = self.member(name)?.map_or(Ok(None), Node::text)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// Text that decides nothing: what is not valid Unicode in it is replaced.
    pub(crate) fn string(self, name: &'static str) -> Result<Option<String>, Unreadable> {
        match self.text(name) {
            Err(Unreadable::NotText) => match self.member(name)?.map(Node::value) {
                Some(Value::Raw(raw)) => Ok(leaf(&mended(raw.get()))?.map(Cow::into_owned)),
                _ => Err(Unreadable::NotText),
            },
            text => Ok(text?.map(Cow::into_owned)),
        }
    }

    pub(crate) fn private(self, name: &'static str) -> Result<Option<Private>, Unreadable> {
        Ok(self.string(name)?.map(Private::from))
    }

    /// An identifier: text without white space around it.
    pub(crate) fn id(self, name: &'static str) -> Result<Option<String>, Unreadable> {
        Ok(self.text(name)?.map(|text| text.trim().to_owned()))
    }

    /// Money. What is there must be an amount: a payment is not recorded with a guess.
    pub(crate) fn amount(self, name: &'static str) -> Result<Option<Amount>, Unreadable> {
        amount(name, self.text(name)?.as_deref())
    }

    /// A time; one that cannot be read is left to the raw body, as nothing hangs on it.
    pub(crate) fn time(self, name: &'static str) -> Result<Option<DarajaTime>, Unreadable> {
        Ok(self.text(name)?.and_then(|text| DarajaTime::parse(&text)))
    }

    pub(crate) fn msisdn(self, name: &'static str) -> Result<Option<Msisdn>, Unreadable> {
        Ok(self.text(name)?.map(|text| Msisdn::from(&*text)))
    }

    pub(crate) fn code(self, name: &'static str) -> Result<Option<ResultCode>, Unreadable> {
        Ok(self.text(name)?.map(|text| ResultCode::from(&*text)))
    }

    pub(crate) fn members(self) -> impl Iterator<Item = (&'d str, Node<'d, 'a>)> {
        nodes(self.0).map(|node| (&*node.0[0].name, node))
    }
}

/// Money, or nothing where nothing was said.
pub(crate) fn amount(field: &'static str, text: Option<&str>) -> Result<Option<Amount>, Unreadable> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Unreadable::Malformed { field, expected: "an amount" }),
    }
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<'de>, D::Error> {
        let mut slots = Vec::with_capacity(ROOM);
        Reading { slots: &mut slots, name: Cow::Borrowed("") }.deserialize(deserializer)?;
        Ok(Document(slots))
    }
}

/// As many values as there are in most bodies.
const ROOM: usize = 32;

/// Reads one value, and what is in it, to the end of a document.
struct Reading<'s, 'a> {
    slots: &'s mut Vec<Slot<'a>>,
    name: Cow<'a, str>,
}

impl<'s, 'a> Reading<'s, 'a> {
    /// The slots, with this value as the last.
    fn put(self, value: Value<'a>) -> &'s mut Vec<Slot<'a>> {
        self.slots.push(Slot { name: self.name, value, length: 1 });
        self.slots
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let at = self.slots.len();
        let slots = self.put(Value::Object);
        while let Some(Name(name)) = map.next_key()? {
            if is_container(&name) {
                map.next_value_seed(Reading { slots, name })?;
            } else {
                slots.push(Slot { name, value: Value::Raw(map.next_value()?), length: 1 });
            }
        }
        slots[at].length = slots.len() - at;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let at = self.slots.len();
        let slots = self.put(Value::List);
        while seq.next_element_seed(Reading { slots, name: Cow::Borrowed("") })?.is_some() {}
        slots[at].length = slots.len() - at;
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(if value { "true" } else { "false" })));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(value.to_string())));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(value.to_string())));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        // Only where a container should stand: nobody reads it.
        self.put(Value::Text(Cow::Owned(value.to_string())));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Null);
        Ok(())
    }
}

/// A member's name, borrowed unless it has escapes in it.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(body: &str) -> Document<'_> {
        Document::parse(body.as_bytes()).unwrap()
    }

    fn text(body: &str, name: &'static str) -> Result<Option<String>, Unreadable> {
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
        assert_eq!(text(body, "TransID"), Err(Unreadable::Repeated { field: "TransID" }));
    }

    #[test]
    fn a_lone_surrogate_is_not_text_and_not_a_panic() {
        assert_eq!(text(r#"{"A":"\ud800"}"#, "A"), Err(Unreadable::NotText));
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
        assert_eq!(object.id("Name"), Err(Unreadable::NotText));
    }
}
