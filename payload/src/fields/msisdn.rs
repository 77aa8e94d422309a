//! Phone numbers in Daraja's notations.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::json;

/// A customer's phone number (MSISDN), as far as Daraja reveals it.
///
/// STK and B2C contain all of it. C2B contains a hash if the URLs were registered with version 1 of
/// the API (SHA-256 without salt, of the 12 digits: two sandbox logs of 2022 and 2025 agree with
/// the official B2C sample), and a masked number with version 2 (`2547 ***** 126`).
///
/// [`is`](Msisdn::is) compares any of them with a known number. `Debug` hides all of them.
///
/// ```
/// use mpesa_callbacks_payload::Msisdn;
///
/// let masked = Msisdn::from("2547 ***** 126");
/// assert!(masked.is("254712345126"));
/// assert!(masked.is("0712345126"));
/// assert!(!masked.is("254712345127"));
///
/// let hashed = Msisdn::from("94c392c311d522da950619227b3361752a42042db7e1e699b26e628305c68a88");
/// assert!(matches!(hashed, Msisdn::Hashed(_)));
/// assert!(hashed.is("254705912645"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Msisdn {
    /// Digits, nearly always 12, starting with 254.
    Plain(String),
    /// Some digits and a run of `*` or `X`. The length of the run means nothing: `2******9` is a
    /// number, too.
    Masked(String),
    /// SHA-256 of the number: 64 hexadecimal digits, the same with five of them masked (34 digits,
    /// ` ***** `, 25 digits), or base64.
    Hashed(String),
    /// Anything else, unchanged: for example a till number in the place of the payer's.
    Other(String),
}

impl Msisdn {
    /// Returns the text as Daraja sent it.
    pub fn as_str(&self) -> &str {
        match self {
            Msisdn::Plain(text) | Msisdn::Masked(text) | Msisdn::Hashed(text) | Msisdn::Other(text) => text,
        }
    }

    /// Returns whether this is the given number, in any of the forms `254712345678`, `+254 712 345
    /// 678`, `0712345678`, `712345678`.
    ///
    /// A masked number or hash is compared by its visible digits. For a masked number that is a
    /// hint, not a proof.
    pub fn is(&self, number: &str) -> bool {
        let number = international(number);
        match self {
            Msisdn::Plain(text) => international(text) == number,
            Msisdn::Masked(text) => mask_admits(text, &number),
            Msisdn::Hashed(text) => hash_admits(text, &Sha256::digest(number.as_bytes())),
            Msisdn::Other(text) => *text == number,
        }
    }
}

/// `0712…`, `712…`, `+254 712…` → `254712…`. Numbers of other countries are kept.
fn international(number: &str) -> String {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    match digits.len() {
        10 if digits.starts_with('0') => format!("254{}", &digits[1..]),
        9 if digits.starts_with(['7', '1']) => format!("254{digits}"),
        _ => digits,
    }
}

fn is_mask(c: char) -> bool {
    matches!(c, '*' | 'X' | 'x')
}

/// Returns whether a number fits a mask: same start and end, and the digits in between in order. A
/// mask without digits fits nothing.
fn mask_admits(mask: &str, number: &str) -> bool {
    let visible: Vec<&str> = mask.split(|c: char| is_mask(c)).collect();
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let visible: Vec<String> = visible.into_iter().map(digits).collect();
    let ([start, middle @ .., end], false) = (&visible[..], visible.iter().all(String::is_empty)) else { return false };
    let admits = |number: &str| {
        let inner = number.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
        let mut rest = inner;
        for run in middle {
            rest = rest.and_then(|rest| rest.find(run.as_str()).map(|at| &rest[at + run.len()..]));
        }
        rest.is_some()
    };
    let local = number.strip_prefix("254").map(|rest| format!("0{rest}"));
    admits(number) || (start.starts_with('0') && local.is_some_and(|local| admits(&local)))
}

/// Returns whether a hash, in any notation, is this one.
fn hash_admits(text: &str, hash: &[u8]) -> bool {
    let hexadecimal = HEXLOWER.encode(hash);
    if text.len() == BASE64_LENGTH {
        return text == BASE64.encode(hash);
    }
    match text.split_once(HASH_MASK) {
        Some((start, end)) => {
            let (start, end) = (start.to_ascii_lowercase(), end.to_ascii_lowercase());
            hexadecimal.starts_with(&start) && hexadecimal.ends_with(&end)
        }
        None => text.eq_ignore_ascii_case(&hexadecimal),
    }
}

/// The middle of a hash that was masked like a number (production, July 2024): five of its digits.
const HASH_MASK: &str = " ***** ";

/// Length of a SHA-256 in base64, as Kopo Kopo sends it (April 2026).
const BASE64_LENGTH: usize = 44;

/// Shorter numbers are tills or pay bills, which aggregators send in the payer's place.
const SHORTEST: usize = 9;

fn is_hash(text: &str) -> bool {
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once(HASH_MASK) {
        Some((start, end)) => start.len() == 34 && end.len() == 25 && is_hexadecimal(start) && is_hexadecimal(end),
        None if text.len() == BASE64_LENGTH => BASE64.decode(text.as_bytes()).is_ok_and(|hash| hash.len() == 32),
        None => text.len() == 64 && is_hexadecimal(text),
    }
}

impl From<&str> for Msisdn {
    fn from(text: &str) -> Msisdn {
        let bare = text.trim();
        let whole = json::whole(bare);
        let digits = whole.as_deref().unwrap_or(bare.strip_prefix('+').unwrap_or(bare));
        if digits.len() >= SHORTEST && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Msisdn::Plain(digits.to_owned())
        } else if is_hash(bare) {
            Msisdn::Hashed(bare.to_owned())
        } else if bare.chars().any(is_mask)
            && bare.chars().all(|c| c.is_ascii_digit() || is_mask(c) || matches!(c, ' ' | '+'))
        {
            Msisdn::Masked(bare.to_owned())
        } else {
            Msisdn::Other(bare.to_owned())
        }
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Msisdn::Plain(_) => "Plain(…)",
            Msisdn::Masked(_) => "Masked(…)",
            Msisdn::Hashed(_) => "Hashed(…)",
            Msisdn::Other(_) => "Other(…)",
        })
    }
}

impl Serialize for Msisdn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_again_in_every_form() {
        let forms = [
            "254712345678",
            "+254712345678",
            "2547 ***** 678",
            "25471****678",
            "*********678",
            "0712XXX678",
            "2******8",
        ];
        for form in forms.map(Msisdn::from) {
            for number in ["254712345678", "+254 712 345 678", "0712345678", "712345678"] {
                assert!(form.is(number), "{} is {number}", form.as_str());
            }
            assert!(!form.is("254712345679"), "{}", form.as_str());
        }
    }

    #[test]
    fn a_mask_that_shows_more_digits_than_the_number_has_is_not_it() {
        assert!(!Msisdn::from("254712*345678").is("2547128"));
    }

    #[test]
    fn a_mask_that_shows_nothing_is_nobody_and_digits_in_the_middle_count() {
        for mask in ["*********", "XXXX", "x", "* *"] {
            assert!(!Msisdn::from(mask).is("254712345678"), "{mask}");
        }
        assert!(!Msisdn::from("2547*****126").is(""));
        assert!(Msisdn::from("25*708*126").is("254708374126"));
        assert!(!Msisdn::from("25*9*126").is("254708374126"));
    }

    #[test]
    fn hashes_are_known_again_in_every_spelling() {
        for hash in [
            "6e79bfa6a35b71a9f51b7593e2c8212a70 ***** eaca34567d868231638c20402",
            "bnm/pqNbcan1G3WT4sghKnBY/I6so0Vn2GgjFjjCBAI=",
        ] {
            let hashed = Msisdn::from(hash);
            assert!(matches!(hashed, Msisdn::Hashed(_)), "{hash}");
            assert!(hashed.is("0700000031") && !hashed.is("0700000032"), "{hash}");
        }
    }

    #[test]
    fn a_till_is_no_phone_and_a_float_is() {
        assert_eq!(Msisdn::from("600638"), Msisdn::Other("600638".into()));
        assert_eq!(Msisdn::from("2.54700000031E11"), Msisdn::Plain("254700000031".into()));
    }

    #[test]
    fn odd_text_is_kept_as_it_is() {
        assert_eq!(Msisdn::from("n/a"), Msisdn::Other("n/a".into()));
        assert_eq!(Msisdn::from("24567890654"), Msisdn::Plain("24567890654".into()));
    }
}
