//! Why a body cannot be read.

/// Why a body cannot be read as the kind that its URL is for.
///
/// A body that cannot be read is kept as it came, and acknowledged. The messages name members, never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is not JSON. Some of the samples on Safaricom's own pages are not.
    #[error("the body is not JSON: line {line}, column {column}")]
    NotJson {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// It is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A string in it is not text: half of a surrogate pair.
    #[error("a string in the body is not valid Unicode")]
    NotText,
    /// A member that is read is there twice, so there are two readings.
    #[error("`{field}` is there more than once")]
    Repeated {
        /// The member.
        field: &'static str,
    },
    /// A member that decides something is not what it must be.
    #[error("`{field}` is not {expected}")]
    Malformed {
        /// The member.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// What makes two deliveries the same callback is missing.
    #[error("there is no `{field}`, which is the key of this kind")]
    NoKey {
        /// The member that should hold it.
        field: &'static str,
    },
    /// Reading the body as the application's own type panicked.
    #[error("reading the body as the type that the handler takes panicked")]
    Panicked,
    /// The body is JSON, but not of the application's own type for this kind.
    #[error("the body does not fit the type that the handler takes: line {line}, column {column}")]
    NotOfTheType {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
}
