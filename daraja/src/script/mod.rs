//! What will happen: rules of the test, the outcome that a phone number chooses, and faults.

mod described;
mod fault;
mod product;
mod rule;
mod timeline;

pub(crate) use self::described::described;
pub use self::fault::{Fault, UnknownFaultError};
pub(crate) use self::product::Product;
pub use self::rule::{BusinessPush, CustomerPayment, Matcher, Payout, Push, Query, RuleError, StandingOrder};
pub(crate) use self::rule::{Rule, Rules};
pub(crate) use self::timeline::{AGAIN, transmissions};

/// The result code that a phone number chooses: `254700001032` ends with 1032. `None` for all others,
/// which pay.
pub(crate) fn chosen_by(phone: &str) -> Option<String> {
    let digits = phone.strip_prefix("2547000").filter(|digits| digits.len() == 5)?;
    let code = digits.trim_start_matches('0');
    (!code.is_empty()).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_chooses_its_outcome() {
        assert_eq!(chosen_by("254700001032").as_deref(), Some("1032"));
        assert_eq!(chosen_by("254700000001").as_deref(), Some("1"));
        assert_eq!(chosen_by("254700000000"), None);
        assert_eq!(chosen_by("254708374149"), None);
    }
}
