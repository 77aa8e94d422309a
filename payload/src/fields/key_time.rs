//! The time in a key.

use crate::Kind;

/// Returns the prefix of a key that contains only its time. It may be stored in plain text, because
/// the time of receipt is, too.
///
/// - `CheckoutRequestID`: `ws_CO_` and its minute, `DDMMYYYYHHmm`. The payer's phone number follows further right.
/// - Receipt: its first three characters. They follow year, month and day in all samples since 2017.
/// - Other keys: empty.
pub fn time_prefix<'k>(kind: &str, key: &'k str) -> &'k str {
    let is_kind = |known: &Kind| known.name() == kind;
    let is_receipt = || key.len() == 10 && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_keyed_by_receipt = || [Kind::Payment, Kind::C2bConfirmation, Kind::C2bValidation].iter().any(is_kind);
    let prefix = if is_kind(&Kind::Stk) && key.strip_prefix("ws_CO_").is_some_and(begins_with_a_minute) {
        key.get(..18)
    } else if is_keyed_by_receipt() && is_receipt() {
        key.get(..3)
    } else {
        None
    };
    prefix.unwrap_or_default()
}

/// Returns whether the text begins with `DDMMYYYYHHmm` of this century. No phone number does: there
/// is no month 47 in 254712345678.
fn begins_with_a_minute(text: &str) -> bool {
    let digits = text.get(..12).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.is_some_and(|digits| {
        let [day, month, century, hour, minute] = [0..2, 2..4, 4..6, 8..10, 10..12].map(|at| &digits[at]);
        ("01"..="31").contains(&day)
            && ("01"..="12").contains(&month)
            && century == "20"
            && hour < "24"
            && minute < "60"
    })
}
