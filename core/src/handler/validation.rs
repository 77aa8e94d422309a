//! The response to a C2B validation.

use serde_json::json;

/// The response to a C2B validation: accept or reject the payment.
///
/// ```
/// use mpesa_callbacks_core::{Rejection, Validation};
///
/// let yes = Validation::accept().with_third_party_trans_id("order-123");
/// let no = Validation::reject(Rejection::InvalidAccountNumber);
/// assert!(yes.is_accepted() && !no.is_accepted());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    rejection: Option<Rejection>,
    third_party_trans_id: Option<String>,
}

/// The answer of a C2B validation whose handler fails or exceeds its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The payment is accepted.
    #[default]
    Accept,
    /// The payment is rejected with [`Rejection::Other`].
    Reject,
}

impl From<Fallback> for Validation {
    fn from(fallback: Fallback) -> Validation {
        match fallback {
            Fallback::Accept => Validation::accept(),
            Fallback::Reject => Validation::reject(Rejection::Other),
        }
    }
}

/// Why a payment is rejected. The code determines which SMS the customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// `C2B00011`: the phone number of the payer is invalid.
    InvalidMsisdn,
    /// `C2B00012`: invalid account number.
    InvalidAccountNumber,
    /// `C2B00013`: the amount is invalid.
    InvalidAmount,
    /// `C2B00014`: invalid KYC details.
    InvalidKycDetails,
    /// `C2B00015`: invalid short code.
    InvalidShortcode,
    /// `C2B00016`: another reason.
    Other,
}

impl Rejection {
    /// Returns the code in the response.
    pub fn code(self) -> &'static str {
        match self {
            Rejection::InvalidMsisdn => "C2B00011",
            Rejection::InvalidAccountNumber => "C2B00012",
            Rejection::InvalidAmount => "C2B00013",
            Rejection::InvalidKycDetails => "C2B00014",
            Rejection::InvalidShortcode => "C2B00015",
            Rejection::Other => "C2B00016",
        }
    }
}

impl Validation {
    /// Accepts the payment: M-Pesa carries it out.
    pub fn accept() -> Validation {
        Validation { rejection: None, third_party_trans_id: None }
    }

    /// Rejects the payment: M-Pesa cancels it and informs the customer.
    pub fn reject(rejection: Rejection) -> Validation {
        Validation { rejection: Some(rejection), third_party_trans_id: None }
    }

    /// Sets your own reference. The confirmation contains it as `ThirdPartyTransID`.
    #[must_use]
    pub fn with_third_party_trans_id(mut self, id: impl Into<String>) -> Validation {
        self.third_party_trans_id = Some(id.into());
        self
    }

    /// Returns whether the payment is accepted.
    pub fn is_accepted(&self) -> bool {
        self.rejection.is_none()
    }

    /// Why the payment is rejected.
    pub fn rejection(&self) -> Option<Rejection> {
        self.rejection
    }

    /// Returns the JSON of the response. Its code is text, unlike all other acknowledgements
    /// (Daraja 3.0, register URL).
    pub(crate) fn to_body(&self) -> String {
        let (code, text) = self.rejection.map_or(("0", "Accepted"), |rejection| (rejection.code(), "Rejected"));
        match &self.third_party_trans_id {
            None => format!(r#"{{"ResultCode":"{code}","ResultDesc":"{text}"}}"#),
            Some(id) => format!(r#"{{"ResultCode":"{code}","ResultDesc":"{text}","ThirdPartyTransID":{}}}"#, json!(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_those_that_the_documentation_shows() {
        assert_eq!(Validation::accept().to_body(), r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#);
        assert_eq!(
            Validation::reject(Rejection::InvalidAmount).to_body(),
            r#"{"ResultCode":"C2B00013","ResultDesc":"Rejected"}"#
        );
        assert_eq!(
            Validation::accept().with_third_party_trans_id("a\"b").to_body(),
            r#"{"ResultCode":"0","ResultDesc":"Accepted","ThirdPartyTransID":"a\"b"}"#
        );
    }
}
