//! Parses a document: one pass over the text, one list.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Document, Slot, Value};

/// Returns whether a member of this name contains members that we read. All others are kept as
/// text. Compared by length first, because this runs for every name.
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

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<'de>, D::Error> {
        let mut slots = Vec::with_capacity(ROOM);
        Reading { slots: &mut slots, name: Cow::Borrowed("") }.deserialize(deserializer)?;
        Ok(Document(slots))
    }
}

/// Number of values in most bodies.
const ROOM: usize = 32;

/// Parses one value with its contents, and appends it to a document.
struct Reading<'s, 'a> {
    slots: &'s mut Vec<Slot<'a>>,
    name: Cow<'a, str>,
}

impl<'s, 'a> Reading<'s, 'a> {
    /// Appends this value and returns the slots.
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
        // Only in the place of a container, and never read.
        self.put(Value::Text(Cow::Owned(value.to_string())));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Null);
        Ok(())
    }
}

/// A member's name, borrowed unless it contains escapes.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

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
