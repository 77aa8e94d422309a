//! Repairs bodies that are nearly JSON, if there is only one reading: the output of careless
//! relays.

use std::borrow::Cow;

/// How often a body may be wrapped in a string or a list of one.
const DEPTH: usize = 2;

/// Returns the body as JSON with an object at its root; `None` if it has no certain reading, or
/// nothing was to be repaired.
///
/// - A raw line break, tab or other control character in a string stands for itself.
/// - Bytes that are not UTF-8 are Latin-1.
/// - JSON in a JSON string is that JSON; a list of one is its item.
pub(crate) fn mend(body: &[u8]) -> Option<Vec<u8>> {
    let text = match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(_) => Cow::Owned(from_latin_1(body)),
    };
    let text = unwrapped(&escaped(text.trim_start_matches('\u{feff}').trim()), DEPTH)?;
    (text.as_bytes() != body).then(|| text.into_bytes())
}

/// Keeps valid UTF-8, and decodes each byte between as Latin-1.
fn from_latin_1(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len() + 8);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text
}

/// Escapes control characters in strings.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte < b' ') {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    let (mut in_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        if in_string && c < ' ' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            is_escaped = false;
            continue;
        }
        in_string ^= c == '"' && !is_escaped;
        is_escaped = in_string && c == '\\' && !is_escaped;
        escaped.push(c);
    }
    Cow::Owned(escaped)
}

/// Returns the object inside strings and lists of one.
fn unwrapped(text: &str, depth: usize) -> Option<String> {
    match text.as_bytes().first()? {
        b'{' => Some(text.to_owned()),
        b'"' if depth > 0 => {
            let inner: String = serde_json::from_str(text).ok()?;
            unwrapped(inner.trim(), depth - 1)
        }
        b'[' if depth > 0 => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
            let [item] = items[..] else { return None };
            unwrapped(item.get().trim(), depth - 1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(body: &[u8]) -> Option<String> {
        mend(body).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn what_has_one_reading_is_read() {
        assert_eq!(mended(b"{\"a\":\"x\ny\\\"\tz\"}\n").as_deref(), Some(r#"{"a":"x\u000ay\"\u0009z"}"#));
        assert_eq!(mended(b"{\"a\":\"Ngug\xef\"}").as_deref(), Some("{\"a\":\"Ngugï\"}"));
        assert_eq!(mended(br#""{\"a\":1}""#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(mended(br#"[{"a":1}]"#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(mended(br#""[{\"a\":1}]""#).as_deref(), Some(r#"{"a":1}"#));
    }

    #[test]
    fn what_has_two_readings_or_none_is_left() {
        for body in [&br#"[{"a":1},{"a":2}]"#[..], b"[]", b"", b"7", br#""text""#, br#"[[["a"]]]"#] {
            assert_eq!(mended(body), None, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(mended(br#"{"a":1}"#), None, "nothing is to be mended");
    }
}
