//! The parties of a transaction.

use crate::{Msisdn, Sensitive};

/// A party as results write it: `254708374149 - John Doe`, `603094 - Safaricom3117`, `000000–
/// Biller Company`.
///
/// ```
/// use mpesa_callbacks_payload::Party;
///
/// let party = Party::from("254708374149 - John Doe");
/// assert_eq!(party.number().unwrap(), "254708374149");
/// assert_eq!(party.name().unwrap(), "John Doe");
/// assert!(party.msisdn().unwrap().is("0708374149"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    text: Sensitive,
    number: Option<Sensitive>,
    name: Option<Sensitive>,
}

impl Party {
    /// Returns the text as it was sent.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the part before the dash: a phone number, plain or masked, or a short code.
    pub fn number(&self) -> Option<&str> {
        self.number.as_ref().map(Sensitive::as_str)
    }

    /// Returns the part after the dash.
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(Sensitive::as_str)
    }

    /// Returns the number, if it is a phone number: more than eight digits, or masked.
    pub fn msisdn(&self) -> Option<Msisdn> {
        match Msisdn::from(self.number()?) {
            Msisdn::Plain(digits) if digits.len() < 9 => None,
            Msisdn::Other(_) => None,
            msisdn => Some(msisdn),
        }
    }
}

impl From<&str> for Party {
    fn from(text: &str) -> Party {
        let dash = text.find(['-', '–', '—']);
        let (number, name) = match dash {
            Some(at) => (&text[..at], text[at..].trim_start_matches(['-', '–', '—'])),
            None => (text, ""),
        };
        let (number, name) = (number.trim(), name.trim());
        let is_number = number.chars().any(|c| c.is_ascii_digit() || c == '*')
            && number.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | 'X' | 'x' | '+' | ' '));
        let kept = |text: &str| (!text.is_empty()).then(|| Sensitive::from(text));
        if is_number {
            Party { text: text.into(), number: kept(number), name: kept(name) }
        } else {
            Party { text: text.into(), number: None, name: kept(text.trim()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dash_seen_divides_number_and_name() {
        for (text, number, name) in [
            ("603094 - Safaricom3117", Some("603094"), Some("Safaricom3117")),
            ("000000– Biller Company", Some("000000"), Some("Biller Company")),
            ("600000- Biller Company", Some("600000"), Some("Biller Company")),
            ("07XXXXXXXX - SAMPLE", Some("07XXXXXXXX"), Some("SAMPLE")),
            ("254700000018", Some("254700000018"), None),
            ("Jua-Kali Ltd", None, Some("Jua-Kali Ltd")),
        ] {
            let party = Party::from(text);
            assert_eq!((party.number(), party.name()), (number, name), "{text}");
        }
        assert!(Party::from("603094 - Shop").msisdn().is_none());
    }
}
