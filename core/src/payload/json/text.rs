//! The text of one JSON token.

use std::borrow::Cow;

use crate::payload::Unreadable;

/// The text of one JSON token; `None` of null and of what is no leaf.
pub(in crate::payload) fn leaf(token: &str) -> Result<Option<Cow<'_, str>>, Unreadable> {
    match token.as_bytes().first() {
        Some(b'"') => match token.get(1..token.len() - 1) {
            Some(text) if !text.contains('\\') => Ok(Some(Cow::Borrowed(text))),
            // Escapes; half of a surrogate pair is the one thing that can be wrong here.
            _ => {
                serde_json::from_str(token).map(|text: String| Some(Cow::Owned(text))).map_err(|_| Unreadable::NotText)
            }
        },
        Some(b'{' | b'[' | b'n') | None => Ok(None),
        Some(_) => Ok(Some(Cow::Borrowed(token))),
    }
}

/// The token with every half of a surrogate pair replaced, as text decoders do. A name that was cut in the middle of an
/// emoji is no reason not to take the money.
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
