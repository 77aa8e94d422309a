//! Why a body cannot be parsed.

/// Why a body cannot be parsed as the kind of its URL.
///
/// Such a body is quarantined and acknowledged. The messages contain names of members, never their
/// values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is not JSON. Some samples on Safaricom's own pages are not.
    #[error("the body is not JSON: line {line}, column {column}")]
    NotJson {
        /// Line of the mistake, counted from 1.
        line: usize,
        /// Column of the mistake, counted from 1.
        column: usize,
    },
    /// It is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A string contains an unpaired surrogate.
    #[error("a string in the body is not valid Unicode")]
    NotText,
    /// A member that is read is repeated, so there are two readings.
    #[error("`{field}` occurs more than once")]
    Repeated {
        /// Name of the member.
        field: &'static str,
    },
    /// The value of an important member is invalid.
    #[error("`{field}` is not {expected}")]
    Malformed {
        /// Name of the member.
        field: &'static str,
        /// The form that its value must have.
        expected: &'static str,
    },
    /// The key is missing.
    #[error("there is no `{field}`, which is the key of this kind")]
    NoKey {
        /// The member that should contain it.
        field: &'static str,
    },
    /// Deserialising into your application's type panicked.
    #[error("reading the body as the type that the handler takes panicked")]
    Panicked,
    /// It cannot be deserialised into your application's type.
    #[error("the body does not fit the type that the handler takes: line {line}, column {column}")]
    NotOfTheType {
        /// Line of the mistake, counted from 1.
        line: usize,
        /// Column of the mistake, counted from 1.
        column: usize,
    },
}
