//! Any JSON, one level at a time, with leaves as the original tokens: for bodies of custom kinds.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::ParseError;
use crate::json::{self, Name};

/// One level of a JSON text.
pub(crate) enum Level<'a> {
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
    List(Vec<&'a RawValue>),
    Leaf(&'a str),
}

impl<'a> Level<'a> {
    pub(crate) fn of(text: &'a str) -> Result<Level<'a>, ParseError> {
        let text = text.trim_ascii();
        if !text.starts_with(['{', '[']) {
            return Ok(Level::Leaf(text));
        }
        serde_json::from_str(text).map_err(|error| ParseError::NotJson { line: error.line(), column: error.column() })
    }
}

/// Returns the text of the string, number or boolean at an RFC 6901 pointer. Names are compared
/// exactly; a repeated name is an error.
pub(crate) fn pointer<'a>(text: &'a str, pointer: &str) -> Result<Option<Cow<'a, str>>, ParseError> {
    let mut text = text;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        let inner = match Level::of(text)? {
            Level::Object(members) => {
                let mut found = members.into_iter().filter(|(member, _)| *member == name);
                let first = found.next();
                if found.next().is_some() {
                    return Err(ParseError::Repeated { field: "key" });
                }
                first.map(|(_, value)| value)
            }
            Level::List(items) => name.parse::<usize>().ok().and_then(|index| items.get(index).copied()),
            Level::Leaf(_) => None,
        };
        let Some(inner) = inner else { return Ok(None) };
        text = inner.get();
    }
    json::leaf(text.trim_ascii())
}

/// Returns a JSON text without white space between tokens.
pub(crate) fn compact(text: &str) -> String {
    let mut compacted = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        compacted.push(c);
    }
    compacted
}

impl<'de> Deserialize<'de> for Level<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Level<'de>, D::Error> {
        struct LevelVisitor;
        impl<'de> Visitor<'de> for LevelVisitor {
            type Value = Level<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Level<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Level::Object(members))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Level<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Level::List(items))
            }
        }
        deserializer.deserialize_any(LevelVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_members_items_and_escaped_names_with_their_tokens() {
        let body = r#"{"a/b":{"c":[1.00,{"~":"x"}, 12345678901234567890123 ]}}"#;
        assert_eq!(pointer(body, "/a~1b/c/1/~0").unwrap().as_deref(), Some("x"));
        assert_eq!(pointer(body, "/a~1b/c/0").unwrap().as_deref(), Some("1.00"));
        assert_eq!(pointer(body, "/a~1b/c/2").unwrap().as_deref(), Some("12345678901234567890123"));
        assert_eq!(pointer(body, "/a~1b/c/7").unwrap(), None);
        assert!(pointer(r#"{"k":1,"k":2}"#, "/k").is_err());
    }

    #[test]
    fn white_space_goes_and_nothing_else() {
        let body = "{ \"x\" : 1.00,\r\n \"x\":[ {\"y z\\\" \" : null} , true ] }";
        assert_eq!(compact(body), "{\"x\":1.00,\"x\":[{\"y z\\\" \":null},true]}");
    }
}
