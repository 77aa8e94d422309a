//! The text of a JSON token.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::ParseError;

/// Returns the text of a JSON token; `None` for null and containers.
pub(crate) fn leaf(token: &str) -> Result<Option<Cow<'_, str>>, ParseError> {
    match token.as_bytes().first() {
        Some(b'"') => match token.get(1..token.len() - 1) {
            Some(text) if !text.contains('\\') => Ok(Some(Cow::Borrowed(text))),
            // Escapes. The only possible error is an unpaired surrogate.
            _ => {
                serde_json::from_str(token).map(|text: String| Some(Cow::Owned(text))).map_err(|_| ParseError::NotText)
            }
        },
        Some(b'{' | b'[' | b'n') | None => Ok(None),
        Some(_) => Ok(Some(Cow::Borrowed(token))),
    }
}

/// Returns the whole number of a JSON number with an exponent, or with only zeros after its point:
/// relays in Go, Java and Lua write long ids and phone numbers so. `None` for anything else,
/// including strings.
pub(crate) fn whole(token: &str) -> Option<String> {
    let begins = token.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-');
    if !begins || !token.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return None;
    }
    let number = match token.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        true => Decimal::from_scientific(token),
        false => Decimal::from_str_exact(token),
    };
    number.ok().filter(Decimal::is_integer).map(|number| number.normalize().to_string())
}

/// Replaces unpaired surrogates. A name that was cut inside an emoji is no reason to reject the
/// money.
pub(super) fn mended(token: &str) -> String {
    let unit = |at: usize| {
        let escape = token.get(at..at + 6).filter(|escape| escape.starts_with("\\u"))?;
        u16::from_str_radix(&escape[2..], 16).ok()
    };
    let mut text = String::with_capacity(token.len());
    let mut at = 0;
    while at < token.len() {
        let rest = &token[at..];
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                text.push_str("\\ufffd");
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            _ if rest.starts_with('\\') => 2,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        text.push_str(&rest[..length.min(rest.len())]);
        at += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_whole_numbers_are_whole_again() {
        for (token, number) in [
            ("2.54700000031E11", Some("254700000031")),
            ("2.0251003030427E13", Some("20251003030427")),
            ("600638.0", Some("600638")),
            ("1032", None),
            ("10.5", None),
            ("\"12E3\"", None),
            ("1e999", None),
        ] {
            assert_eq!(whole(token).as_deref(), number, "{token}");
        }
    }
}
