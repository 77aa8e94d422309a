//! Removes credentials from bodies before they are stored.
//!
//! A queue timeout may echo the merchant's own request. Other callbacks contain text of payers,
//! which is never changed: a customer may type `password:1` as an account number.

mod credentials;

mod json;

mod plain_text;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

/// Replaces the values of credentials in a body: `SecurityCredential`, `InitiatorName`,
/// `Initiator`, `InitiatorPassword` and `Password`, in any letter case, with or without
/// underscores.
///
/// In JSON it replaces the values of members with such a name, of parameters (`{"Key": …, "Value":
/// …}`), and of lists of a name and a value, also inside JSON in a string. The result is JSON, and
/// everything else is unchanged. In other bodies it searches for the names in the bytes.
///
/// ```
/// use mpesa_callbacks_payload::strike_credentials;
///
/// let echoed = br#"{"CommandID":"BusinessPayment","SecurityCredential":"c2VjcmV0","Remarks":"password: none"}"#;
/// let struck = br#"{"CommandID":"BusinessPayment","SecurityCredential":"***","Remarks":"password: none"}"#;
/// assert_eq!(*strike_credentials(echoed), struck[..]);
/// ```
pub fn strike_credentials(body: &[u8]) -> Cow<'_, [u8]> {
    // Readers skip a byte order mark.
    let marks = body.len() - body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).len();
    match std::str::from_utf8(&body[marks..]) {
        Ok(text) if is_json(text) => match json::strike(text) {
            Cow::Borrowed(_) => Cow::Borrowed(body),
            Cow::Owned(text) => Cow::Owned([&body[..marks], text.as_bytes()].concat()),
        },
        _ => plain_text::strike(body),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The replacement of a credential.
const STRUCK: &str = "***";

/// Replaces these spans, which are in order and do not overlap.
fn replaced<'t>(text: &'t str, spans: Vec<(Range<usize>, Cow<'_, str>)>) -> Cow<'t, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut struck, mut kept) = (String::with_capacity(text.len()), 0);
    for (span, replacement) in spans {
        struck.push_str(&text[kept..span.start]);
        struck.push_str(&replacement);
        kept = span.end;
    }
    struck.push_str(&text[kept..]);
    Cow::Owned(struck)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_hides_nothing() {
        let body = "\u{feff}{\"SecurityCredential\":\"c2VjcmV0\",\"Remarks\":\"password: 1\"}";
        let struck = "\u{feff}{\"SecurityCredential\":\"***\",\"Remarks\":\"password: 1\"}";
        assert_eq!(*strike_credentials(body.as_bytes()), *struck.as_bytes());
        let plain = "\u{feff}{\"Remarks\":\"password: 1\"}";
        assert!(matches!(strike_credentials(plain.as_bytes()), Cow::Borrowed(body) if body == plain.as_bytes()));
    }
}
