//! Striking credentials out of a body before anything is stored.

use std::borrow::Cow;

/// The members of a merchant's own request that no store may see. A queue timeout may echo the request.
const CREDENTIALS: [&str; 4] = ["SecurityCredential", "Password", "InitiatorName", "Initiator"];

/// What stands in a credential's place.
const STRUCK: &[u8] = b"\"***\"";

/// The body with the values of [`CREDENTIALS`] struck out. It works on the bytes, so that a body which is not JSON loses
/// its credentials too.
pub(crate) fn strike_credentials(body: &[u8]) -> Cow<'_, [u8]> {
    let mut struck = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(quote) = body[at..].iter().position(|byte| *byte == b'"').map(|offset| at + offset) {
        let end = string_end(body, quote);
        at = end;
        let Some(value) = value_after(body, end) else { continue };
        if !is_credential(&body[quote..end]) {
            continue;
        }
        struck.extend_from_slice(&body[kept..value.start]);
        struck.extend_from_slice(STRUCK);
        kept = value.end;
        at = value.end;
    }
    if kept == 0 {
        return Cow::Borrowed(body);
    }
    struck.extend_from_slice(&body[kept..]);
    Cow::Owned(struck)
}

fn is_credential(quoted: &[u8]) -> bool {
    let Ok(name) = serde_json::from_slice::<Cow<'_, str>>(quoted) else { return false };
    CREDENTIALS.iter().any(|credential| name.trim().eq_ignore_ascii_case(credential))
}

/// Where the string that begins at `quote` ends, behind its closing quote; the body's end when there is none.
fn string_end(body: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < body.len() {
        match body[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    body.len()
}

/// The value behind a member's name: a string, or everything up to the next comma or closing brace.
fn value_after(body: &[u8], name_end: usize) -> Option<std::ops::Range<usize>> {
    let skip_space = |mut at: usize| {
        while body.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let colon = skip_space(name_end);
    if body.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_space(colon + 1);
    match body.get(start)? {
        b'"' => Some(start..string_end(body, start)),
        b'{' | b'[' => Some(start..nested_end(body, start)),
        _ => {
            let length =
                body[start..].iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(body.len() - start);
            Some(start..start + length)
        }
    }
}

/// Where the object or list that begins at `start` ends; the body's end when it does not.
fn nested_end(body: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < body.len() {
        match body[at] {
            b'"' => {
                at = string_end(body, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(body: &str) -> String {
        String::from_utf8(strike_credentials(body.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn credentials_are_struck_out_and_nothing_else() {
        let body = r#"{"InitiatorName":"testapi","SecurityCredential": "a\"b==","CommandID":"BusinessPayment","password" : 12345,"Amount":10}"#;
        assert_eq!(
            struck(body),
            r#"{"InitiatorName":"***","SecurityCredential": "***","CommandID":"BusinessPayment","password" : "***","Amount":10}"#
        );
    }

    #[test]
    fn a_body_without_credentials_is_not_copied() {
        assert!(matches!(strike_credentials(br#"{"Result":{"ResultCode":0}}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_body_that_is_not_json_loses_its_credentials_too() {
        assert_eq!(struck(r#"{"SecurityCredential":"secret","Amount":}"#), r#"{"SecurityCredential":"***","Amount":}"#);
        assert_eq!(struck(r#"{"Password":"cut off in the mid"#), r#"{"Password":"***""#);
        assert_eq!(
            struck(r#"{"Security\u0043redential":{"a":["}"]},"x":1}"#),
            r#"{"Security\u0043redential":"***","x":1}"#
        );
    }

    #[test]
    fn a_value_that_merely_reads_like_a_name_is_left() {
        assert_eq!(struck(r#"{"Remarks":"Password","x":1}"#), r#"{"Remarks":"Password","x":1}"#);
    }
}
