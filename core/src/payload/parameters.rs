//! Lists of named values: `CallbackMetadata`, `ResultParameters`, `ReferenceData`, Ratiba's `responseData`.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::json::{self, Document, Node, Value};
use super::{Amount, ParseError};

/// A list of named values in the order in which Daraja sent it.
///
/// A name may be there more than once (`DebitPartyName` is, in the official sample of a transaction status), and may be
/// there without a value. Names are compared to the letter: Ratiba has both `status` and `Status`. Values hide in `Debug`.
#[derive(Clone, Default)]
pub struct Parameters(Vec<Parameter>);

/// One named value.
#[derive(Clone)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value as text, a number with the digits that were sent; `None` when there is none.
    pub value: Option<String>,
}

impl Parameters {
    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of this name, in order.
    pub fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s str> + use<'s, 'n> {
        self.0.iter().filter(move |parameter| parameter.name == name).filter_map(|parameter| parameter.value.as_deref())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, if self.value.is_some() { "…" } else { "–" })
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parameter = serializer.serialize_struct("Parameter", 2)?;
        parameter.serialize_field("Key", &self.name)?;
        parameter.serialize_field("Value", &self.value)?;
        parameter.end()
    }
}

/// How deep a list may be wrapped.
const DEPTH: usize = 4;

/// The same list while it is read, borrowed from the body.
#[derive(Default)]
pub(super) struct Entries<'a>(Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>);

impl<'a> Entries<'a> {
    /// Gathers the entries below a node, however they are wrapped: a list, one bare object where a list is meant
    /// (Daraja collapses a list of one), or either inside one more object, whose name varies.
    pub(super) fn gather(node: Option<Node<'_, 'a>>) -> Result<Entries<'a>, ParseError> {
        let Some(node) = node else { return Ok(Entries::default()) };
        let mut entries = Entries(Vec::with_capacity(8));
        entries.add(node, 0)?;
        Ok(entries)
    }

    fn add(&mut self, node: Node<'_, 'a>, depth: usize) -> Result<(), ParseError> {
        if let Some(object) = node.object() {
            let name = match object.text("Name")? {
                Some(name) => Some(name),
                None => object.text("Key")?,
            };
            if let Some(name) = name {
                self.0.push((name, object.text("Value")?));
                return Ok(());
            }
            // `ReferenceData` is misplaced inside `ResultParameters` in a Postman collection that people copy from.
            let mut inner = object.members().filter(|(name, _)| !name.eq_ignore_ascii_case("ReferenceData"));
            return inner.try_for_each(|(_, node)| self.add(node, depth + 1));
        }
        match node.value() {
            // Under a name that we do not know.
            Value::Raw(raw) if raw.get().starts_with(['{', '[']) && depth < DEPTH => {
                self.add(Document::parse(raw.get().as_bytes())?.node(), depth + 1)
            }
            _ => node.items().try_for_each(|node| self.add(node, depth + 1)),
        }
    }

    /// The first value under any of these names; names are tried in order.
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        let is_said = |value: &&str| !value.chars().all(char::is_whitespace);
        names.iter().find_map(|name| self.all(name).next().filter(is_said))
    }

    pub(super) fn string(&self, names: &[&str]) -> Option<String> {
        self.text(names).map(str::to_owned)
    }

    /// All values of this name, in order: to the letter, because Ratiba has both `status` and `Status`; and in other letters'
    /// case where nothing has it to the letter.
    pub(super) fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s str> + use<'s, 'n, 'a> {
        let is_there = self.0.iter().any(|(other, _)| other == name);
        let is_it = move |other: &str| other == name || !is_there && other.eq_ignore_ascii_case(name);
        self.0.iter().filter(move |(other, _)| is_it(other)).filter_map(|(_, value)| value.as_deref())
    }

    /// A value that decides something. Where it is there twice with different values, there is no one answer.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, ParseError> {
        let mut values = self.all(name).map(str::trim).filter(|value| !value.is_empty());
        let first = values.next();
        match values.find(|value| Some(*value) != first) {
            Some(_) => Err(ParseError::Repeated { field: name }),
            None => Ok(first),
        }
    }

    pub(super) fn amount(&self, name: &'static str) -> Result<Option<Amount>, ParseError> {
        json::amount(name, self.one(name)?)
    }

    pub(super) fn into_parameters(self) -> Parameters {
        let own = |(name, value): (Cow<'_, str>, Option<Cow<'_, str>>)| Parameter {
            name: name.into_owned(),
            value: value.map(Cow::into_owned),
        };
        Parameters(self.0.into_iter().map(own).collect())
    }
}
