//! JSON whose members keep their order.

use std::fmt;

/// A JSON value. Members are written in the order in which they were given, as Daraja does.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    /// A string.
    Text(String),
    /// A number, with its digits: `1.00` stays `1.00`.
    Number(String),
    /// A list of values.
    List(Vec<Json>),
    /// Members in order.
    Object(Vec<(String, Json)>),
}

/// An object of these members.
pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Json {
        Json::Text(text.clone())
    }
}

impl Json {
    /// A number with these digits.
    pub(crate) fn number(digits: impl fmt::Display) -> Json {
        Json::Number(digits.to_string())
    }

    /// The same value with numbers as strings, and members in the opposite order: another spelling
    /// of the same content.
    pub(crate) fn respelled(self) -> Json {
        match self {
            Json::Number(digits) => Json::Text(digits),
            Json::List(values) => Json::List(values.into_iter().map(Json::respelled).collect()),
            Json::Object(members) => {
                Json::Object(members.into_iter().rev().map(|(name, value)| (name, value.respelled())).collect())
            }
            text @ Json::Text(_) => text,
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::Number(digits) => f.write_str(digits),
            Json::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if at == 0 { "" } else { "," }, quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_numbers_their_digits() {
        let body = object([("z", Json::number("1.00")), ("a", Json::List(vec!["x\"y".into()]))]);
        assert_eq!(body.to_string(), r#"{"z":1.00,"a":["x\"y"]}"#);
        assert_eq!(body.respelled().to_string(), r#"{"a":["x\"y"],"z":"1.00"}"#);
    }
}
