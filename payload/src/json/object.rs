//! Looking up members of an object.

use std::borrow::Cow;

use super::text::{leaf, mended};
use super::{Node, Object, Value, nodes};
use crate::{Amount, DarajaTime, Msisdn, ParseError, ResultCode, Sensitive};

impl<'d, 'a> Object<'d, 'a> {
    /// Returns the member of this name, in any letter case: Daraja varies it (`responseHeader`,
    /// `ResponseHeader`).
    pub(crate) fn member(self, name: &'static str) -> Result<Option<Node<'d, 'a>>, ParseError> {
        // Most names of the same length are equal.
        let is_it = |member: &str| member.len() == name.len() && (member == name || member.eq_ignore_ascii_case(name));
        let mut found = None;
        for (member, node) in self.members() {
            if is_it(member) && found.replace(node).is_some() {
                return Err(ParseError::Repeated { field: name });
            }
        }
        Ok(found)
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.members().any(|(member, _)| member.eq_ignore_ascii_case(name))
    }

    /// Returns the object in a member; `None` if it is absent or something else.
    pub(crate) fn object(self, name: &'static str) -> Result<Option<Object<'d, 'a>>, ParseError> {
        Ok(self.member(name)?.and_then(Node::object))
    }

    /// Returns the text in a member; `None` if it is absent, null or empty.
    pub(crate) fn text(self, name: &'static str) -> Result<Option<Cow<'a, str>>, ParseError> {
        let text = self.member(name)?.map_or(Ok(None), Node::text)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// Returns the text of an identifier or number, with floats made whole.
    fn name(self, name: &'static str) -> Result<Option<Cow<'a, str>>, ParseError> {
        let text = self.member(name)?.map_or(Ok(None), Node::name)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// Returns the text for people; invalid Unicode in it is replaced.
    pub(crate) fn string(self, name: &'static str) -> Result<Option<String>, ParseError> {
        match self.name(name) {
            Err(ParseError::NotText) => match self.member(name)?.map(Node::value) {
                Some(Value::Raw(raw)) => Ok(leaf(&mended(raw.get()))?.map(Cow::into_owned)),
                _ => Err(ParseError::NotText),
            },
            text => Ok(text?.map(Cow::into_owned)),
        }
    }

    pub(crate) fn private(self, name: &'static str) -> Result<Option<Sensitive>, ParseError> {
        Ok(self.string(name)?.map(Sensitive::from))
    }

    /// Returns an identifier: text without surrounding white space.
    pub(crate) fn id(self, name: &'static str) -> Result<Option<String>, ParseError> {
        Ok(self.name(name)?.map(|text| text.trim().to_owned()))
    }

    /// Returns an amount. Text that is not an amount is an error: a payment is not recorded with a
    /// guess.
    pub(crate) fn amount(self, name: &'static str) -> Result<Option<Amount>, ParseError> {
        amount(name, self.text(name)?.as_deref())
    }

    /// Returns a time; `None` if it cannot be parsed, because nothing depends on it.
    pub(crate) fn time(self, name: &'static str) -> Result<Option<DarajaTime>, ParseError> {
        Ok(self.name(name)?.and_then(|text| DarajaTime::parse(&text)))
    }

    pub(crate) fn msisdn(self, name: &'static str) -> Result<Option<Msisdn>, ParseError> {
        Ok(self.name(name)?.map(|text| Msisdn::from(&*text)))
    }

    pub(crate) fn code(self, name: &'static str) -> Result<Option<ResultCode>, ParseError> {
        Ok(self.name(name)?.map(|text| ResultCode::from(&*text)))
    }

    pub(crate) fn members(self) -> impl Iterator<Item = (&'d str, Node<'d, 'a>)> {
        nodes(self.0).map(|node| (&*node.0[0].name, node))
    }
}

/// Returns an amount; `None` without a text.
pub(crate) fn amount(field: &'static str, text: Option<&str>) -> Result<Option<Amount>, ParseError> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ParseError::Malformed { field, expected: "an amount" }),
    }
}
