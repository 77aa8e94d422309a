//! A JSON text as Daraja may write it, read without losing anything.
//!
//! `serde_json::Value` forgets repeated keys and makes floats of amounts, and a plain derive refuses what merely looks
//! different. So bodies are read into [`Node`]s: fields in order, repeated ones included, and every leaf as the token
//! that was sent. A field is then asked for by name, and a field that is there twice has no one answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
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

/// A value in a body.
pub(crate) enum Node<'a> {
    Object(Object<'a>),
    List(Vec<Node<'a>>),
    /// A string that stood where a container may stand.
    Text(Cow<'a, str>),
    Null,
    /// Anything else: the JSON text of a number, string, boolean, null, or of a member we do not look into.
    Raw(&'a RawValue),
}

/// The members of an object in the order in which they came.
pub(crate) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
}

impl<'a> Node<'a> {
    /// Reads a whole body; a byte order mark before it is passed over.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Node<'a>, Unreadable> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // Checked as a whole, it need not be checked again token by token.
        let parsed = match str::from_utf8(body) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(body),
        };
        // The error's text can quote the body, so only its place is kept.
        parsed.map_err(|error| Unreadable::NotJson { line: error.line(), column: error.column() })
    }

    /// The object that a body must be.
    pub(crate) fn into_object(self) -> Result<Object<'a>, Unreadable> {
        match self {
            Node::Object(object) => Ok(object),
            _ => Err(Unreadable::NotAnObject),
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The text of a string, number or boolean. Null, and what is no leaf, has none.
    pub(crate) fn text(&self) -> Result<Option<Cow<'a, str>>, Unreadable> {
        match self {
            Node::Text(text) => Ok(Some(text.clone())),
            Node::Raw(raw) => leaf(raw.get()),
            Node::Null | Node::Object(_) | Node::List(_) => Ok(None),
        }
    }
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

impl<'a> Object<'a> {
    /// The member of this name, whatever its letters' case: Daraja flips it (`responseHeader`, `ResponseHeader`).
    pub(crate) fn member(&self, name: &'static str) -> Result<Option<&Node<'a>>, Unreadable> {
        // Most names that are as long are the same, to the letter.
        let is_it = |member: &str| member.len() == name.len() && (member == name || member.eq_ignore_ascii_case(name));
        let mut found = self.members.iter().filter(|(member, _)| is_it(member));
        let first = found.next();
        if found.next().is_some() {
            return Err(Unreadable::Repeated { field: name });
        }
        Ok(first.map(|(_, node)| node))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member.eq_ignore_ascii_case(name))
    }

    /// The object in a member; one that is absent, null or something else is none.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<&Object<'a>>, Unreadable> {
        Ok(self.member(name)?.and_then(Node::as_object))
    }

    /// The text in a member; absent, null and empty are the same.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Unreadable> {
        let text = self.member(name)?.map_or(Ok(None), Node::text)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// Text that decides nothing: what is not valid Unicode in it is replaced.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<String>, Unreadable> {
        match self.text(name) {
            Err(Unreadable::NotText) => match self.member(name)? {
                Some(Node::Raw(raw)) => Ok(leaf(&mended(raw.get()))?.map(Cow::into_owned)),
                _ => Err(Unreadable::NotText),
            },
            text => Ok(text?.map(Cow::into_owned)),
        }
    }

    pub(crate) fn private(&self, name: &'static str) -> Result<Option<Private>, Unreadable> {
        Ok(self.string(name)?.map(Private::from))
    }

    /// An identifier: text without white space around it.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<String>, Unreadable> {
        Ok(self.text(name)?.map(|text| text.trim().to_owned()))
    }

    /// Money. What is there must be an amount: a payment is not recorded with a guess.
    pub(crate) fn amount(&self, name: &'static str) -> Result<Option<Amount>, Unreadable> {
        amount(name, self.text(name)?.as_deref())
    }

    /// A time; one that cannot be read is left to the raw body, as nothing hangs on it.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<DarajaTime>, Unreadable> {
        Ok(self.text(name)?.and_then(|text| DarajaTime::parse(&text)))
    }

    pub(crate) fn msisdn(&self, name: &'static str) -> Result<Option<Msisdn>, Unreadable> {
        Ok(self.text(name)?.map(|text| Msisdn::from(&*text)))
    }

    pub(crate) fn code(&self, name: &'static str) -> Result<Option<ResultCode>, Unreadable> {
        Ok(self.text(name)?.map(|text| ResultCode::from(&*text)))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.members.iter().map(|(name, node)| (&**name, node))
    }
}

/// Money, or nothing where nothing was said.
pub(crate) fn amount(field: &'static str, text: Option<&str>) -> Result<Option<Amount>, Unreadable> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Unreadable::Malformed { field, expected: "an amount" }),
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

/// Most objects and lists have no more.
const ROOM: usize = 6;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::with_capacity(ROOM);
        while let Some(Name(name)) = map.next_key()? {
            let node = if is_container(&name) { map.next_value()? } else { Node::Raw(map.next_value()?) };
            members.push((name, node));
        }
        Ok(Node::Object(Object { members }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::with_capacity(ROOM);
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        // Only where a container should stand: nobody reads it.
        Ok(Node::Text(Cow::Owned(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
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

    fn object(body: &str) -> Object<'_> {
        Node::parse(body.as_bytes()).unwrap().into_object().unwrap()
    }

    #[test]
    fn a_number_keeps_its_token() {
        let amount = object(r#"{"Amount":8959269.60}"#).text("Amount").unwrap();
        assert_eq!(amount.as_deref(), Some("8959269.60"));
    }

    #[test]
    fn a_member_that_is_there_twice_has_no_one_answer() {
        let object = object(r#"{"TransID":"A","transID":"B"}"#);
        assert_eq!(object.text("TransID"), Err(Unreadable::Repeated { field: "TransID" }));
    }

    #[test]
    fn a_lone_surrogate_is_not_text_and_not_a_panic() {
        assert_eq!(object(r#"{"A":"\ud800"}"#).text("A"), Err(Unreadable::NotText));
    }

    #[test]
    fn ten_thousand_brackets_are_refused_or_left_unread() {
        assert!(Node::parse("[".repeat(10_000).as_bytes()).is_err());
        let body = format!(r#"{{"deep":{}{},"A":"1"}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(object(&body).text("A").unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn a_name_that_was_cut_in_the_middle_of_an_emoji_is_mended_and_an_id_is_not() {
        let object = object(r#"{"Name":"a\ud83d b \ud83d\ude00 \\ud83d \udc00"}"#);
        assert_eq!(object.string("Name").unwrap().as_deref(), Some("a\u{fffd} b \u{1f600} \\ud83d \u{fffd}"));
        assert_eq!(object.id("Name"), Err(Unreadable::NotText));
    }
}
