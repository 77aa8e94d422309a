//! Lists of named values: `CallbackMetadata`, `ResultParameters`, `ReferenceData`, Ratiba's
//! `responseData`.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::json::{self, Document, Node, Value};
use crate::{Amount, ParseError};

/// A list of named values, in order.
///
/// A name may be repeated (`DebitPartyName` is, in the official sample of a transaction status),
/// and may have no value. Names are compared exactly: Ratiba has both `status` and `Status`.
/// `Debug` hides the values.
#[derive(Clone, Default)]
pub struct Parameters(Vec<Parameter>);

/// One named value of a list of parameters.
#[derive(Clone)]
#[non_exhaustive]
pub struct Parameter {
    /// Name of the parameter.
    pub name: String,
    /// Value as text, a number with its original digits; `None` without one.
    pub value: Option<String>,
}

impl Parameters {
    /// Returns the first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns all values of this name, in order.
    pub fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s str> + use<'s, 'n> {
        self.0.iter().filter(move |parameter| parameter.name == name).filter_map(|parameter| parameter.value.as_deref())
    }

    /// Returns all parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// Returns the number of parameters, repeated names included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no parameters.
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

/// Maximum depth of wrapped lists.
const DEPTH: usize = 4;

/// The list while it is parsed, borrowed from the body.
#[derive(Default)]
pub(crate) struct Entries<'a>(Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>);

impl<'a> Entries<'a> {
    /// Collects the entries below a node: from a list, from one object in place of a list (Daraja
    /// collapses a list of one), or from either inside an object whose name varies.
    pub(crate) fn gather(node: Option<Node<'_, 'a>>) -> Result<Entries<'a>, ParseError> {
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
            // A popular Postman collection misplaces `ReferenceData` inside `ResultParameters`.
            let mut inner = object.members().filter(|(name, _)| !name.eq_ignore_ascii_case("ReferenceData"));
            return inner.try_for_each(|(_, node)| self.add(node, depth + 1));
        }
        match node.value() {
            // Below an unknown name.
            Value::Raw(raw) if raw.get().starts_with(['{', '[']) && depth < DEPTH => {
                self.add(Document::parse(raw.get().as_bytes())?.node(), depth + 1)
            }
            _ => node.items().try_for_each(|node| self.add(node, depth + 1)),
        }
    }

    /// Returns the first value of any of these names, tried in order.
    pub(crate) fn text(&self, names: &[&str]) -> Option<&str> {
        let is_said = |value: &&str| !value.chars().all(char::is_whitespace);
        names.iter().find_map(|name| self.all(name).next().filter(is_said))
    }

    pub(crate) fn string(&self, names: &[&str]) -> Option<String> {
        self.text(names).map(str::to_owned)
    }

    /// Returns all values of this name, in order. Compared exactly, because Ratiba has both
    /// `status` and `Status`; in any letter case only if there is no exact match.
    pub(crate) fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s str> + use<'s, 'n, 'a> {
        let is_there = self.0.iter().any(|(other, _)| other == name);
        let is_it = move |other: &str| other == name || !is_there && other.eq_ignore_ascii_case(name);
        self.0.iter().filter(move |(other, _)| is_it(other)).filter_map(|(_, value)| value.as_deref())
    }

    /// Returns a value that decides something. Two different values are an error.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, ParseError> {
        let mut values = self.all(name).map(str::trim).filter(|value| !value.is_empty());
        let first = values.next();
        match values.find(|value| Some(*value) != first) {
            Some(_) => Err(ParseError::Repeated { field: name }),
            None => Ok(first),
        }
    }

    pub(crate) fn amount(&self, name: &'static str) -> Result<Option<Amount>, ParseError> {
        json::amount(name, self.one(name)?)
    }

    pub(crate) fn into_parameters(self) -> Parameters {
        let own = |(name, value): (Cow<'_, str>, Option<Cow<'_, str>>)| Parameter {
            name: name.into_owned(),
            value: value.map(Cow::into_owned),
        };
        Parameters(self.0.into_iter().map(own).collect())
    }
}
