//! Text with personal data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text that identifies a person: a name, an account number that a customer typed, an id with a
/// phone number.
///
/// `Debug` hides it, and it has no `Display`; use [`as_str`](Sensitive::as_str).
///
/// ```
/// use mpesa_callbacks_payload::Sensitive;
///
/// let name = Sensitive::from("Wanjiru");
/// assert_eq!(format!("{name:?}"), "Sensitive(…)");
/// assert_eq!(name.as_str(), "Wanjiru");
/// assert_eq!(name, "Wanjiru");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// Returns the text as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text without surrounding white space, which customers type, too.
    pub fn trimmed(&self) -> &str {
        self.0.trim()
    }

    /// Returns the text, without a copy. Keep it out of logs.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Sensitive {
        Sensitive(text.to_owned())
    }
}

impl From<String> for Sensitive {
    fn from(text: String) -> Sensitive {
        Sensitive(text)
    }
}

impl AsRef<str> for Sensitive {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Sensitive {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Sensitive {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(…)")
    }
}
