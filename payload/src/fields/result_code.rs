//! Result codes, and their meaning per kind.

use std::fmt;

use serde::{Serialize, Serializer};

use super::catalogue::{self, ResultCodeInfo};
use crate::{Kind, Outcome};

/// A result code as Daraja sent it: `0`, `1032`, `SFC_IC0003`, `R000002`, …
///
/// It stays text, because Daraja sends numbers, numbers as text, and text. Only 0 is success. The
/// meaning depends on the kind: 2001 is a wrong PIN in STK, and a wrong credential in B2C.
///
/// ```
/// use mpesa_callbacks_payload::Kind;
/// use mpesa_callbacks_payload::{ResultCategory, Outcome, ResultCode};
///
/// let code = ResultCode::from("2001");
/// assert_eq!(code.code_info(&Kind::Stk).unwrap().category, ResultCategory::Customer);
/// assert_eq!(code.code_info(&Kind::B2cResult).unwrap().category, ResultCategory::Configuration);
/// assert_eq!(ResultCode::from("424242").outcome(&Kind::B2cResult), Outcome::Unknown);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResultCode(String);

impl ResultCode {
    /// Returns the text of the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the code is 0. `00000000` is not (it is a fixture's), nor is any other code
    /// that starts with 0.
    pub fn is_success(&self) -> bool {
        self.0 == "0"
    }

    /// Returns the explanation of the code in callbacks of this kind; `None` for an unlisted code.
    pub fn code_info(&self, kind: &Kind) -> Option<&'static ResultCodeInfo> {
        catalogue::find(kind, &self.0)
    }

    /// Returns the outcome of a transaction with this code in a callback of this kind. Unlisted codes
    /// are unknown.
    pub fn outcome(&self, kind: &Kind) -> Outcome {
        if self.is_success() {
            return Outcome::Success;
        }
        self.code_info(kind).map_or(Outcome::Unknown, |code_info| code_info.outcome)
    }
}

impl From<&str> for ResultCode {
    fn from(text: &str) -> ResultCode {
        let text = text.trim();
        // `0.0` is the number 0; `00000000` is not a JSON number.
        let zero = text.starts_with("0.") && text.len() > 2 && text[2..].bytes().all(|digit| digit == b'0');
        ResultCode(if zero { "0".to_owned() } else { text.to_owned() })
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ResultCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
