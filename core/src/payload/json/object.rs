//! What an object's members are asked for.

use std::borrow::Cow;

use super::text::{leaf, mended};
use super::{Node, Object, Value, nodes};
use crate::payload::{Amount, DarajaTime, Msisdn, ParseError, ResultCode, Sensitive};

impl<'d, 'a> Object<'d, 'a> {
    /// The member of this name, whatever its letters' case: Daraja flips it (`responseHeader`, `ResponseHeader`).
    pub(crate) fn member(self, name: &'static str) -> Result<Option<Node<'d, 'a>>, ParseError> {
        // Most names that are as long are the same, to the letter.
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

    /// The object in a member; one that is absent, null or something else is none.
    pub(crate) fn object(self, name: &'static str) -> Result<Option<Object<'d, 'a>>, ParseError> {
        Ok(self.member(name)?.and_then(Node::object))
    }

    /// The text in a member; absent, null and empty are the same.
    pub(crate) fn text(self, name: &'static str) -> Result<Option<Cow<'a, str>>, ParseError> {
        let text = self.member(name)?.map_or(Ok(None), Node::text)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// The same of an identifier, a number or a phone number: one that was written as a float is whole again.
    fn name(self, name: &'static str) -> Result<Option<Cow<'a, str>>, ParseError> {
        let text = self.member(name)?.map_or(Ok(None), Node::name)?;
        Ok(text.filter(|text| !text.chars().all(char::is_whitespace)))
    }

    /// Text that decides nothing: what is not valid Unicode in it is replaced.
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

    /// An identifier: text without white space around it.
    pub(crate) fn id(self, name: &'static str) -> Result<Option<String>, ParseError> {
        Ok(self.name(name)?.map(|text| text.trim().to_owned()))
    }

    /// Money. What is there must be an amount: a payment is not recorded with a guess.
    pub(crate) fn amount(self, name: &'static str) -> Result<Option<Amount>, ParseError> {
        amount(name, self.text(name)?.as_deref())
    }

    /// A time; one that cannot be read is left to the raw body, as nothing hangs on it.
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

/// Money, or nothing where nothing was said.
pub(crate) fn amount(field: &'static str, text: Option<&str>) -> Result<Option<Amount>, ParseError> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ParseError::Malformed { field, expected: "an amount" }),
    }
}
