//! A request to the simulator.

use data_encoding::BASE64;
use serde_json::{Map, Value};

use super::answer::Trouble;

/// A request, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The members of a request's body. Daraja takes numbers as numbers or strings in every field.
#[derive(Clone, Debug)]
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl Request {
    /// Parses the body as an object.
    pub(crate) fn fields(&self, is_express: bool) -> Result<Fields, Trouble> {
        match self.json() {
            Some(Value::Object(members)) => Ok(Fields(members)),
            _ => Err(Trouble::not_json(is_express)),
        }
    }

    /// Parses the body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the credentials of this scheme in the `Authorization` header.
    pub(crate) fn credentials(&self, scheme: &str) -> Option<&str> {
        let (found, credentials) = self.authorization.as_deref()?.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
    }
}

impl Fields {
    /// Returns a member as text; `None` if it is missing, null or empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let text = match self.0.get(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// Returns the first of these members that is there.
    pub(crate) fn either(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// A member that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<String, Trouble> {
        self.text(name).ok_or_else(|| Trouble::field(name))
    }

    /// A pay bill or till number: five to seven digits.
    pub(crate) fn short_code(&self, name: &str) -> Result<String, Trouble> {
        let text = self.required(name)?;
        let fits = (5..=7).contains(&text.len()) && is_number(&text);
        if fits { Ok(text) } else { Err(Trouble::field(name)) }
    }

    /// A phone number: `254` and nine digits that begin with 7 or 1.
    pub(crate) fn phone(&self, name: &str) -> Result<String, Trouble> {
        let text = self.required(name)?;
        let fits = text.len() == 12 && is_number(&text) && (text.starts_with("2547") || text.starts_with("2541"));
        if fits { Ok(text) } else { Err(Trouble::field(name)) }
    }

    /// Whole shillings from 1, up to the limit of a transaction. `100.0` is whole: the crate `mpesa` has sent amounts
    /// so since 2020.
    pub(crate) fn amount(&self, name: &str) -> Result<i64, Trouble> {
        const LIMIT: i64 = 250_000;
        let text = self.required(name)?;
        let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|digit| digit == b'0'));
        let amount = whole.map_or(text.as_str(), |(whole, _)| whole).parse().ok();
        amount.filter(|amount| (1..=LIMIT).contains(amount)).ok_or_else(|| Trouble::field(name))
    }

    /// A text of at most so many characters.
    pub(crate) fn short(&self, name: &str, most: usize) -> Result<String, Trouble> {
        let text = self.required(name)?;
        if text.chars().count() <= most { Ok(text) } else { Err(Trouble::field(name)) }
    }

    /// One of these words.
    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Result<String, Trouble> {
        let text = self.required(name)?;
        if words.contains(&text.as_str()) { Ok(text) } else { Err(Trouble::field(name)) }
    }

    /// A date: `yyyymmdd`.
    pub(crate) fn date(&self, name: &str) -> Result<String, Trouble> {
        let text = self.required(name)?;
        if text.len() == 8 && is_number(&text) { Ok(text) } else { Err(Trouble::field(name)) }
    }

    /// Base64 of anything: an encrypted password. The simulator cannot decrypt it.
    pub(crate) fn base64(&self, name: &str) -> Result<Vec<u8>, Trouble> {
        let text = self.required(name)?;
        BASE64.decode(text.as_bytes()).map_err(|_| Trouble::field(name))
    }
}

pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
