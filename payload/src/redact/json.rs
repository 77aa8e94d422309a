//! Removes credentials from JSON, member by member.

use std::borrow::Cow;
use std::ops::Range;

use super::credentials::is_credential;
use super::{STRUCK, is_json, replaced};

/// How often JSON may be nested in a string of JSON.
const DEPTH: usize = 4;

/// Returns the JSON text with its credentials replaced. One pass, at any depth.
pub(super) fn strike(text: &str) -> Cow<'_, str> {
    strike_nested(text, DEPTH)
}

fn strike_nested(text: &str, depth: usize) -> Cow<'_, str> {
    let mut scan = Scan { text, at: 0, open: Vec::new(), struck: Vec::new(), depth };
    while scan.at < text.len() {
        scan.step();
    }
    // Contents of a replaced value are replaced with it.
    scan.struck.sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
    let mut end = 0;
    scan.struck.retain(|(span, _)| {
        let is_apart = span.start >= end;
        end = end.max(span.end);
        is_apart
    });
    replaced(text, scan.struck)
}

/// A container that is not closed yet.
struct Open {
    start: usize,
    is_object: bool,
    /// In an object: name of the member before the next value.
    name: Option<String>,
    /// In an object: whether a `Key` or `Name` in it names a credential, and where its `Value` is.
    is_named: bool,
    value: Option<Range<usize>>,
    /// In a list: number of items, whether the first names a credential, and where the second is.
    items: usize,
    second: Option<Range<usize>>,
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    open: Vec<Open>,
    struck: Vec<(Range<usize>, Cow<'static, str>)>,
    depth: usize,
}

impl Scan<'_> {
    /// Reads one token of the JSON text.
    fn step(&mut self) {
        let start = self.at;
        match self.text.as_bytes()[start] {
            bracket @ (b'{' | b'[') => {
                self.at += 1;
                let is_object = bracket == b'{';
                let (name, value, second) = (None, None, None);
                self.open.push(Open { start, is_object, name, is_named: false, value, items: 0, second });
            }
            b'}' | b']' => {
                self.at += 1;
                self.close();
            }
            b'"' => {
                self.at = string_end(self.text.as_bytes(), start);
                self.string(start..self.at);
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
            _ => {
                let rest = &self.text[start..];
                let ends = |c: char| matches!(c, ',' | '}' | ']' | ' ' | '\t' | '\n' | '\r');
                self.at = rest.find(ends).map_or(self.text.len(), |length| start + length);
                self.value(start..self.at, None);
            }
        }
    }

    fn close(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        let pair = if closed.is_object { closed.value } else { closed.second.filter(|_| closed.items == 2) };
        if let Some(value) = pair.filter(|_| closed.is_named) {
            self.strike(value);
        }
        self.value(closed.start..self.at, None);
    }

    /// A string: a member's name or a value.
    fn string(&mut self, span: Range<usize>) {
        let text: String = serde_json::from_str(&self.text[span.clone()]).unwrap_or_default();
        if let Some(open) = self.open.last_mut().filter(|open| open.is_object && open.name.is_none()) {
            open.name = Some(text);
            return;
        }
        let is_nested = self.depth > 0 && text.trim_start().starts_with(['{', '[']) && is_json(&text);
        if is_nested && let Cow::Owned(struck) = strike_nested(&text, self.depth - 1) {
            self.struck.push((span.clone(), serde_json::Value::from(struck).to_string().into()));
        }
        self.value(span, Some(text));
    }

    /// A value that ends here, with its text if it is a string.
    fn value(&mut self, span: Range<usize>, text: Option<String>) {
        let Some(open) = self.open.last_mut() else { return };
        let names_credential = text.as_deref().is_some_and(is_credential);
        if !open.is_object {
            match open.items {
                0 => open.is_named = names_credential,
                1 => open.second = Some(span),
                _ => {}
            }
            open.items += 1;
            return;
        }
        let name = open.name.take().unwrap_or_default();
        if is_credential(&name) {
            self.strike(span);
        } else if name.eq_ignore_ascii_case("key") || name.eq_ignore_ascii_case("name") {
            open.is_named |= names_credential;
        } else if name.eq_ignore_ascii_case("value") {
            open.value = Some(span);
        }
    }

    fn strike(&mut self, span: Range<usize>) {
        self.struck.push((span, format!("\"{STRUCK}\"").into()));
    }
}

/// Returns the position after the closing quote of the string that starts here.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_parameters_and_pairs_are_struck_and_nothing_else() {
        for (body, expected) in [
            (
                r#"{"InitiatorName":"t","Password": 12345,"Amount":10}"#,
                r#"{"InitiatorName":"***","Password": "***","Amount":10}"#,
            ),
            (r#"{"security_credential":{"a":["}S"]},"x":1}"#, r#"{"security_credential":"***","x":1}"#),
            (r#"{"Security\u0043redential":"S"}"#, r#"{"Security\u0043redential":"***"}"#),
            (
                r#"[{"Key":"Password","Value":"S"},{"Key":"x","Value":1}]"#,
                r#"[{"Key":"Password","Value":"***"},{"Key":"x","Value":1}]"#,
            ),
            (r#"{"Value":"S","Name":"SecurityCredential"}"#, r#"{"Value":"***","Name":"SecurityCredential"}"#),
            (r#"["SecurityCredential","S"]"#, r#"["SecurityCredential","***"]"#),
            (r#"{"b":"{\"Password\":\"S\",\"Amount\":1}"}"#, r#"{"b":"{\"Password\":\"***\",\"Amount\":1}"}"#),
            (r#"{"InitiatorPassword":"S"}"#, r#"{"InitiatorPassword":"***"}"#),
            (r#"{"Passkey":"S","Amount":1}"#, r#"{"Passkey":"***","Amount":1}"#),
        ] {
            assert_eq!(strike(body), expected);
        }
    }

    #[test]
    fn what_a_customer_typed_stays() {
        for body in [
            r#"{"BillRefNumber":"ORDER-1 password:1","Remarks":"Initiator: 5","x":"initiator="}"#,
            r#"{"BillRefNumber":"PASSWORD:","FirstName":"Password"}"#,
            r#"["Password","a","b"]"#,
            r#"{"Key":"InitiatorAccountCurrentBalance","Value":"{Amount={BasicAmount=1.00}}"}"#,
            r#" "password:1" "#,
        ] {
            assert!(matches!(strike(body), Cow::Borrowed(_)), "{body}");
        }
    }

    #[test]
    fn json_that_nests_without_end_takes_no_longer_than_other_json() {
        let body = format!(r#"{}"Password":"S"{}"#, r#"{"a":"#.repeat(20_000) + "{", "}".repeat(20_001));
        let began = std::time::Instant::now();
        assert!(strike(&body).contains(r#""Password":"***""#));
        assert!(began.elapsed().as_secs() < 2);
    }
}
