//! Removes credentials from bodies that are not JSON: forms, XML, truncated JSON.

use std::borrow::Cow;
use std::ops::Range;

use super::STRUCK;
use super::credentials::CREDENTIALS;

/// Returns the body with the values of credentials replaced. One pass over the bytes, without a
/// grammar.
pub(super) fn strike(body: &[u8]) -> Cow<'_, [u8]> {
    let mut struck = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    while at < body.len() {
        let Some(name) = credential_at(body, at) else {
            at += 1;
            continue;
        };
        at += name;
        if let Some(value) = value_after(body, at) {
            struck.extend_from_slice(&body[kept..value.start]);
            // Numbers become text, so that JSON stays JSON.
            let is_bare = value.start > 0 && matches!(body[value.start - 1], b':' | b' ' | b'\t' | b'\n' | b'\r');
            let is_json_number = is_bare && body.get(value.start).is_some_and(|byte| !matches!(byte, b'"' | b'\''));
            struck.extend_from_slice(if is_json_number { b"\"***\"" } else { STRUCK.as_bytes() });
            kept = value.end;
            at = value.end;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(body);
    }
    struck.extend_from_slice(&body[kept..]);
    Cow::Owned(struck)
}

/// Returns the length of the credential's name at this position, if it is a whole word. A `\u` escape
/// counts as its letter.
fn credential_at(body: &[u8], at: usize) -> Option<usize> {
    // Nearly all bytes start no name.
    if !matches!(body[at], b'S' | b's' | b'I' | b'i' | b'P' | b'p' | b'\\') {
        return None;
    }
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    if at > 0 && is_word(body.get(at - 1)) {
        return None;
    }
    CREDENTIALS.iter().find_map(|name| {
        let mut end = at;
        for expected in name.bytes() {
            if end > at && body.get(end) == Some(&b'_') {
                end += 1;
            }
            let (letter, length) = letter(body, end)?;
            if !letter.eq_ignore_ascii_case(&expected) {
                return None;
            }
            end += length;
        }
        (!is_word(body.get(end))).then_some(end - at)
    })
}

/// Returns the letter at this position, and its length in bytes.
fn letter(body: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *body.get(at)?;
    let escape = body.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"));
    let code = escape.and_then(|escape| u8::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok());
    Some(code.map_or((byte, 1), |letter| (letter, 6)))
}

/// How far the attributes of an element are followed.
const ATTRIBUTES: usize = 256;

/// Returns the range of the value that belongs to the name ending here: after `:`, `=` or `>`, or,
/// in a list of parameters, after a comma and `"Value":`.
fn value_after(body: &[u8], name_end: usize) -> Option<Range<usize>> {
    let skip = |mut at: usize| {
        while body.get(at).is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'\\')) {
            at += 1;
        }
        at
    };
    let mut at = skip(name_end);
    // An XML element may have attributes.
    let is_spaced = body.get(name_end).is_some_and(u8::is_ascii_whitespace);
    if is_spaced
        && let Some(length) =
            body[at..].iter().take(ATTRIBUTES).position(|byte| matches!(byte, b'>' | b'<' | b',' | b'{' | b'&'))
        && body[at + length] == b'>'
    {
        at += length;
    }
    if body.get(at) == Some(&b',') {
        let name = skip(at + 1);
        at = skip(name + 5);
        if !body.get(name..name + 5)?.eq_ignore_ascii_case(b"value") {
            return None;
        }
    }
    if !matches!(body.get(at)?, b':' | b'=' | b'>') {
        return None;
    }
    let mut start = at + 1;
    while body.get(start).is_some_and(u8::is_ascii_whitespace) {
        start += 1;
    }
    // A quote; escaped if the text is a string inside JSON.
    let escapes = body[start..].iter().take_while(|byte| **byte == b'\\').count();
    match body.get(start + escapes) {
        Some(quote @ (b'"' | b'\'')) => {
            let begin = start + escapes + 1;
            Some(begin..quoted_end(body, begin, *quote, escapes))
        }
        Some(b'{' | b'[') => Some(start..nested_end(body, start)),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'&' | b'<' | b'"' | b'\'' | b'\n' | b'\r');
            Some(start..body[start..].iter().position(ends).map_or(body.len(), |length| start + length))
        }
    }
}

/// End of the quoted text, given the number of backslashes before its quote; the body's end without
/// a closing quote.
fn quoted_end(body: &[u8], begin: usize, quote: u8, escapes: usize) -> usize {
    let mut backslashes = 0;
    for (at, byte) in body.iter().enumerate().skip(begin) {
        if *byte == quote && backslashes <= escapes {
            return at - backslashes;
        }
        backslashes = match byte {
            // Outside nested strings, two backslashes escape nothing that follows.
            b'\\' if backslashes == 1 && escapes == 0 => 0,
            b'\\' => backslashes + 1,
            _ => 0,
        };
        if *byte == quote {
            backslashes = 0;
        }
    }
    body.len()
}

/// End of the object or list that starts at `start`; the body's end if it is not closed.
fn nested_end(body: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while at < body.len() {
        match body[at] {
            b'"' => at = quoted_end(body, at + 1, b'"', 0),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at.min(body.len());
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(body: &str) -> String {
        String::from_utf8(strike(body.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn whatever_the_shape_the_secret_is_gone() {
        for body in [
            r#"{"SecurityCredential":"SECRET","Amount":}"#,
            r#"{"Password":"SECRET cut off in the mid"#,
            r#"{"Security\u0043redential":{"a":["}SECRET"]},"x":1}"#,
            r#"{"Remarks":"5" disk","SecurityCredential":"SECRET"}"#,
            "InitiatorName=SECRET&SecurityCredential=SECRET&Amount=1",
            "{'SecurityCredential':'SECRET'}",
            r#"{SecurityCredential:"SECRET"}"#,
            "<SecurityCredential>SECRET</SecurityCredential>",
            "<SecurityCredential type=\"xsd:string\">SECRET</SecurityCredential>",
            "security_credential=SECRET&initiatorPassword=SECRET",
            r#"{"requestBody":"{\"SecurityCredential\":\"SECRET\",\"Amount\":1}"}"#,
            r#"{"requestBody":"{\"a\":\"{\\\"SecurityCredential\\\":\\\"SECRET\\\"}\"}"}"#,
            r#"[{"Key":"SecurityCredential","Value":"SECRET"},{"Key":"x","Value":"kept"}]"#,
            "{\"initiator\" :\r\n \"SECRET\"}",
            r#"{"PASSWORD":SECRET}"#,
        ] {
            let struck = struck(body);
            assert!(!struck.contains("SECRET"), "{body} → {struck}");
        }
    }

    #[test]
    fn a_hostile_body_takes_no_longer_than_another() {
        for body in ["\"Password\":".repeat(6_000), "Initiator".repeat(7_000), "\\u0050".repeat(10_000)] {
            let began = std::time::Instant::now();
            let _ = strike(body.as_bytes());
            assert!(began.elapsed().as_secs() < 2);
        }
    }
}
